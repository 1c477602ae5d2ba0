"""What the real Telegraf takes from us, beside what it takes of ready bytes and what it makes by itself."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from baselines import in_pairs
from parts import InfluxDB, Telegraf, until
from results import Results
from tiers import CAMPAIGNS

LINES = 3_000_000 if CAMPAIGNS else 60_000
PAIRS = 7 if CAMPAIGNS else 1
LOOPS = 1000
DISCARD = "[[outputs.discard]]\n"


MOCKS = 100
MOCK = """
[[inputs.mock]]
  metric_name = "control_loops"
  [inputs.mock.tags]
    loop_id = "TIC{}"
  [[inputs.mock.sine_wave]]
    name = "PV"
    amplitude = 1.0
    period = 60.0
    base_line = 405.0
  [[inputs.mock.random]]
    name = "OP"
    min = 60.0
    max = 65.0
  [[inputs.mock.constant]]
    name = "SP"
    value = 405.41
"""
COUNTED = """
[agent]
  interval = "1ms"
  flush_interval = "1s"
  omit_hostname = true
  metric_buffer_limit = 1000000
[[inputs.internal]]
  interval = "1s"
  fieldinclude = ["metrics_gathered"]
  namepass = ["internal_agent"]
[[outputs.discard]]
  namepass = ["control_loops"]
[[outputs.file]]
  files = ["{}"]
  namepass = ["internal_agent"]
"""


def settings(output: str, command: str) -> str:
    return (
        '[agent]\n  interval = "1s"\n  flush_interval = "100ms"\n  omit_hostname = true\n'
        f"  metric_batch_size = 10000\n  metric_buffer_limit = {2 * LINES}\n"
        f'[[inputs.execd]]\n  command = ["sh", "-c", "{command}"]\n  signal = "none"\n  data_format = "influx"\n'
        f"{output}"
    )


def plant(folder: Path) -> str:
    (folder / "loops.toml").write_text(f'[[loop]]\nid = "FIC{{:06d}}"\ntype = "flow"\ncount = {LOOPS}\n')
    return f"clpm-execd generate --config {folder}/loops.toml --duration {LINES // LOOPS}s"


def taken(collector: Telegraf, output: str, command: str) -> float:
    """Seconds until Telegraf has taken all that the command writes; from its first byte, so without its start."""
    times = collector.folder / "times"
    times.unlink(missing_ok=True)
    timed = f"{sys.executable} {Path(__file__).with_name('timed_pipe.py')} {times}"
    config = collector.config("intake.conf", settings(output, f"{command} | {timed}"))
    with collector.agent(config):
        until(lambda: times.exists() and len(times.read_text().split()) == 2, 300, "the end of the lines")
        start, end = map(float, times.read_text().split())
    return end - start


def test_intake_of_telegraf(collector: Telegraf, tmp_path: Path, clpm_execd: list[str], results: Results) -> None:
    lines = tmp_path / "lines"
    command = plant(tmp_path)
    subprocess.run([*clpm_execd, *command.split()[1:], "--output", str(lines)], check=True)
    ours, ready, ratio = in_pairs(lambda: taken(collector, DISCARD, command),
                                  lambda: taken(collector, DISCARD, f"cat {lines}"), PAIRS)
    table = "into Telegraf, discarded there"
    results.add(table, "ready bytes", LINES / ready, "lines/s")
    results.add(table, "generate", LINES / ours, "lines/s", ratio, "this / ready bytes, the median of pairs")
    results.add(table, "inputs.mock, all that Telegraf makes", mocked(collector), "lines/s")
    size = lines.stat().st_size
    start = time.perf_counter()
    subprocess.run(f"cat {lines} | cat > /dev/null", shell=True, check=True)
    results.add(table, "a pipe's ceiling: cat | cat", LINES / (time.perf_counter() - start), "lines/s")
    assert size > 50 * LINES


def mocked(collector: Telegraf) -> float:
    """Metrics a second of inputs.mock, which is gathered every millisecond."""
    mocks = "".join(MOCK.format(i) for i in range(MOCKS))
    config = collector.config("mock.conf", COUNTED.format(collector.output) + mocks)
    few = 6 if CAMPAIGNS else 2
    with collector.agent(config):
        until(lambda: len(counts(collector.output)) > few, 60, "Telegraf's counts")
    (first, start), *_, (last, ended) = counts(collector.output)
    return (last - first) / (ended - start) * 1e9


def counts(path: Path) -> list[tuple[int, int]]:
    text = path.read_text() if path.exists() else ""
    return [(int(n), int(at)) for n, at in re.findall(r"metrics_gathered=(\d+)i (\d+)\n", text)]


@pytest.mark.timeout(600)
def test_through_telegraf_into_influxdb(
    collector: Telegraf, influxdb: InfluxDB, tmp_path: Path, clpm_execd: list[str], results: Results
) -> None:
    lines = tmp_path / "lines"
    command = plant(tmp_path)
    subprocess.run([*clpm_execd, *command.split()[1:], "--output", str(lines)], check=True)
    rates = []
    for way in (f"cat {lines}", command):
        bucket = influxdb.new_bucket()
        output = (f'[[outputs.influxdb_v2]]\n  urls = ["{influxdb.url}"]\n  token = "{influxdb.token}"\n'
                  f'  organization = "{influxdb.org}"\n  bucket = "{bucket}"\n')
        config = collector.config("influxdb.conf", settings(output, f"{way}; exec sleep 3600"))
        start = time.perf_counter()
        with collector.agent(config):
            until(lambda bucket=bucket: count(influxdb, bucket) == LINES, 300, "all lines in InfluxDB")
            rates.append(LINES / (time.perf_counter() - start))
    table = "through Telegraf into InfluxDB"
    results.add(table, "ready bytes", rates[0], "lines/s")
    results.add(table, "generate", rates[1], "lines/s", rates[1] / rates[0], "this / ready bytes")


def count(server: InfluxDB, bucket: str) -> int:
    rows = server.query(f'from(bucket: "{bucket}") |> range(start: 0, stop: 2100-01-01T00:00:00Z)'
                        ' |> filter(fn: (r) => r._field == "PV") |> group() |> count()')
    return int(rows[0]["_value"]) if rows else 0


