"""`score`, as a user runs it: on the terminal, for other programs, as a page; from a file and from the bucket."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import parts
import pytest
from command import run_command

from clpm_execd.influx.answer import WriteOutcome
from clpm_execd.influx.client import InfluxClient

CONFIG = """
start = "2025-01-10T10:00:00Z"
[output]
truth = true
[[loop]]
id = "FIC101"
[[loop.fault]]
kind = "stiction"
S = 6.0
J = 3.0
start = "10m"
duration = "20m"
[[loop.fault]]
kind = "grade-change"
start = "45m"
duration = "10m"
[[loop]]
id = "FIC102"
"""
ALARMS = """loop,start,end,fault,detected
FIC101,2025-01-10T10:20:00Z,2025-01-10T10:40:00Z,stiction,2025-01-10T10:25:00Z
FIC101,2025-01-10T10:45:00Z,2025-01-10T10:50:00Z,sluggish,
FIC102,2025-01-10T10:15:00Z,2025-01-10T10:20:00Z,stiction,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.toml").write_text(CONFIG)
    (tmp_path / "v.csv").write_text(ALARMS)
    return tmp_path


def run_cli(folder: Path, *command: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    completed = run_command(*command, folder=folder, env=environment)
    assert completed.returncode == status, completed.stderr
    return completed


def write_truth(folder: Path, name: str) -> str:
    run_cli(folder, "generate", "--config", "x.toml", "--duration", "1h", "--output", name)
    return name


def score_json(folder: Path, *options: str, **environment: str) -> dict[str, object]:
    result: dict[str, object] = json.loads(
        run_cli(folder, "score", "v.csv", "--format", "json", *options, **environment).stdout)
    return result


def test_the_scores_are_those_calculated_by_hand(folder: Path) -> None:
    result = score_json(folder, "--truth", write_truth(folder, "day.lp.gz"))
    stiction, sluggish = result["faults"]  # type: ignore[misc]
    assert stiction == {
        "fault": "stiction", "events": 1, "found": 1, "alarms": 2, "right": 1, "wrong": 1, "unjudged": 0,
        "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3),
        "time_precision": pytest.approx(10 / 25), "time_recall": pytest.approx(600 / 1140),
        "time_f1": pytest.approx(5 / 11),
        "true_positive_s": 600.0, "false_positive_s": 900.0, "false_negative_s": 540.0,
        "median_delay_s": 840.0, "longest_delay_s": 840.0}
    assert (sluggish["precision"], sluggish["recall"], sluggish["events"]) == (0.0, None, 0)
    assert result["wrong_alarms"] == {"mistaken": 0, "on_controls": 1, "false": 1}
    assert result["false_alarms_per_loop_day"] == pytest.approx(1 / (2 * 3599 / 86400))
    assert result["confusion"] == {"stiction": {"stiction": 1}, "grade-change": {"sluggish": 1},
                                   "healthy": {"stiction": 1}}
    assert result["controls"] == [{"control": "grade-change", "stretches": 1, "alarmed": 1}]
    assert [(row["loop"], row["actual"], row["predicted"]) for row in result["false_positives"]] == [  # type: ignore[attr-defined]
        ("FIC101", "grade-change", "sluggish"), ("FIC102", "healthy", "stiction")]
    assert (result["false_negatives"], result["average_precision"]) == ([], None)
    assert result["rules"] == {"by": "kind", "overlap": 0.5, "faults": "visible"}


def test_wide_ground_truth_cannot_judge_causes_which_it_does_not_have(folder: Path) -> None:
    (folder / "x.csv").write_text(
        "time,loop_id,Mode,PV,OP,SP,fault,visible\n"
        + "".join(f"2025-01-10T10:{minute:02}:00Z,FIC101,AUT,1,2,3,affected,true\n" for minute in range(20, 40)))
    (folder / "v.csv").write_text("loop,start,end,fault,cause\n"
                                  "FIC101,2025-01-10T10:20:00Z,2025-01-10T10:38:00Z,stiction,FIC102\n")
    completed = run_cli(folder, "score", "v.csv", "--truth", "x.csv", "--affected", "judge", status=2)
    assert completed.stdout == ""
    assert "wide CSV has no causes" in completed.stderr
    assert "Traceback" not in completed.stderr
    run_cli(folder, "score", "v.csv", "--truth", "x.csv")


def test_every_format_has_the_same_scores(folder: Path) -> None:
    truth = ("--truth", write_truth(folder, "day.csv"))
    result = score_json(folder, *truth)
    rows = list(csv.DictReader(run_cli(folder, "score", "v.csv", *truth, "--format", "csv").stdout.splitlines()))
    assert [row["fault"] for row in rows] == ["stiction", "sluggish", "all"]
    assert float(rows[0]["f1"]) == result["faults"][0]["f1"]  # type: ignore[index]
    assert rows[1]["recall"] == ""
    table = run_cli(folder, "score", "v.csv", *truth).stdout
    assert "\x1b" not in table
    assert "stiction 1 1 2 1 0.500 1.000 0.667 14 min 14 min" in [" ".join(line.split()) for line in table.splitlines()]
    assert "False alarms: 1, 12 per loop-day" in table
    completed = run_cli(folder, "score", "v.csv", *truth, "--output", "s.html")
    assert (completed.stdout, completed.stderr) == ("", "")
    page = (folder / "s.html").read_text()
    assert "0.667" in page
    assert "Bilen" in page, "the page includes the rules"


@pytest.mark.slow
def test_the_example_of_the_scoring_page_is_scored(tmp_path: Path) -> None:
    section = (parts.ROOT / "clpm_execd" / "docs" / "scoring.md").read_text()
    (tmp_path / "alarms.csv").write_text(re.findall(r"```csv\n(.*?)```", section, re.DOTALL)[0])
    commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].splitlines()
    message = [run_cli(tmp_path, *shlex.split(command)[1:]).stdout for command in commands]
    events = message[1].partition("by time")[0].splitlines()
    table = {line.split()[0]: line.split() for line in events if len(line.split()) > 9}
    assert table["stiction"][1:6] == ["1", "1", "1", "1", "1.000"]
    assert table["all"][2:5] == ["2", "3", "2"]
    assert (tmp_path / "score.html").exists()


def test_a_part_of_the_time_range_can_be_scored(folder: Path) -> None:
    truth = ("--truth", write_truth(folder, "day.lp"))
    result = score_json(folder, *truth, "--start", "2025-01-10T10:25:00Z", "--end", "2025-01-10T10:35:00Z")
    assert result["loop_days"] == pytest.approx(2 * 600 / 86400)
    assert result["all"]["alarms"] == 1  # type: ignore[index]
    assert result["alarms_outside"] == 2
    tables = run_cli(folder, "score", "v.csv", *truth, "--end", "2025-01-10T10:45:00Z").stdout
    assert "1 alarm outside of the time that the ground truth covers; not counted." in tables
    message = run_cli(folder, "score", "v.csv", *truth, "--start", "2026-01-10T10:25:00Z", status=2).stderr
    assert message == "--start, --end: no ground truth lies between them; give other times\n"


def test_errors_name_their_line_and_nothing_is_scored(folder: Path) -> None:
    truth = ("--truth", write_truth(folder, "day.lp"))
    (folder / "v.csv").write_text(ALARMS.replace("FIC102", "FIC103").replace("sluggish", "slugish"))
    completed = run_cli(folder, "score", "v.csv", *truth, status=2)
    assert completed.stdout == ""
    assert completed.stderr.splitlines() == [
        "v.csv: line 3: unknown fault 'slugish'; did you mean 'sluggish'?",
        "v.csv: line 4: unknown loop 'FIC103'; did you mean 'FIC102'?"]
    assert "none: cannot be read: No such file or directory" in \
        run_cli(folder, "score", "none", *truth, status=2).stderr
    assert run_cli(folder, "score", "v.csv", *truth, "--output", "x.pdf", status=2).stderr == \
        "--output x.pdf: unknown suffix; end it in .json, .csv or .html, or give --format\n"


def test_without_a_file_the_bucket_is_queried_and_missing_settings_are_named(folder: Path) -> None:
    environment = {name: "" for name in os.environ if name.startswith("INFLUXDB_")}
    message = run_cli(folder, "score", "v.csv", status=2, **environment).stderr
    names = "INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG and INFLUXDB_BUCKET"
    assert message.startswith(f"environment: {names} are not set;")


def test_the_bucket_gives_the_same_scores_as_the_file(folder: Path, influxdb: parts.InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    write = InfluxClient(influxdb.url, influxdb.org, bucket, lambda: influxdb.token)
    assert write((folder / write_truth(folder, "day.lp")).read_bytes()).outcome is WriteOutcome.WRITTEN
    write.close()
    environment = {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org,
                   "INFLUXDB_BUCKET": bucket}
    assert score_json(folder, **environment) == score_json(folder, "--truth", "day.lp")
    part = ("--start", "2025-01-10T10:05:00Z", "--end", "2025-01-10T10:30:00Z")
    assert score_json(folder, *part, **environment)["all"]["found"] == 1  # type: ignore[index]
    for wrong, where in ({"INFLUXDB_BUCKET": "none"}, "INFLUXDB_BUCKET: "), ({"INFLUXDB_TOKEN": "secret"},
                                                                             "INFLUXDB_TOKEN: "):
        message = run_cli(folder, "score", "v.csv", status=2, **{**environment, **wrong}).stderr
        assert message.startswith(where)
        assert "secret" not in message
        assert len(message.splitlines()) == 1
    environment["INFLUXDB_BUCKET"] = influxdb.new_bucket()
    empty = run_cli(folder, "score", "v.csv", status=2, **environment).stderr
    assert empty.startswith("the ground truth: holds no ground truth; ")


def test_an_absent_server_is_reported_in_one_line(folder: Path) -> None:
    environment = {"INFLUXDB_URL": f"http://127.0.0.1:{parts.free_port()}", "INFLUXDB_TOKEN": "secret",
                   "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b"}
    message = run_cli(folder, "score", "v.csv", status=2, **environment).stderr
    assert message == \
        f"INFLUXDB_URL: {environment['INFLUXDB_URL']}: connection refused; start InfluxDB, or correct host and port\n"
