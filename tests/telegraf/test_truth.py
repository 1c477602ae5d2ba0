"""The ground truth through the real Telegraf into the real InfluxDB, and from there into `score`."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

from parts import SECOND, InfluxDB, Telegraf, until

from clpm_execd.plant.block import AFFECTED
from clpm_execd.score import read_truth

# The sensor of the slave freezes, the master feels it, and the third loop does not.
LOOPS = """
interval = "10s"
[output]
truth = true
[[loop]]
id = "TIC101"
type = "temperature"
[[loop]]
id = "FIC102"
type = "flow"
mode = "CAS"
cascade = "TIC101"
[[loop.fault]]
kind = "freeze"
start = "20m"
[[loop]]
id = "FIC103"
type = "flow"
"""
TELEGRAF = """
[agent]
  omit_hostname = true
  flush_interval = "200ms"
[[inputs.execd]]
  command = ["clpm-execd", "--config", "{loops}", "--backfill", "90m"]
  signal = "STDIN"
  data_format = "influx"
[[outputs.influxdb_v2]]
  urls = ["${{INFLUXDB_URL}}"]
  token = "${{INFLUXDB_TOKEN}}"
  organization = "${{INFLUXDB_ORG}}"
  bucket = "${{INFLUXDB_BUCKET}}"
[[outputs.file]]
  files = ["{output}"]
  data_format = "influx"
"""


def test_effects_and_causes_arrive_and_score_judges_by_them(
        collector: Telegraf, influxdb: InfluxDB, clpm_execd: list[str], tmp_path: Path) -> None:
    bucket, started_at = influxdb.new_bucket(), time.time_ns()
    (tmp_path / "loops.toml").write_text(LOOPS)
    environment = {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org,
                   "INFLUXDB_BUCKET": bucket}
    config = collector.config("truth.conf", TELEGRAF.format(loops=tmp_path / "loops.toml", output=collector.output))
    samples = (f'from(bucket: "{bucket}") |> range(start: -3h) |> filter(fn: (r) => r._field == "PV")'
               " |> group() |> last() |> map(fn: (r) => ({stamp: int(v: r._time)}))")
    with collector.agent(config, **environment):
        until(lambda: int((influxdb.query(samples) or [{"stamp": "0"}])[0]["stamp"]) > started_at - 10 * SECOND, 60,
              f"the last of 90 minutes; see {collector.log}")
    truth = read_truth(collector.output)
    freeze, affected = sorted((each for each in truth.episodes), key=lambda each: each.loop)
    assert (freeze.loop, freeze.fault, freeze.cause) == ("FIC102", "freeze", "")
    assert (affected.loop, affected.fault, affected.cause) == ("TIC101", AFFECTED, "FIC102:freeze")
    assert affected.start > freeze.start
    assert set(truth.observation) == {"TIC101", "FIC102", "FIC103"}
    effects = influxdb.query(f'from(bucket: "{bucket}") |> range(start: -3h) |> filter(fn: (r) => r._field == "effect")'
                             " |> group(columns: [\"loop_id\", \"fault\"]) |> max()")
    assert {row["fault"]: float(row["_value"]) > 0.7 for row in effects} == {"freeze": True, AFFECTED: True}

    def write_time(ns: int) -> str:
        return datetime.fromtimestamp(ns // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    (tmp_path / "alarms.csv").write_text("loop,start,end,fault,cause\n" + "".join(
        f"{each.loop},{write_time(each.start)},{write_time(each.end)},{fault},{cause}\n"
        for each, fault, cause in ((freeze, "freeze", ""), (affected, "aggressive", "FIC102"))))

    def score(*options: str) -> dict[str, object]:
        process = subprocess.run(
            [*clpm_execd, "score", "alarms.csv", "--affected", "judge", "--format", "json", *options], cwd=tmp_path,
            env=collector.environment | environment, capture_output=True, text=True, timeout=60, check=True)
        judgement: dict[str, object] = json.loads(process.stdout)
        return judgement

    result = score()
    assert result == score("--truth", str(collector.output))
    assert {row["fault"]: (row["events"], row["found"], row["wrong"]) for row in result["faults"]} == {  # type: ignore[attr-defined]
        "freeze": (1, 1, 0), AFFECTED: (1, 1, 0)}
