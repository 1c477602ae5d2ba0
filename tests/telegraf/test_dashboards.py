"""The dashboards: InfluxDB takes the template, each query of both gives rows of what the stream writes, the cells fit.

There is no Grafana here and no page of InfluxDB's; what they display is not tested, what they query is.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import parts
import pytest
import yaml

from clpm_execd.outputs.self_metrics import MINUTE, SelfMetrics
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant

FOLDER = parts.ROOT / "telegraf"
TEMPLATE: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "dashboard-influxdb.yml").read_text()))
GRAFANA: dict[str, Any] = json.loads((FOLDER / "dashboard-grafana.json").read_text())
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
    influxdb.write(name, samples + own_metrics((int(time.time()) - 1800) * parts.SECOND))
    return name


def own_metrics(start: int) -> bytes:
    """Ten minutes of what a direct writer says of itself."""
    metrics = SelfMetrics("clpm_execd", {}, interval=parts.SECOND, started=start)
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
    values = f'timeRangeStart: -40m, timeRangeStop: now(), windowPeriod: 10s, bucket: "{bucket}", loop: "FIC101"'
    query = query.replace("${bucket}", bucket).replace("${loop}", "FIC101")
    imports = "".join(re.findall(r'^import ".*"\n', query, re.MULTILINE))
    return f"{imports}option v = {{{values}}}\n{query.removeprefix(imports)}"


@pytest.mark.parametrize("where", queries())
def test_every_query_gives_rows(influxdb: parts.InfluxDB, bucket: str, where: str) -> None:
    rows = influxdb.query(filled(queries()[where], bucket))
    assert rows
    assert all(any(row.values()) for row in rows)


def rows_of(influxdb: parts.InfluxDB, bucket: str, chart: str) -> list[dict[str, str]]:
    return influxdb.query(filled(queries()[f"influxdb {chart}"], bucket))


def test_what_they_show_is_what_was_streamed(influxdb: parts.InfluxDB, bucket: str) -> None:
    [factor] = rows_of(influxdb, bucket, "Service factor")
    assert float(factor["_value"]) == pytest.approx(100 * 25 / 30, abs=0.5)
    assert {row["_value"] for row in rows_of(influxdb, bucket, "Mode")} == {"AUT", "MAN"}
    trend = rows_of(influxdb, bucket, "PV and SP")
    assert {row["_field"] for row in trend} == {"PV", "SP"}
    assert np.std([float(row["_value"]) for row in trend if row["_field"] == "PV"]) > 0.1
    lanes = {(row["fault"], row["_value"]) for row in rows_of(influxdb, bucket, "Fault ground truth")}
    assert {("stiction", "absent"), ("manual", "visible"), ("manual", "absent")} <= lanes
    assert {row["loop_id"] for row in rows_of(influxdb, bucket, "All loops")} == {"FIC101", "TIC102"}
    present = {(row["loop_id"], row["fault"]) for row in rows_of(influxdb, bucket, "Active faults")}
    assert present == {("FIC101", "stiction"), ("TIC102", "undersized")}
    [streaming] = rows_of(influxdb, bucket, "Streaming loops")
    assert streaming["_value"] == "2"
    [age] = rows_of(influxdb, bucket, "Data age")
    assert 0 <= float(age["_value"]) < 120
    minutes = rows_of(influxdb, bucket, "Points per minute")
    assert {row["_value"] for row in minutes if row["_field"] == "points_emitted"} == {"60"}


def test_both_dashboards_ask_the_same() -> None:
    of_influxdb = [query["query"] for chart in CHARTS for query in chart["queries"]]
    of_grafana = [target["query"] for panel in GRAFANA["panels"] for target in panel["targets"]]
    assert [query.replace('"${bucket}"', "v.bucket").replace('"${loop}"', "v.loop") for query in of_grafana] \
        == of_influxdb
    assert [chart["name"] for chart in CHARTS] == [panel["title"] for panel in GRAFANA["panels"]]


def test_influxdb_takes_the_template_and_has_its_dashboard(influxdb: parts.InfluxDB) -> None:
    body = {"orgID": influxdb.org_id, "template": {"contents": TEMPLATE}}
    applied = json.loads(influxdb.request("/api/v2/templates/apply", body))
    assert not applied.get("errors")
    [dashboard] = applied["summary"]["dashboards"]
    stored = json.loads(influxdb.request(f"/api/v2/dashboards/{int(dashboard['id']):016x}?include=properties"))
    assert stored["name"] == "Control loops"
    assert sorted(cell["name"] for cell in stored["cells"]) == sorted(chart["name"] for chart in CHARTS)
    texts = {query["text"] for cell in stored["cells"] for query in cell["properties"]["queries"]}
    assert {" ".join(text.split()) for text in texts} == {" ".join(chart["queries"][0]["query"].split())
                                                          for chart in CHARTS}
    variables = json.loads(influxdb.request(f"/api/v2/variables?orgID={influxdb.org_id}"))["variables"]
    assert {variable["name"] for variable in variables} >= set(VARIABLES)


def cells() -> dict[str, tuple[int, list[tuple[int, int, int, int]]]]:
    """Columns of the grid, and x, y, width and height of each cell."""
    own = [(chart["xPos"], chart["yPos"], chart["width"], chart["height"]) for chart in CHARTS]
    theirs = [tuple(panel["gridPos"][key] for key in "xywh") for panel in GRAFANA["panels"]]
    return {"influxdb": (12, own), "grafana": (24, theirs)}


@pytest.mark.parametrize("name", ["influxdb", "grafana"])
def test_the_cells_fill_their_grid_and_do_not_overlap(name: str) -> None:
    columns, placed = cells()[name]
    taken = [{(x + i, y + j) for i in range(w) for j in range(h)} for x, y, w, h in placed]
    for one, other in itertools.combinations(taken, 2):
        assert not one & other
    every = set().union(*taken)
    assert every == set(itertools.product(range(columns), range(1 + max(y for _, y in every))))


def test_the_readmes_name_the_dashboards() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.glob("dashboard-*"):
        assert f"`{path.name}`" in text


def test_a_person_who_cannot_tell_red_from_green_can_tell_the_lines_apart() -> None:
    # The set of Okabe and Ito (2008), and a grey for what is not there.
    safe = {"#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8E91A1"}
    text = "".join(Path(FOLDER / name).read_text() for name in ("dashboard-influxdb.yml", "dashboard-grafana.json"))
    assert set(re.findall(r"#[0-9A-Fa-f]{6}", text)) <= safe
