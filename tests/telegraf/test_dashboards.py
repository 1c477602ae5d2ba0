"""The dashboards: InfluxDB takes the template, each query gives rows of what the stream writes, the cells fit.

There is no Grafana here and no page of InfluxDB's; what they display is not tested, what they query is. The queries in
SQL run on the contract of InfluxDB 3.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import dashboards
import influxdb3_contract
import numpy as np
import parts
import pytest
import yaml
from command import run_process

from clpm_execd.outputs.self_metrics import MINUTE, SelfMetrics
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant

FOLDER = parts.ROOT / "telegraf"
TEXTS = dashboards.files()
TEMPLATE: list[dict[str, Any]] = json.loads((FOLDER / "dashboard-influxdb.json").read_text())
GRAFANA: dict[str, Any] = json.loads((FOLDER / "dashboard-grafana.json").read_text())
SQL: dict[str, Any] = json.loads((FOLDER / "dashboard-grafana-sql.json").read_text())
CHARTS: list[dict[str, Any]] = TEMPLATE[-1]["spec"]["charts"]
VARIABLES = {document["spec"]["name"]: document["spec"]["query"] for document in TEMPLATE[:-1]}

PLANT = """
[output]
truth = true
metrics = true
[[loop]]
id = "FIC101"
type = "flow"
[[loop.fault]]
kind = "stiction"
S = 8.0
J = 4.0
start = "2m"
[[loop.fault]]
kind = "manual"
start = "20m"
duration = "5m"
[[loop]]
id = "TIC102"
type = "temperature"
[[loop.fault]]
kind = "undersized"
"""


SAMPLES: dict[str, bytes] = {}  # by bucket


def queries() -> dict[str, str]:
    """Every query of both dashboards, by where it stands."""
    queries = {f"influxdb {chart['name']}": query["query"] for chart in CHARTS for query in chart["queries"]}
    queries |= {f"influxdb variable {name}": query for name, query in VARIABLES.items()}
    queries |= {f"grafana {panel['title']}": target["query"] for panel in GRAFANA["panels"]
                for target in panel["targets"]}
    queries |= {f"grafana variable {variable['name']}": variable["query"]["query"]
                for variable in GRAFANA["templating"]["list"] if variable["type"] == "query"}
    return queries


@pytest.fixture(scope="module")
def bucket(influxdb: parts.InfluxDB, clpm_execd: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bucket with half an hour up to now of faulty loops, their truth, and the stream's own numbers."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "loops.toml").write_text(PLANT)
    samples = parts.generated(clpm_execd, 1800, "--config", "loops.toml", folder=folder)
    name = influxdb.new_bucket()
    SAMPLES[name] = samples + own_metrics((int(time.time()) - 1800) * parts.SECOND)
    influxdb.write(name, SAMPLES[name])
    return name


def own_metrics(start: int) -> bytes:
    """Ten minutes of what a direct writer says of itself."""
    metrics = SelfMetrics("clpm_execd", {}, interval=parts.SECOND, start=start)
    metrics.more = lambda now: {"points_written": 60, "points_waiting": 3, "points_dropped": 0, "points_refused": 2,
                                "points_quarantined": 1}
    plant = Plant((template("flow", "FIC101", (0.0, 100.0)),), start=start, interval=parts.SECOND)
    lines = b""
    for k in range(1, 11):
        metrics.add(plant.advance(60), b"\n" * 60, start + k * MINUTE)
        lines += metrics.take_line(start + k * MINUTE)
    return lines


def filled(query: str, bucket: str) -> str:
    """The query as InfluxDB's pages, or Grafana's data source, send it."""
    values = ("timeRangeStart: -40m, timeRangeStop: now(), windowPeriod: 10s, "
              f'clpm_bucket: "{bucket}", clpm_loop: "FIC101"')
    query = query.replace("${clpm_bucket}", bucket).replace("${clpm_loop}", "FIC101")
    imports = "".join(re.findall(r'^import ".*"\n', query, re.MULTILINE))
    return f"{imports}option v = {{{values}}}\n{query.removeprefix(imports)}"


@pytest.mark.parametrize("where", queries())
def test_every_query_gives_rows(influxdb: parts.InfluxDB, bucket: str, where: str) -> None:
    rows = influxdb.query(filled(queries()[where], bucket))
    assert rows
    assert all(any(row.values()) for row in rows)


class SqlQueries:
    """The dashboard in SQL on the same samples as the bucket."""

    def __init__(self, lines: bytes) -> None:
        self.server = influxdb3_contract.InfluxDB3()
        assert self.server.write("plant", lines)[0] == 204
        self.queries = {panel["title"]: target["rawSql"] for panel in SQL["panels"] for target in panel["targets"]}
        self.queries |= {variable["name"]: variable["query"]["query"] for variable in SQL["templating"]["list"]
                         if variable["type"] == "query"}

    def rows(self, title: str) -> list[dict[str, str]]:
        """Return the rows of a panel or variable, with Grafana's macros and variables filled in."""
        query = self.queries[title].replace("${clpm_loop}", "FIC101")
        query = query.replace("$__timeFilter(time)", "time > now() - INTERVAL '40 minutes'")
        query = query.replace("$__dateBin(time)",
                              "date_bin(INTERVAL '10 seconds', time, TIMESTAMP '1970-01-01T00:00:00')")
        assert "$" not in query
        status, text = self.server.query_sql({"db": "plant", "q": query})
        assert status == 200, text
        return list(csv.DictReader(text.decode().splitlines()))


@pytest.fixture(scope="module")
def sql(influxdb: parts.InfluxDB, bucket: str) -> SqlQueries:
    return SqlQueries(SAMPLES[bucket])


def test_every_query_in_sql_gives_rows(sql: SqlQueries) -> None:
    assert set(sql.queries) == {panel.title for panel in dashboards.PANELS} | {"clpm_loop"}
    for title in sql.queries:
        rows = sql.rows(title)
        assert rows, title
        assert all(any(row.values()) for row in rows), title


def test_sql_and_flux_show_the_same(influxdb: parts.InfluxDB, bucket: str, sql: SqlQueries) -> None:
    for title in ("Service factor", "OP saturated", "Streaming loops"):
        [flux] = rows_of(influxdb, bucket, title)
        [row] = sql.rows(title)
        assert float(row["value"]) == pytest.approx(float(flux["_value"]), abs=0.1)
    for title in ("Loops by OP movement", "Active faults"):
        columns = [name for name in sql.rows(title)[0] if name != "severity"]
        of_flux = {row["loop_id"]: row for row in rows_of(influxdb, bucket, title)}
        assert [row["loop_id"] for row in sql.rows(title)] == list(of_flux)
        for row in sql.rows(title):
            for name in columns:
                assert agree(row[name], of_flux[row["loop_id"]][name]), name
    trend = sql.rows("PV and SP")
    of_flux_samples = [float(row["_value"]) for row in rows_of(influxdb, bucket, "PV and SP") if row["_field"] == "PV"]
    assert max(float(row["max PV"]) for row in trend) == max(of_flux_samples)
    assert min(float(row["min PV"]) for row in trend) == min(of_flux_samples)
    lanes = {(row["fault"], row["value"]) for row in sql.rows("Fault ground truth")}
    assert {("stiction", "absent"), ("manual", "visible"), ("manual", "absent")} <= lanes
    assert {row["value"] for row in sql.rows("Mode")} == {"AUT", "MAN"}


def agree(one: str, other: str) -> bool:
    """Whether texts are the same, or the numbers in them within 10 %: the two queries count to slightly other times."""
    try:
        return abs(float(one) - float(other)) <= 0.1 * abs(float(other))
    except ValueError:
        return one == other


def rows_of(influxdb: parts.InfluxDB, bucket: str, chart: str) -> list[dict[str, str]]:
    return influxdb.query(filled(queries()[f"influxdb {chart}"], bucket))


def test_what_they_show_is_what_was_streamed(influxdb: parts.InfluxDB, bucket: str) -> None:
    [factor] = rows_of(influxdb, bucket, "Service factor")
    assert float(factor["_value"]) == pytest.approx(100 * 25 / 30, abs=0.5)
    modes = rows_of(influxdb, bucket, "Mode")
    assert {row["_value"] for row in modes if row["order"] == "3"} == {"AUT", "MAN"}
    trend = rows_of(influxdb, bucket, "PV and SP")
    assert {row["_field"] for row in trend} == {"PV", "SP"}
    assert len(trend) == 2 * 1800
    assert np.std([float(row["_value"]) for row in trend if row["_field"] == "PV"]) > 0.1
    lanes = {(row["fault"], row["_value"]) for row in rows_of(influxdb, bucket, "Fault ground truth")}
    assert {("stiction", "absent"), ("manual", "visible"), ("manual", "absent")} <= lanes
    by_deviation = {row["loop_id"]: row for row in rows_of(influxdb, bucket, "Loops by deviation")}
    assert set(by_deviation) == {"FIC101", "TIC102"}
    assert float(by_deviation["FIC101"]["service factor, %"]) == pytest.approx(100 * 25 / 30, abs=0.5)
    assert float(by_deviation["TIC102"]["saturated, %"]) > 0 == float(by_deviation["FIC101"]["saturated, %"])
    travel = {row["loop_id"]: float(row["travel, %/min"]) for row in rows_of(influxdb, bucket, "Loops by OP movement")}
    assert travel["FIC101"] > 1.0
    present = {(row["loop_id"], row["fault"]) for row in rows_of(influxdb, bucket, "Active faults")}
    assert present == {("FIC101", "stiction"), ("TIC102", "undersized")}
    [streaming] = rows_of(influxdb, bucket, "Streaming loops")
    assert streaming["_value"] == "2"
    [age] = rows_of(influxdb, bucket, "Data age")
    assert 0 <= float(age["_value"]) < 120
    minutes = rows_of(influxdb, bucket, "Points per minute")
    assert {row["_value"] for row in minutes if row["_field"] == "points_emitted"} == {"60"}


def test_the_files_are_those_of_the_list_of_panels() -> None:
    for name, text in TEXTS.items():
        assert (FOLDER / name).read_text() == text, "run `python tests/dashboards.py`"


def test_windows_of_more_than_ten_seconds_show_their_ends(influxdb: parts.InfluxDB, bucket: str) -> None:
    query = filled(queries()["influxdb PV and SP"], bucket)
    minutes = influxdb.query(query.replace("windowPeriod: 10s", "windowPeriod: 1m"))
    values = {name: [float(row["_value"]) for row in minutes if row["_field"] == name]
              for name in ("PV", "SP", "max PV", "min PV")}
    assert 30 <= len(values["PV"]) == len(values["max PV"]) <= 35
    recorded = [float(row["_value"]) for row in influxdb.query(query) if row["_field"] == "PV"]
    assert (max(values["max PV"]), min(values["min PV"])) == (max(recorded), min(recorded))
    assert max(values["PV"]) < max(recorded)


@pytest.mark.parametrize("chart", ["Mode", "Fault ground truth"])
def test_the_states_of_a_lane_begin_with_all_states_in_the_order_of_their_colours(
        influxdb: parts.InfluxDB, bucket: str, chart: str) -> None:
    [panel] = [panel for panel in dashboards.PANELS if panel.title == chart]
    lanes: dict[str, list[str]] = {}
    for row in rows_of(influxdb, bucket, chart):
        lanes.setdefault(row[panel.lane], []).append(row["_value"])
    assert lanes
    for states in lanes.values():
        assert states[: len(panel.colours)] == list(panel.colours)


def variables(influxdb: parts.InfluxDB) -> dict[str, str]:
    """Each variable's text by its name."""
    answer = json.loads(influxdb.request(f"/api/v2/variables?orgID={influxdb.org_id}"))
    return {variable["name"]: json.dumps(variable["arguments"]) for variable in answer["variables"]}


def test_the_template_is_updated_by_a_second_one_and_leaves_a_site_s_own_variables_alone(
        influxdb: parts.InfluxDB) -> None:
    for name in ("bucket", "loop"):
        influxdb.request("/api/v2/variables", {"orgID": influxdb.org_id, "name": name, "selected": [],
                                               "arguments": {"type": "constant", "values": [f"the site's {name}"]}})
    of_the_site = variables(influxdb)
    settings = {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org}
    for _ in range(2):
        result = run_process(["sh", FOLDER / "apply-dashboard.sh"], folder=FOLDER, env=settings)
        assert result.stdout == f"InfluxDB at {influxdb.url} has the dashboard Control loops.\n", result.stderr
    [dashboard] = json.loads(influxdb.request(f"/api/v2/dashboards?orgID={influxdb.org_id}"))["dashboards"]
    stored = json.loads(influxdb.request(f"/api/v2/dashboards/{dashboard['id']}?include=properties"))
    assert stored["name"] == "Control loops"
    assert sorted(cell["name"] for cell in stored["cells"]) == sorted(chart["name"] for chart in CHARTS)
    texts = {query["text"] for cell in stored["cells"] for query in cell["properties"]["queries"]}
    assert {" ".join(text.split()) for text in texts} == {" ".join(chart["queries"][0]["query"].split())
                                                          for chart in CHARTS}
    after = variables(influxdb)
    assert after.items() >= of_the_site.items()
    assert set(after) - set(of_the_site) == set(VARIABLES)


def cells() -> dict[str, tuple[int, list[tuple[int, int, int, int]]]]:
    """Columns of the grid, and x, y, width and height of each cell."""
    own = [(chart["xPos"], chart["yPos"], chart["width"], chart["height"]) for chart in CHARTS]
    theirs = [tuple(panel["gridPos"][key] for key in "xywh") for panel in GRAFANA["panels"]]
    assert theirs == [tuple(panel["gridPos"][key] for key in "xywh") for panel in SQL["panels"]]
    return {"influxdb": (12, own), "grafana": (24, theirs)}


@pytest.mark.parametrize("name", ["influxdb", "grafana"])
def test_the_cells_fill_their_grid_and_do_not_overlap(name: str) -> None:
    columns, placed = cells()[name]
    areas = [{(x + i, y + j) for i in range(w) for j in range(h)} for x, y, w, h in placed]
    for one, other in itertools.combinations(areas, 2):
        assert not one & other
    every = set().union(*areas)
    assert every == set(itertools.product(range(columns), range(1 + max(y for _, y in every))))


def test_grafana_reads_the_dashboard_and_a_flux_data_source_at_its_start() -> None:
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert all((FOLDER / path).is_file() for path in mounts)
    [provider] = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"]
    assert mounts["./dashboard-grafana.json"].startswith(provider["options"]["path"])
    [source] = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"]
    assert (source["type"], source["jsonData"]["version"]) == ("influxdb", "Flux")
    named = re.findall(r"\$\{(\w+)\}", (FOLDER / "grafana" / "datasources.yml").read_text())
    assert set(named) <= set(service["environment"])


def test_the_readmes_name_the_dashboards() -> None:
    text = (FOLDER / "README.md").read_text()
    for name in TEXTS:
        assert f"`{name}`" in text


def test_a_person_who_cannot_distinguish_red_from_green_can_distinguish_the_lines() -> None:
    # The set of Okabe and Ito (2008), and a grey for what is not there.
    safe = {"#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8E91A1"}
    text = "".join(Path(FOLDER / name).read_text() for name in TEXTS)
    assert set(re.findall(r"#[0-9A-Fa-f]{6}", text)) <= safe
