"""The dashboards for InfluxDB 2 and Grafana, from one list of panels: `python tests/dashboards.py` writes all files.

A test holds the files in telegraf/ to this list, and every query to a real InfluxDB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import dashboards_sql

FOLDER = Path(__file__).resolve().parent.parent / "telegraf"
COLUMNS = 12

# The set of Okabe and Ito (2008), which people tell apart who do not tell red from green, and a grey.
BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8E91A1")

SAMPLES = """\
from(bucket: v.clpm_bucket)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "control_loops" """.rstrip()
LOOP = f"{SAMPLES} and r.loop_id == v.clpm_loop)"
TRUTH = LOOP.replace('"control_loops"', '"control_loops_truth"')
METRICS = SAMPLES.replace('"control_loops"', '"clpm_execd"') + ")"
TRUTH_NOTE = "Needs truth = true under [output] in loops.toml."
METRICS_NOTE = "Needs metrics = true under [output] in loops.toml."


@dataclass(frozen=True)
class Panel:
    """A panel: kind is stat, lines, bars, states or table; width of 12 columns; query is Flux.

    colours: of lines by the name of the line, of states by the state. lane: the column that a state is of.
    columns: of a table, in their order. suffix: the unit of the numbers.
    """

    title: str
    kind: str
    width: int
    height: int
    query: str
    note: str = ""
    suffix: str = ""
    decimals: int = 0
    axis: str = ""
    colours: Mapping[str, str] = field(default_factory=dict)
    lane: str = ""
    columns: Sequence[str] = ()


def trend(*signals: str) -> str:
    """Return the query of signals of a loop: each sample up to an hour; beyond, means, and the ends of the first one.

    The names of the ends begin with a small letter, so that InfluxDB gives the first colours to the signals themselves.
    """
    fields = " or ".join(f'r._field == "{signal}"' for signal in signals)
    return f"""\
samples = {LOOP}
  |> filter(fn: (r) => {fields})

summary = (fn, prefix) => samples
  |> aggregateWindow(every: v.windowPeriod, fn: fn, createEmpty: false)
  |> map(fn: (r) => ({{_time: r._time, _value: r._value, _field: prefix + r._field}}))
  |> group(columns: ["_field"])
  |> sort(columns: ["_time"])

ends = (fn, prefix) => summary(fn: fn, prefix: prefix)
  |> filter(fn: (r) => r._field == prefix + "{signals[0]}")

every_sample = samples
  |> map(fn: (r) => ({{_time: r._time, _value: r._value, _field: r._field}}))
  |> group(columns: ["_field"])
  |> sort(columns: ["_time"])

windows = union(tables: [
  summary(fn: mean, prefix: ""),
  ends(fn: min, prefix: "min "),
  ends(fn: max, prefix: "max "),
])

// Dashboards ask for 360 windows, so windows of 10 s are those of an hour.
if int(v: v.windowPeriod) <= int(v: 10s) then every_sample else windows"""


SERVICE_FACTOR = f"""\
{LOOP}
  |> filter(fn: (r) => r._field == "OP")
  |> count()
  |> map(fn: (r) => ({{all: float(v: r._value), automatic: if r.Mode == "MAN" then 0.0 else float(v: r._value)}}))
  |> group()
  |> reduce(
    identity: {{all: 0.0, automatic: 0.0}},
    fn: (r, accumulator) => ({{all: accumulator.all + r.all, automatic: accumulator.automatic + r.automatic}}),
  )
  |> map(fn: (r) => ({{_value: 100.0 * r.automatic / r.all}}))"""

SATURATION = f"""\
{LOOP}
  |> filter(fn: (r) => r._field == "OP")
  |> map(fn: (r) => ({{r with _value: if r._value <= 5.0 or r._value >= 95.0 then 100.0 else 0.0}}))
  |> group()
  |> mean()"""

STREAMING_LOOPS = """\
from(bucket: v.clpm_bucket)
  |> range(start: -5m)
  |> filter(fn: (r) => r._measurement == "control_loops" and r._field == "OP")
  |> last()
  |> group()
  |> distinct(column: "loop_id")
  |> count()"""

DATA_AGE = """\
from(bucket: v.clpm_bucket)
  |> range(start: -1d)
  |> filter(fn: (r) => r._measurement == "control_loops" and r._field == "OP")
  |> last()
  |> group()
  |> max(column: "_time")
  |> map(fn: (r) => ({_value: float(v: int(v: now()) - int(v: r._time)) / 1000000000.0}))"""

MODE = f"""\
{LOOP}
  |> filter(fn: (r) => r._field == "OP")
  |> duplicate(column: "Mode", as: "_value")
  |> group(columns: ["loop_id"])
  |> sort(columns: ["_time"])
  |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)"""

FAULTS = f"""\
{TRUTH}
  |> filter(fn: (r) => r._field == "present" or r._field == "visible" or r._field == "control")
  |> pivot(rowKey: ["_time", "fault"], columnKey: ["_field"], valueColumn: "_value")
  |> map(fn: (r) => ({{
    _time: r._time,
    fault: r.fault,
    _value: if r.control then "control" else if not r.present then "absent"
      else if r.fault == "affected" then "affected" else if r.visible then "visible" else "hidden",
  }}))
  |> group(columns: ["fault"])
  |> sort(columns: ["_time"])"""

# The ends of each window show a limit cycle that its mean would hide.
DEVIATION = f"""\
samples = (field) => {SAMPLES} and r._field == field)

window = duration(v: 6 * int(v: v.windowPeriod))

summary = (field, fn, name) => samples(field: field)
  |> aggregateWindow(every: window, fn: fn, createEmpty: false)
  |> keep(columns: ["loop_id", "_time", "_value"])
  |> set(key: "part", value: name)

deviation = union(tables: [
  summary(field: "PV", fn: max, name: "high"),
  summary(field: "PV", fn: min, name: "low"),
  summary(field: "SP", fn: mean, name: "sp"),
])
  |> group(columns: ["loop_id"])
  |> pivot(rowKey: ["_time"], columnKey: ["part"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.high and exists r.low and exists r.sp and r.sp != 0.0)
  |> map(fn: (r) => ({{
    loop_id: r.loop_id,
    _value: 100.0 * (if r.high - r.sp > r.sp - r.low then r.high - r.sp else r.sp - r.low)
      / (if r.sp < 0.0 then -r.sp else r.sp),
  }}))
  |> group(columns: ["loop_id"])
  |> mean()
  |> set(key: "measure", value: "deviation, % of SP")

automatic = samples(field: "OP")
  |> count()
  |> map(fn: (r) => ({{
    loop_id: r.loop_id,
    all: float(v: r._value),
    automatic: if r.Mode == "MAN" then 0.0 else float(v: r._value),
  }}))
  |> group(columns: ["loop_id"])
  |> reduce(
    identity: {{all: 0.0, automatic: 0.0}},
    fn: (r, accumulator) => ({{all: accumulator.all + r.all, automatic: accumulator.automatic + r.automatic}}),
  )
  |> map(fn: (r) => ({{loop_id: r.loop_id, _value: 100.0 * r.automatic / r.all}}))
  |> set(key: "measure", value: "service factor, %")

saturated = samples(field: "OP")
  |> aggregateWindow(every: window, fn: mean, createEmpty: false)
  |> map(fn: (r) => ({{loop_id: r.loop_id, _value: if r._value <= 5.0 or r._value >= 95.0 then 100.0 else 0.0}}))
  |> group(columns: ["loop_id"])
  |> mean()
  |> set(key: "measure", value: "saturated, %")

union(tables: [deviation, automatic, saturated])
  |> group()
  |> pivot(rowKey: ["loop_id"], columnKey: ["measure"], valueColumn: "_value")
  |> sort(columns: ["deviation, % of SP"], desc: true)"""

OSCILLATION = f"""\
half_periods = {SAMPLES} and (r._field == "PV" or r._field == "SP"))
  |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)
  |> keep(columns: ["loop_id", "_time", "_value", "_field"])
  |> group(columns: ["loop_id"])
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.PV and exists r.SP)
  |> map(fn: (r) => ({{loop_id: r.loop_id, _time: r._time, _value: if r.PV < r.SP then -1 else 1}}))
  |> sort(columns: ["_time"])
  |> difference()
  |> filter(fn: (r) => r._value != 0)
  |> elapsed(unit: 1ms)
  |> map(fn: (r) => ({{loop_id: r.loop_id, _value: float(v: r.elapsed) / 1000.0}}))
  |> group(columns: ["loop_id"])

average = half_periods
  |> mean()
  |> set(key: "measure", value: "average")

scatter = half_periods
  |> stddev()
  |> set(key: "measure", value: "scatter")

crossings = half_periods
  |> count()
  |> map(fn: (r) => ({{loop_id: r.loop_id, _value: float(v: r._value)}}))
  |> set(key: "measure", value: "crossings")

union(tables: [average, scatter, crossings])
  |> group()
  |> pivot(rowKey: ["loop_id"], columnKey: ["measure"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.scatter and r.scatter > 0.0 and r.crossings >= 10.0)
  |> map(fn: (r) => ({{
    loop_id: r.loop_id,
    "oscillation index": r.average / r.scatter / 3.0,
    "period, s": 2.0 * r.average,
  }}))
  |> sort(columns: ["oscillation index"], desc: true)"""

MOVEMENT = """\
moves = from(bucket: v.clpm_bucket)
  |> range(start: -15m)
  |> filter(fn: (r) => r._measurement == "control_loops" and r._field == "OP")
  |> keep(columns: ["loop_id", "_time", "_value"])
  |> group(columns: ["loop_id"])
  |> difference()
  |> filter(fn: (r) => r._value != 0.0)

travel = moves
  |> map(fn: (r) => ({loop_id: r.loop_id, _value: if r._value < 0.0 then -r._value else r._value}))
  |> sum()
  |> map(fn: (r) => ({loop_id: r.loop_id, _value: r._value / 15.0}))
  |> set(key: "measure", value: "travel, %/min")

reversals = moves
  |> map(fn: (r) => ({loop_id: r.loop_id, _value: if r._value < 0.0 then -1 else 1}))
  |> difference()
  |> filter(fn: (r) => r._value != 0)
  |> count()
  |> map(fn: (r) => ({loop_id: r.loop_id, _value: float(v: r._value) / 15.0}))
  |> set(key: "measure", value: "reversals, 1/min")

union(tables: [travel, reversals])
  |> group()
  |> pivot(rowKey: ["loop_id"], columnKey: ["measure"], valueColumn: "_value")
  |> sort(columns: ["travel, %/min"], desc: true)"""

ACTIVE_FAULTS = f"""\
{SAMPLES.replace('"control_loops"', '"control_loops_truth"')})
  |> last()
  |> pivot(rowKey: ["loop_id", "fault"], columnKey: ["_field"], valueColumn: "_value")
  |> filter(fn: (r) => r.present)
  |> group()
  |> keep(columns: ["loop_id", "fault", "visible", "severity", "effect", "cause"])
  |> sort(columns: ["loop_id", "fault"])"""


def metrics(*names: str, rate: bool = False) -> str:
    """Return the query of the stream's own metrics; rate: as counts between two points."""
    fields = " or ".join(f'r._field == "{name}"' for name in names)
    return f"{METRICS}\n  |> filter(fn: (r) => {fields})" + "\n  |> difference(nonNegative: true)" * rate


PANELS = (
    Panel("Service factor", "stat", 3, 2, SERVICE_FACTOR, "Time in AUT or CAS, % of the time range.", " %", 1),
    Panel("OP saturated", "stat", 3, 2, SATURATION, "Time with OP within 5 % of a limit, % of the time range.",
          " %", 1),
    Panel("Streaming loops", "stat", 3, 2, STREAMING_LOOPS, "Loops with a sample in the last 5 minutes."),
    Panel("Data age", "stat", 3, 2, DATA_AGE,
          "Age of the newest sample. It grows when the stream has stopped or the clocks differ.", " s"),
    Panel("PV and SP", "lines", 12, 4, trend("PV", "SP"),
          "Every sample up to an hour; beyond, mean, minimum and maximum of each window.", axis="engineering units",
          colours={"PV": BLUE, "SP": ORANGE, "max PV": SKY, "min PV": SKY}),
    Panel("OP", "lines", 12, 3, trend("OP"), suffix=" %", colours={"OP": GREEN, "max OP": GREY, "min OP": GREY}),
    Panel("Mode", "states", 12, 2, MODE, lane="loop_id", colours={"AUT": BLUE, "CAS": GREEN, "MAN": ORANGE}),
    Panel("Fault ground truth", "states", 12, 3, FAULTS,
          f"{TRUTH_NOTE} Visible: the fault shows in PV, OP or SP. Affected: by the fault of another loop.",
          lane="fault", colours={"visible": RED, "hidden": ORANGE, "affected": SKY, "control": PINK, "absent": GREY}),
    Panel("Loops by deviation", "table", 4, 4, DEVIATION,
          "Mean distance of the farthest PV of each window from SP; time in AUT or CAS; time near a limit of OP.",
          decimals=1, columns=("loop_id", "deviation, % of SP", "service factor, %", "saturated, %")),
    Panel("Loops by oscillation", "table", 4, 4, OSCILLATION,
          "How regularly PV crosses SP: above 1 the loop oscillates (Thornhill, Huang and Zhang, 2003). "
          "Shows periods from 8 windows on.", decimals=1, columns=("loop_id", "oscillation index", "period, s")),
    Panel("Loops by OP movement", "table", 4, 4, MOVEMENT, "Of the last 15 minutes.", decimals=1,
          columns=("loop_id", "travel, %/min", "reversals, 1/min")),
    Panel("Active faults", "table", 12, 4, ACTIVE_FAULTS, TRUTH_NOTE, decimals=1,
          columns=("loop_id", "fault", "visible", "severity", "effect", "cause")),
    Panel("Points per minute", "lines", 4, 3, metrics("points_emitted", "points_written", rate=True), METRICS_NOTE,
          axis="points", colours={"points_emitted": BLUE, "points_written": GREEN}),
    Panel("Late samples per minute", "bars", 4, 3, metrics("ticks_late", rate=True), METRICS_NOTE, axis="samples",
          colours={"ticks_late": RED}),
    Panel("Delivery queue", "lines", 4, 3,
          metrics("points_waiting", "points_dropped", "points_quarantined", "points_refused"),
          "clpm-execd --direct only: points pending in the queue, dropped because it was full, rejected by InfluxDB "
          "since the start, and rejected ones that are in the quarantine now.", axis="points",
          colours={"points_dropped": RED, "points_quarantined": PINK, "points_refused": BLUE,
                   "points_waiting": ORANGE}),
)

BUCKETS = """\
buckets()
  |> filter(fn: (r) => r.name !~ /^_/)
  |> rename(columns: {name: "_value"})
  |> keep(columns: ["_value"])"""

LOOPS = """\
import "influxdata/influxdb/schema"

schema.tagValues(
  bucket: v.clpm_bucket,
  tag: "loop_id",
  predicate: (r) => r._measurement == "control_loops",
  start: -30d,
)"""

VARIABLES = {"clpm_bucket": ("the bucket with the control loop data", BUCKETS),
             "clpm_loop": ("the loop shown in detail", LOOPS)}
DESCRIPTION = "One loop in detail, all loops, the ground truth of injected faults, and the health of the stream"


def positions(columns: int) -> list[tuple[int, int, int, int]]:
    """Return x, y, width and height of each panel on a grid of so many columns, row by row."""
    placed, x, y, row_height = [], 0, 0, 0
    for panel in PANELS:
        if x + panel.width > COLUMNS:
            x, y = 0, y + row_height
        placed.append((x, y, panel.width, panel.height))
        x, row_height = x + panel.width, panel.height
    scale = columns // COLUMNS
    return [tuple(scale * value for value in place) for place in placed]  # type: ignore[misc]


def with_fixed_colours(panel: Panel) -> str:
    """Return the query of states with each state once at the start, since InfluxDB colours them as they come."""
    states = "\n".join(f'  state(name: "{name}", order: {i}),' for i, name in enumerate(panel.colours))
    return dedent("""\
        lanes = {query}

        state = (name, order) => lanes
          |> first()
          |> map(fn: (r) => ({{_time: r._time, {lane}: r.{lane}, _value: name, order: order}}))

        // InfluxDB gives colours in the order in which states appear.
        union(tables: [
        {states}
          lanes
            |> map(fn: (r) => ({{_time: r._time, {lane}: r.{lane}, _value: r._value, order: {last}}})),
        ])
          |> group(columns: ["{lane}"])
          |> sort(columns: ["_time", "order"])""").format(query=panel.query, lane=panel.lane, states=states,
                                                          last=len(panel.colours))


def influxdb_chart(panel: Panel, place: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return a panel as the template has it."""
    kinds = {"stat": "Single_Stat", "lines": "Xy", "bars": "Xy", "states": "Mosaic", "table": "Table"}
    chart: dict[str, Any] = {"kind": kinds[panel.kind], "name": panel.title}
    chart |= dict(zip(("xPos", "yPos", "width", "height"), place, strict=True))
    if panel.note:
        chart |= {"note": panel.note, "noteOnEmpty": True}
    chart["queries"] = [{"query": with_fixed_colours(panel) if panel.kind == "states" else panel.query}]
    if panel.kind in ("stat", "table"):
        chart |= {"decimalPlaces": panel.decimals, "suffix": panel.suffix,
                  "colors": [{"hex": BLUE, "id": "base", "name": "colour", "type": "text", "value": 0}]}
    if panel.kind == "table":
        chart |= {"timeFormat": "YYYY-MM-DD HH:mm:ss",
                  "tableOptions": {"verticalTimeAxis": True, "sortBy": "", "wrapping": "truncate",
                                   "fixFirstColumn": True},
                  "fieldOptions": [{"fieldName": name, "displayName": name, "visible": True}
                                   for name in panel.columns]}
    if panel.kind in ("lines", "bars", "states"):
        is_states = panel.kind == "states"
        chart |= {"xCol": "_time", "hoverDimension": "x" if is_states else "auto",
                  "legendOpacity": 1.0, "legendOrientationThreshold": 5,
                  "axes": [{"name": "x", "scale": "linear"},
                           {"name": "y", "label": panel.axis, "suffix": panel.suffix, "base": "10", "scale": "linear"}]}
        if is_states:
            chart |= {"ySeriesColumns": [panel.lane], "yLabelColumns": [panel.lane], "fillColumns": ["_value"],
                      "colors": [{"hex": colour} for colour in panel.colours.values()]}
        else:
            chart |= {"yCol": "_value", "geom": "line" if panel.kind == "lines" else "bar", "position": "overlaid",
                      "legendColorizeRows": True,
                      "colors": [{"hex": colour, "id": str(i), "name": "colour", "type": "scale", "value": 0}
                                 for i, (_, colour) in enumerate(sorted(panel.colours.items()))]}
    return chart


def influxdb_template() -> str:
    """Return the template for InfluxDB 2: a list of documents, as `influx apply` and the web interface take it."""
    documents: list[dict[str, Any]] = [
        {"apiVersion": "influxdata.com/v2alpha1", "kind": "Variable", "metadata": {"name": name.replace("_", "-")},
         "spec": {"name": name, "description": description, "type": "query", "language": "flux", "query": query}}
        for name, (description, query) in VARIABLES.items()]
    charts = [influxdb_chart(panel, place) for panel, place in zip(PANELS, positions(COLUMNS), strict=True)]
    documents.append({"apiVersion": "influxdata.com/v2alpha1", "kind": "Dashboard", "metadata": {"name": "clpm-loops"},
                      "spec": {"name": "Control loops", "description": DESCRIPTION, "charts": charts}})
    return json.dumps(documents, indent=2) + "\n"


def for_grafana(query: str) -> str:
    """Return a query with the variables of Grafana."""
    return query.replace("v.clpm_bucket", '"${clpm_bucket}"').replace("v.clpm_loop", '"${clpm_loop}"')


def flux_target(panel: Panel) -> dict[str, Any]:
    """Return what Grafana asks InfluxDB 2 for a panel."""
    return {"query": for_grafana(panel.query)}


def sql_target(panel: Panel) -> dict[str, Any]:
    """Return what Grafana asks InfluxDB 3 for a panel."""
    is_trend = panel.kind in ("lines", "bars", "states")
    return {"rawQuery": True, "rawSql": dashboards_sql.QUERIES[panel.title],
            "format": "time_series" if is_trend else "table"}


Target = Callable[[Panel], dict[str, Any]]


def grafana_panel(number: int, panel: Panel, place: tuple[int, int, int, int], target: Target) -> dict[str, Any]:
    """Return a panel as Grafana has it."""
    source = {"type": "influxdb", "uid": "${datasource}"}
    kinds = {"stat": "stat", "lines": "timeseries", "bars": "timeseries", "states": "state-timeline", "table": "table"}
    defaults: dict[str, Any] = {
        "unit": {" %": "percent", " s": "s"}.get(panel.suffix, "none"), "custom": {}, "mappings": [],
        "thresholds": {"mode": "absolute", "steps": [{"color": BLUE, "value": None}]},
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"}}
    overrides: list[dict[str, Any]] = []
    legend = {"displayMode": "list", "placement": "bottom"}
    if panel.kind in ("stat", "table"):
        defaults["decimals"] = panel.decimals
    if panel.kind in ("lines", "bars"):
        defaults["custom"] = {"drawStyle": "line" if panel.kind == "lines" else "bars", "lineWidth": 1,
                              "showPoints": "never", "spanNulls": False, "axisLabel": panel.axis}
        overrides = [{"matcher": {"id": "byRegexp", "options": f"/{name}/"},
                      "properties": [{"id": "displayName", "value": name},
                                     {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
                     for name, colour in panel.colours.items()]
    if panel.kind == "states":
        defaults["custom"] = {"fillOpacity": 80}
        defaults["mappings"] = [{"type": "value", "options": {
            state: {"color": colour, "index": i} for i, (state, colour) in enumerate(panel.colours.items())}}]
    options: dict[str, Any] = {
        "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value",
                 "graphMode": "none", "textMode": "value"},
        "table": {"showHeader": True},
        "states": {"mergeValues": True, "showValue": "auto", "rowHeight": 0.8, "legend": legend},
    }.get(panel.kind, {"legend": legend, "tooltip": {"mode": "multi"}})
    return {
        "id": number, "type": kinds[panel.kind], "title": panel.title, "datasource": source,
        "gridPos": dict(zip("xywh", place, strict=True)), "maxDataPoints": 360,
        "targets": [{"refId": "A", "datasource": source, **target(panel)}],
        "fieldConfig": {"defaults": defaults, "overrides": overrides}, "options": options,
        **({"description": panel.note} if panel.note else {})}


def grafana_dashboard(language: str, name: str, target: Target, queries: Mapping[str, str]) -> str:
    """Return the dashboard for Grafana with a data source in a query language; queries: those of the variables."""
    variables: list[dict[str, Any]] = [{
        "name": "datasource", "label": f"InfluxDB ({language})", "type": "datasource", "query": "influxdb",
        "refresh": 1, "hide": 0, "multi": False, "includeAll": False}]
    variables += [{
        "name": name, "label": name.removeprefix("clpm_"), "type": "query",
        "datasource": {"type": "influxdb", "uid": "${datasource}"},
        "query": {"query": query, "refId": name}, "definition": query,
        "refresh": 1, "sort": 1, "multi": False, "includeAll": False, "hide": 0}
        for name, query in queries.items()]
    panels = [grafana_panel(i, panel, place, target)
              for i, (panel, place) in enumerate(zip(PANELS, positions(24), strict=True), 1)]
    dashboard = {
        "uid": name, "title": "Control loops", "description": DESCRIPTION, "tags": ["clpm-execd"],
        "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1, "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"}, "refresh": "10s", "annotations": {"list": []}, "links": [],
        "templating": {"list": variables}, "panels": panels}
    return json.dumps(dashboard, indent=2) + "\n"


def files() -> dict[str, str]:
    """Return the text of each dashboard by the name of its file."""
    flux = {name: for_grafana(query) for name, (_, query) in VARIABLES.items()}
    return {"dashboard-influxdb.json": influxdb_template(),
            "dashboard-grafana.json": grafana_dashboard("Flux", "clpm-execd-loops", flux_target, flux),
            "dashboard-grafana-sql.json": grafana_dashboard("SQL", "clpm-execd-loops-sql", sql_target,
                                                            dashboards_sql.VARIABLES)}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
