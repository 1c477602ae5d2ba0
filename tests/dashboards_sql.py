"""The queries of the dashboards' panels in SQL, for Grafana with InfluxDB 3: by the title of the panel.

Grafana replaces $__timeFilter and $__dateBin. A query may name only columns that are always there: in InfluxDB 3 a
column exists from its first value on.
"""

from __future__ import annotations

LOOP = """FROM control_loops
WHERE $__timeFilter(time) AND loop_id = '${clpm_loop}'"""
METRICS = "FROM clpm_execd\nWHERE $__timeFilter(time)\nORDER BY time"


def trend(*signals: str) -> str:
    """Return the query of means of a loop's signals, and of the ends of the first one."""
    means = ", ".join(f'avg("{signal}") AS "{signal}"' for signal in signals)
    ends = ", ".join(f'{name}("{signals[0]}") AS "{name} {signals[0]}"' for name in ("max", "min"))
    return f"SELECT $__dateBin(time) AS time, {means}, {ends}\n{LOOP}\nGROUP BY 1\nORDER BY 1"


def rate(name: str) -> str:
    """Return the query of a count of the stream between two points; it is 0 where the stream has started again."""
    return f'SELECT time, greatest("{name}" - lag("{name}") OVER (ORDER BY time), 0) AS "{name}"\n{METRICS}'


QUERIES = {
    "Service factor": f"""\
SELECT 100.0 * avg(CASE WHEN "Mode" = 'MAN' THEN 0.0 ELSE 1.0 END) AS value
{LOOP}""",
    "OP saturated": f"""\
SELECT 100.0 * avg(CASE WHEN "OP" <= 5.0 OR "OP" >= 95.0 THEN 1.0 ELSE 0.0 END) AS value
{LOOP}""",
    "Streaming loops": """\
SELECT count(DISTINCT loop_id) AS value
FROM control_loops
WHERE time > now() - INTERVAL '5 minutes'""",
    "Data age": """\
SELECT (CAST(now() AS BIGINT) - CAST(max(time) AS BIGINT)) / 1000000000.0 AS value
FROM control_loops
WHERE time > now() - INTERVAL '1 day'""",
    "PV and SP": trend("PV", "SP"),
    "OP": trend("OP"),
    "Mode": f"""\
SELECT $__dateBin(time) AS time, loop_id, last_value("Mode" ORDER BY time) AS value
{LOOP}
GROUP BY 1, 2
ORDER BY 1""",
    "Fault ground truth": """\
SELECT time, fault, CASE WHEN control THEN 'control' WHEN NOT present THEN 'absent'
  WHEN fault = 'affected' THEN 'affected' WHEN visible THEN 'visible' ELSE 'hidden' END AS value
FROM control_loops_truth
WHERE $__timeFilter(time) AND loop_id = '${clpm_loop}'
ORDER BY time""",
    # The ends of each window show a limit cycle that its mean would hide.
    "Loops by deviation": """\
WITH windows AS (
  SELECT loop_id, $__dateBin(time) AS t, max("PV") AS high, min("PV") AS low, avg("SP") AS sp, avg("OP") AS op,
    count(*) AS samples, sum(CASE WHEN "Mode" = 'MAN' THEN 0 ELSE 1 END) AS automatic
  FROM control_loops
  WHERE $__timeFilter(time)
  GROUP BY 1, 2
)
SELECT loop_id, avg(100.0 * greatest(high - sp, sp - low) / nullif(abs(sp), 0.0)) AS "deviation, % of SP",
  100.0 * sum(automatic) / sum(samples) AS "service factor, %",
  100.0 * avg(CASE WHEN op <= 5.0 OR op >= 95.0 THEN 1.0 ELSE 0.0 END) AS "saturated, %"
FROM windows
GROUP BY loop_id
ORDER BY 2 DESC""",
    "Loops by oscillation": """\
WITH errors AS (
  SELECT loop_id, $__dateBin(time) AS t, avg("PV") - avg("SP") AS error
  FROM control_loops
  WHERE $__timeFilter(time)
  GROUP BY 1, 2
), sides AS (
  SELECT loop_id, t, error < 0.0 AS below, lag(error < 0.0) OVER (PARTITION BY loop_id ORDER BY t) AS below_before
  FROM errors
  WHERE error IS NOT NULL
), half_periods AS (
  SELECT loop_id,
    (CAST(t AS BIGINT) - lag(CAST(t AS BIGINT)) OVER (PARTITION BY loop_id ORDER BY t)) / 1000000000.0 AS seconds
  FROM sides
  WHERE below <> below_before
)
SELECT loop_id, avg(seconds) / stddev(seconds) / 3.0 AS "oscillation index", 2.0 * avg(seconds) AS "period, s"
FROM half_periods
GROUP BY loop_id
HAVING count(seconds) >= 10 AND stddev(seconds) > 0.0
ORDER BY 2 DESC""",
    "Loops by OP movement": """\
WITH moves AS (
  SELECT loop_id, time, "OP" - lag("OP") OVER (PARTITION BY loop_id ORDER BY time) AS move
  FROM control_loops
  WHERE time > now() - INTERVAL '15 minutes'
), turns AS (
  SELECT loop_id, abs(move) AS size,
    CASE WHEN (move > 0.0) <> lag(move > 0.0) OVER (PARTITION BY loop_id ORDER BY time) THEN 1 ELSE 0 END AS turn
  FROM moves
  WHERE move <> 0.0
)
SELECT loop_id, sum(size) / 15.0 AS "travel, %/min", sum(turn) / 15.0 AS "reversals, 1/min"
FROM turns
GROUP BY loop_id
ORDER BY 2 DESC""",
    "Active faults": """\
WITH states AS (
  SELECT *, row_number() OVER (PARTITION BY loop_id, fault ORDER BY time DESC) AS age
  FROM control_loops_truth
  WHERE $__timeFilter(time)
)
SELECT loop_id, fault, visible, severity
FROM states
WHERE age = 1 AND present
ORDER BY 1, 2""",
    "Points per minute": rate("points_emitted"),
    "Late samples per minute": rate("ticks_late"),
    "Delivery queue": f"SELECT time, points_waiting, points_dropped, points_quarantined, points_refused\n{METRICS}",
}
VARIABLES = {"clpm_loop": "SELECT DISTINCT loop_id FROM control_loops WHERE time > now() - INTERVAL '30 days'"}
