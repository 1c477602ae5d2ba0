-- What `clpm-execd score` reads: the ground truth, and the first and the last sample of each loop.
--
--   psql "$POSTGRESQL_URL" --csv -f truth.sql > truth.csv

SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS _time, *
FROM control_loops_truth;

\qecho

SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS _time, loop_id
FROM (SELECT loop_id, unnest(ARRAY[min(time), max(time)]) AS t FROM control_loops GROUP BY loop_id) AS limits;
