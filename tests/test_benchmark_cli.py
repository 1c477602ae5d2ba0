"""`benchmark`, as a user runs it: from the list of suites to a score next to those of published monitors."""

from __future__ import annotations

import json
from pathlib import Path

import parts
import pytest
from command import run_command

from clpm_execd.benchmark.suite import load_suite

SUITE = "datapath-1-small"


def call(folder: Path, *words: str, status: int = 0) -> tuple[str, str]:
    result = run_command("benchmark", *words, folder=folder)
    assert result.returncode == status, result.stderr
    return result.stdout, result.stderr


def test_the_list_has_every_suite_and_every_monitor(tmp_path: Path) -> None:
    lines = [line.split() for line in call(tmp_path)[0].splitlines() if line]
    assert ["refinery-1", load_suite("refinery-1").sha256["samples"][:12]] in [line[:2] for line in lines]
    assert {"he", "combination"} <= {line[0] for line in lines}


@pytest.mark.slow
def test_data_run_and_score_give_a_row_next_to_the_published_ones(tmp_path: Path) -> None:
    out, err = call(tmp_path, "data", SUITE, "--output", "data")
    sha256 = json.loads((tmp_path / "data" / "manifest.json").read_text())["samples_sha256"]
    assert (out, err) == ("", f"{SUITE}, as frozen: samples sha256 {sha256}\n")
    call(tmp_path, "run", "rules", SUITE, "--output", "alarms.csv")
    simulated = call(tmp_path, "score", SUITE, "alarms.csv")[0]
    assert call(tmp_path, "score", SUITE, "alarms.csv", "--data", "data")[0] == simulated
    cells = {line.split("  ")[0]: line.split("  ", 1)[1].split() for line in simulated.splitlines() if "  " in line}
    assert cells["your monitor"] == cells["rules"]
    assert "confusion matrix" in simulated
    row = json.loads(call(tmp_path, "score", SUITE, "alarms.csv", "--data", "data", "--output", "row.json")[0]
                     or (tmp_path / "row.json").read_text())
    assert row["f1"]["low"] <= row["f1"]["value"] <= row["f1"]["high"]


@pytest.mark.slow
def test_a_stream_of_a_suite_has_its_own_times_and_ends_with_it(tmp_path: Path) -> None:
    samples = [line for line in call(tmp_path, "stream", SUITE)[0].splitlines() if line.startswith("control_loops,")]
    times = [int(line.rpartition(" ")[2]) for line in samples if "loop_id=FIC1400" in line]
    assert times == [(1_736_467_200 + 5 * i) * 10**9 for i in range(4 * 720)]


@pytest.fixture
def scored(tmp_path: Path) -> dict[str, object]:
    """The score of a reference monitor's alarms, alarms.csv, against the ground truth of the data folder."""
    call(tmp_path, "data", SUITE, "--output", "data")
    call(tmp_path, "run", "rules", SUITE, "--output", "alarms.csv")
    return score(tmp_path, "--truth", "data/truth.csv")


def score(folder: Path, *words: str, **environment: str) -> dict[str, object]:
    process = run_command("score", "alarms.csv", "--format", "json", *words, folder=folder, env=environment)
    assert process.returncode == 0, process.stderr
    judgement: dict[str, object] = json.loads(process.stdout)
    return judgement


@pytest.mark.campaign
def test_a_suite_in_influxdb_scores_as_its_files_do(
        tmp_path: Path, influxdb: parts.InfluxDB, scored: dict[str, object]) -> None:
    settings = {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org,
                "INFLUXDB_BUCKET": influxdb.new_bucket()}
    result = run_command("benchmark", "stream", SUITE, "--direct", folder=tmp_path, env=settings)
    assert result.returncode == 0, result.stderr
    assert score(tmp_path, **settings) == scored


@pytest.mark.campaign
def test_a_suite_through_telegraf_scores_as_its_files_do(
        collector: parts.Telegraf, scored: dict[str, object]) -> None:
    plugin = collector.config("suite.conf", '[[inputs.execd]]\n  data_format = "influx"\n  signal = "none"\n'
                              f'  command = ["clpm-execd", "benchmark", "stream", "{SUITE}"]\n')
    with collector.agent(collector.file_output(), plugin):
        parts.until(lambda: "execd" in "".join(collector.logged()) and is_complete(collector.output), 120, "the suite")
    assert score(collector.folder, "--truth", str(collector.output)) == scored


def is_complete(output: Path) -> bool:
    """Whether the last sample of the suite has arrived."""
    return output.exists() and f" {(1_736_467_200 + 5 * (4 * 720 - 1)) * 10**9}" in output.read_text()


@pytest.mark.parametrize(("line", "message"), [
    ("data", "benchmark data: takes 1 name, not 0; write clpm-execd benchmark data SUITE"),
    ("list x", "benchmark list: takes 0 names, not 1; write clpm-execd benchmark list"),
    ("data refinery-2 --output d", "suite 'refinery-2': there is no such suite; did you mean 'refinery-1'?"),
    ("run hee pairs-1", "monitor 'hee': there is no such monitor; did you mean 'he'?"),
    ("data pairs-1-small", "--output: is not set; name a folder for samples, loop sheet and ground truth"),
    ("list --layout long", "--layout: has no effect on benchmark list; remove it"),
    ("run he pairs-1 --direct", "--direct: has no effect on benchmark run; remove it"),
    (f"score {SUITE} none.csv", "none.csv: cannot be read: No such file or directory; name a CSV of alarms"),
])
def test_a_mistake_is_one_line(line: str, message: str, tmp_path: Path) -> None:
    assert call(tmp_path, *line.split(), status=2) == ("", message + "\n")
