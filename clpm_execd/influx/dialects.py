"""How each kind of server is asked for stored rows, and what it cannot do: one class per query language.

A dialect answers with lines of CSV that have a column _time (RFC 3339), whatever the server's own format is.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any, Protocol

from clpm_execd.influx.answer import Answer
from clpm_execd.influx.query import QueryClient
from clpm_execd.problems import BadInput
from clpm_execd.units import DAY, MS, SECOND, format_time

_TIME = "_time"
_GO_DURATION_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_RETENTION_UNIT_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400, "": 31 * 86_400}  # VictoriaMetrics
_TTL_UNIT_S = {"HOUR": 3600, "DAY": 86_400, "WEEK": 7 * 86_400, "MONTH": 30 * 86_400, "YEAR": 365 * 86_400}


@dataclass(frozen=True, slots=True)
class QueryRange:
    """The time from start to before end, ns since 1970; None leaves that side open."""

    start: int | None = None
    end: int | None = None

    def condition(self, column: str) -> str:
        """Return the range as a condition of SQL or InfluxQL, which both read RFC 3339."""
        limits = [f"{column} >= '{format_time(self.start or 0)}'"]
        return " AND ".join([*limits, *([f"{column} < '{format_time(self.end)}'"] if self.end is not None else [])])


class Dialect(Protocol):
    """How one server is asked. Every method raises BadInput if a request fails."""

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        """Yield a table of all values of a measurement: a column per field, or columns _field and _value.

        Parameters
        ----------
        measurement : str
        tags : iterable of str
            The tags that the table has as columns, at least.
        limits : QueryRange
            The time that counts.
        """

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        """Yield a table with the first and the last time of each value of a tag.

        Parameters
        ----------
        measurement, tag : str
        limits : QueryRange
            The time that counts.
        """

    def retention(self, measurement: str) -> int | None:
        """Return how long the server keeps a point of a measurement, s; 0 for ever, None if it does not tell.

        Parameters
        ----------
        measurement : str
        """

    def limitations(self, measurement: str) -> list[str]:
        """Return what a stream or a score cannot do with this server, a sentence each.

        Parameters
        ----------
        measurement : str
        """


@dataclass(frozen=True, slots=True)
class Flux:
    """InfluxDB 2."""

    client: QueryClient

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        columns = json.dumps([_TIME, "_field", "_value", *tags])
        return self._query(f"{self._select_samples(measurement, limits)} |> keep(columns: {columns})")

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        keep = f"keep(columns: {json.dumps([_TIME, tag])})"
        return self._query(f't = {self._select_samples(measurement, limits)}\n'
                           f't |> first() |> {keep} |> yield(name: "first")\n'
                           f't |> last() |> {keep} |> yield(name: "last")')

    def retention(self, measurement: str) -> int | None:
        return self.client.influx.read_retention()

    def limitations(self, measurement: str) -> list[str]:
        return []

    def _select_samples(self, measurement: str, limits: QueryRange) -> str:
        stop = "now()" if limits.end is None else f"time(v: {limits.end})"
        return (f"from(bucket: {quote_flux(self.client.bucket)}) |> range(start: time(v: {limits.start or 0}), "
                f"stop: {stop}) |> filter(fn: (r) => r._measurement == {quote_flux(measurement)})")

    def _query(self, flux: str) -> Iterator[str]:
        """Yield the tables of the answer; other text, of a login page or a query that fails halfway, is an error."""
        query = {"query": flux, "type": "flux", "dialect": {"header": True, "annotations": []}}
        lines = self.client.lines("POST", "/api/v2/query", query, org=self.client.influx.org)
        is_table_start = True
        for line in lines:
            if is_table_start and line.strip() and not line.startswith(",result,"):
                raise self.client.problem(Answer(HTTPStatus.OK, "".join([line, *islice(lines, 1)])))
            is_table_start = not line.strip()
            yield line


@dataclass(frozen=True, slots=True)
class InfluxQL:
    """InfluxDB 1. Its databases have retention policies; a bucket is DATABASE or DATABASE/RETENTION_POLICY."""

    client: QueryClient

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        query = f"SELECT * FROM {self._select_source(measurement)} WHERE {limits.condition('time')}"
        for series in self._query(query):
            yield _format_csv_line([_TIME if name == "time" else name for name in series["columns"]])
            yield from map(_format_csv_line, series["values"])
            yield "\n"

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        yield _format_csv_line([_TIME, tag])
        for order in ("ASC", "DESC"):
            source, condition = self._select_source(measurement), limits.condition("time")
            for series in self._query(f"SELECT * FROM {source} WHERE {condition} "
                                      f"GROUP BY {_quote_influxql(tag)} ORDER BY time {order} LIMIT 1"):
                yield _format_csv_line([series["values"][0][0], series["tags"][tag]])

    def retention(self, measurement: str) -> int | None:
        database, _, policy = self.client.bucket.partition("/")
        with suppress(BadInput):  # the user may not read that
            for series in self._query(f"SHOW RETENTION POLICIES ON {_quote_influxql(database)}"):
                rows = [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
                return next((_parse_go_duration(row["duration"]) for row in rows
                             if (row["name"] == policy if policy else row["default"])), None)
        return None

    def limitations(self, measurement: str) -> list[str]:
        return []

    def _select_source(self, measurement: str) -> str:
        policy = self.client.bucket.partition("/")[2]
        return ".".join(map(_quote_influxql, filter(None, (policy, measurement))))

    def _query(self, query: str) -> Iterator[dict[str, Any]]:
        """Yield the series of an answer; a long one comes in parts."""
        database = self.client.bucket.partition("/")[0]
        for line in self.client.lines("GET", "/query", db=database, q=query, chunked="true"):
            answer = json.loads(line) if line.strip() else {}
            for result in (*answer.get("results", ()), answer):
                if error := result.get("error"):
                    raise self.client.problem(Answer(404 if "not found" in error else 400, error))
                yield from result.get("series", ())


@dataclass(frozen=True, slots=True)
class InfluxDB3SQL:
    """InfluxDB 3 Core and Enterprise."""

    client: QueryClient
    is_core: bool = True

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        return self._query(measurement, f"SELECT CAST(time AS VARCHAR) || 'Z' AS {_TIME}, * FROM {_quote(measurement)} "
                                        f"WHERE {limits.condition('time')}")

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        return self._query(measurement, " UNION ALL ".join(
            f"SELECT CAST({function}(time) AS VARCHAR) || 'Z' AS {_TIME}, {_quote(tag)} FROM {_quote(measurement)} "
            f"WHERE {limits.condition('time')} GROUP BY {_quote(tag)}" for function in ("min", "max")))

    def retention(self, measurement: str) -> int | None:
        return None

    def limitations(self, measurement: str) -> list[str]:
        return ["InfluxDB 3 Core answers a query over at most 432 of its files, by default about 72 h: score a longer "
                "time in parts, by --start and --end"] if self.is_core else []

    def _query(self, measurement: str, query: str) -> Iterator[str]:
        """Yield the answer to a query of a table, nothing if there is no such table: the server calls that an error."""
        tables = f"SELECT table_name FROM information_schema.tables WHERE table_name = {_quote_text(measurement)}"
        if any(line.strip() for line in self._read_lines(tables)):
            yield from self._read_lines(query)

    def _read_lines(self, query: str) -> Iterator[str]:
        return self.client.lines("POST", "/api/v3/query_sql",
                                 {"db": self.client.bucket, "q": query, "format": "csv"})


@dataclass(frozen=True, slots=True)
class QuestDBSQL:
    """QuestDB, which has no databases."""

    client: QueryClient

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        return self._query(measurement, f"SELECT timestamp AS {_TIME}, * FROM {_quote(measurement)} "
                                        f"WHERE {limits.condition('timestamp')}")

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        return self._query(measurement, " UNION ALL ".join(
            f"SELECT {function}(timestamp) AS {_TIME}, {_quote(tag)} FROM {_quote(measurement)} "
            f"WHERE {limits.condition('timestamp')}" for function in ("min", "max")))

    def retention(self, measurement: str) -> int | None:
        with suppress(BadInput):
            table = self._read_table(measurement)
            return int(table["ttlValue"]) * _TTL_UNIT_S[table["ttlUnit"]] if table else 0
        return None

    def limitations(self, measurement: str) -> list[str]:
        table = self._read_table(measurement)
        return [] if table and table["dedup"] == "true" else [
            f"QuestDB keeps a point that is sent twice, as after a lost answer, unless the table {measurement} has "
            "DEDUP UPSERT KEYS(timestamp, loop_id, Mode)"]

    def _query(self, measurement: str, query: str) -> Iterator[str]:
        """Yield the answer to a query of a table, nothing if there is no such table: the server calls that an error."""
        if self._read_table(measurement):
            yield from self._read_lines(query)

    def _read_table(self, measurement: str) -> dict[str, str] | None:
        """Return the properties of a table, None if there is no such table."""
        query = f"SELECT dedup, ttlValue, ttlUnit FROM tables() WHERE table_name = {_quote_text(measurement)}"
        return next(csv.DictReader(self._read_lines(query)), None)

    def _read_lines(self, query: str) -> Iterator[str]:
        return self.client.lines("GET", "/exp", query=query)


@dataclass(frozen=True, slots=True)
class MetricsQL:
    """VictoriaMetrics: a metric MEASUREMENT_FIELD per field, its values numbers, its times in ms."""

    client: QueryClient

    def rows(self, measurement: str, tags: Iterable[str], limits: QueryRange) -> Iterator[str]:
        columns = list(tags)
        yield _format_csv_line([_TIME, "_field", "_value", *columns])
        parameters = {"match[]": f"{{{self._build_selector(measurement)}}}", **_format_unix_limits(limits)}
        for line in self.client.lines("GET", "/api/v1/export", **parameters):
            series = json.loads(line)
            field = series["metric"]["__name__"].removeprefix(f"{measurement}_")
            if field == "cause":  # a text, of which the server keeps the number 0
                continue
            labels = [series["metric"].get(name, "") for name in columns]
            for moment, value in zip(series["timestamps"], series["values"], strict=True):
                yield _format_csv_line([format_time(moment * MS), field, value, *labels])

    def extremes(self, measurement: str, tag: str, limits: QueryRange) -> Iterator[str]:
        end = time.time() if limits.end is None else (limits.end - MS) / SECOND
        start = max(limits.start or 0, DAY) / SECOND  # the server looks back a little more, but not beyond 1970
        window = max(end - start, 0.0) + 1e-3  # it does not contain its start
        selector = f"{{{self._build_selector(measurement)}}}[{window:.3f}s]"
        yield _format_csv_line([_TIME, tag])
        for function in ("min by ({}) (tfirst_over_time({}))", "max by ({}) (tlast_over_time({}))"):
            # Without nocache the samples of the last 30 s do not count.
            query = {"query": function.format(tag, selector), "time": f"{end:.3f}", "nocache": "1"}
            answer = json.loads("".join(self.client.lines("GET", "/api/v1/query", **query)))
            for series in answer["data"]["result"]:
                moment = format_time(round(float(series["value"][1]) * 1000) * MS)
                yield _format_csv_line([moment, series["metric"][tag]])

    def retention(self, measurement: str) -> int | None:
        with suppress(BadInput):
            match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwy]?)", self._read_flags().get("retentionPeriod", "1"))
            return round(float(match[1]) * _RETENTION_UNIT_S[match[2]]) if match else None
        return None

    def limitations(self, measurement: str) -> list[str]:
        limitations = ["VictoriaMetrics stores numbers, with times in ms: the ground truth comes without the root "
                       "cause of an affected loop", "VictoriaMetrics accepts lines that it cannot read, and drops them",
                       "VictoriaMetrics acknowledges points up to 5 s before they are on disk, and loses them if it is "
                       "killed"]
        with suppress(BadInput):  # its flags may be protected
            if self._read_flags().get("dedup.minScrapeInterval", "0s") == "0s":
                limitations.append("VictoriaMetrics keeps a point that is sent twice, as after a lost answer, unless "
                                   "it is started with -dedup.minScrapeInterval=1ms")
        return limitations

    def _build_selector(self, measurement: str) -> str:
        """Return what selects the metrics of a measurement, and not those of one whose name begins with its name."""
        name = re.escape(measurement)
        return f'__name__=~"{name}_.*", __name__!~"{name}_(truth|info)_.*"'

    def _read_flags(self) -> dict[str, str]:
        """Return the flags that differ from their defaults."""
        return dict(re.findall(r'^-(\S+?)="(.*)"', "".join(self.client.lines("GET", "/flags")), re.MULTILINE))


def _format_unix_limits(limits: QueryRange) -> dict[str, str]:
    """Return a range, end exclusive, as VictoriaMetrics takes it, end inclusive in ms."""
    end = {} if limits.end is None else {"end": f"{(limits.end - MS) / SECOND:.3f}"}
    return {"start": f"{(limits.start or 0) / SECOND:.3f}", **end}


def quote_flux(text: str) -> str:
    """Return a text as a string literal of Flux."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'


def _quote_influxql(name: str) -> str:
    """Return a name as an identifier of InfluxQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quote(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _format_csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return line.getvalue()


def _parse_go_duration(text: str) -> int:
    """Return the s of a duration such as 168h0m0s."""
    return round(sum(float(number) * _GO_DURATION_S[unit] for number, unit in re.findall(r"([\d.]+)([a-zµ]+)", text)))
