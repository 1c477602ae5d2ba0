"""`learn`, as a user runs it: from records to loops that pass `check` and stream, and a report of the fit."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tomli
from command import run_command
from plant_records import plant_records
from tiers import CAMPAIGNS

from clpm_execd import cli, extras
from clpm_execd.evaluation import fitting
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.records import read_record, samples
from clpm_execd.records.record import Record
from clpm_execd.runtime.os_signals import Signals

RECORDS = plant_records()
# All are read by tests/history, and would take minutes here.
SOME_RECORDS = RECORDS if CAMPAIGNS else RECORDS[2::max(1, len(RECORDS) // 3)]

START = ("--start", "2025-01-10T10:05:00Z")  # what a plant does by chance, it does again
PLANT = f"""
start = "{START[1]}"
interval = "2s"
[[loop]]
id = "FIC101"
range = [0.0, 120.0]
sp = 75.0
[[loop.move]]
at = "10m"
sp = 80.0
[[loop.move]]
at = "25m"
sp = 74.0
[[loop]]
id = "LIC{{}}"
type = "level"
count = 2
"""


@pytest.fixture
def signals() -> Iterator[Signals]:
    signals = Signals()
    yield signals
    signals.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty minutes of three loops, in long form, written by `generate`."""
    folder = tmp_path_factory.mktemp("record")
    (folder / "plant.toml").write_text(PLANT)
    run(folder, "generate", "--config", "plant.toml", *START, "--duration", "40m", "--output", "history.csv.gz")
    return folder / "history.csv.gz"


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three loops of 100 samples: too short to be compared, which takes the most time."""
    rng = np.random.default_rng(5)
    rows = [f"{k},{loop},{pv:.3f},{50 - pv / 9:.3f},5,AUT\n" for loop in ("FIC101", "LIC1", "LIC2")
            for k, pv in enumerate(5 + np.cumsum(rng.standard_normal(100)) / 9)]
    path = tmp_path_factory.mktemp("short") / "short.csv"
    path.write_text("time,loop_id,PV,OP,SP,Mode\n" + "".join(rows))
    return path


def run(folder: Path, *words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = run_command(*words, folder=folder)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.mark.slow
def test_fitted_loops_pass_check_and_stream(tmp_path: Path, record: Path) -> None:
    result = run(tmp_path, "learn", record, "--output", "loops.toml", "--report", "report.html", "--range",
                 "FIC101=0:120", "--range", "LIC1=0:100")
    assert sorted(os.listdir(tmp_path)) == ["loops.npz", "loops.toml", "report.html"]
    for loop in ("FIC101", "LIC1", "LIC2"):
        assert re.search(rf"^{loop} +(good|usable with care|do not use) +1200 ", result.stdout, re.MULTILINE)
    assert "LIC2: the transmitter range is not in the record" in result.stderr
    assert "wrote loops.toml and loops.npz; stream with clpm-execd --config loops.toml" in result.stderr
    configuration = tomli.loads((tmp_path / "loops.toml").read_text())
    assert configuration["interval"] == "2s"
    assert [loop["range"] for loop in configuration["loop"]][:2] == [[0.0, 120.0], [0.0, 100.0]]
    assert [loop["type"] for loop in configuration["loop"]] == ["flow", "level", "level"]
    assert run(tmp_path, "check", "--config", "loops.toml").stdout == "ok: 3 loops\n"
    lines = run(tmp_path, "generate", "--config", "loops.toml", *START, "--duration", "10m").stdout.splitlines()
    assert len(lines) == 3 * 300
    pv = [float(line.split("PV=")[1].split(",")[0]) for line in lines if "loop_id=FIC101" in line]
    assert 70 < np.mean(pv) < 85
    page = (tmp_path / "report.html").read_text()
    assert all(f'<section id="{anchor}"' in page for anchor in ("overview", "fic101", "lic1", "lic2"))


@pytest.mark.slow
def test_the_same_records_give_the_same_files(tmp_path: Path, short: Path, signals: Signals) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / name / "l.toml")]) == 0
    for name in ("l.toml", "l.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("form", ["csv", "wide"])
def test_what_generate_writes_is_read_back(tmp_path: Path, form: str) -> None:
    (tmp_path / "plant.toml").write_text(PLANT)
    for kind, name in (("lp", "points"), (form, f"{form}.csv")):
        run(tmp_path, "generate", "--config", "plant.toml", "--duration", "10m", "--format", kind, "--output", name)
    record = read_record(tmp_path / f"{form}.csv")
    assert record.assumptions == ()
    assert record.loops == ("FIC101", "LIC1", "LIC2")
    lines = (tmp_path / "points").read_text().splitlines()
    for column, loop in enumerate(record.loops):
        own = [line for line in lines if f"loop_id={loop} " in line]
        for name, values in (("PV", record.pv), ("OP", record.op), ("SP", record.sp)):
            assert [float(re.search(rf"{name}=([^, ]+)", line)[1]) for line in own] == values[:, column].tolist()
        assert [int(line.rsplit(" ", 1)[1]) for line in own] == record.times.tolist()


def test_nothing_is_written_if_one_record_cannot_be_read(tmp_path: Path, short: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "loops.toml").write_text("mine")
    result = run(tmp_path, "learn", short, "bad.csv", "none.csv", "--output", "loops.toml", status=2)
    assert result.stdout == ""
    message = result.stderr.splitlines()
    assert len(message) == 2
    assert message[0].startswith("bad.csv: no time column; ")
    assert message[1] == "none.csv: there is no such file; check the path"
    assert (tmp_path / "loops.toml").read_text() == "mine"
    assert not (tmp_path / "loops.npz").exists()


@pytest.mark.parametrize(("words", "message"), [
    (["--output", "loops.csv"], "--output: loops.csv does not end in .toml"),
    (["--output", "no/loops.toml"], "--output: there is no folder no"),
    (["--output", "l.toml", "--report", "r.pdf"], "--report: r.pdf does not end in .html"),
    (["--output", "l.toml", "--range", "FIC101=9"], "--range: invalid range 'FIC101=9'"),
    (["--output", "l.toml", "--range", "5:1"], "--range: invalid range '5:1'"),
    (["--output", "l.toml", "--range", "FIC1=0:1"], "--range: unknown loop 'FIC1'; did you mean 'FIC101'?"),
    (["--output", "l.toml", "--type", "FIC101=flaw"], "--type: unknown type 'flaw'; did you mean 'flow'?"),
    (["--output", "l.toml", "--timezone", "Europe/Berlim"], "did you mean 'Europe/Berlin'?"),
    (["--output", "l.toml", "--columns", "pw=A"], "unknown column role 'pw'"),
])
def test_a_mistake_is_one_line(tmp_path: Path, short: Path, signals: Signals, words: list[str], message: str,
                               monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(signals, ["learn", str(short), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("words", "message"), [
    (["--op-range", "FIC101=20:4"], "--op-range: invalid range 'FIC101=20:4'"),
    (["--op-range", "FIC1=4:20"], "--op-range: unknown loop 'FIC1'; did you mean 'FIC101'?"),
    (["--name", "FIC102=A"], "--name: unknown loop 'FIC102'"),
    (["--name", "A"], "--name: a record has several loops; write --name LOOP=ID for each"),
    (["--name", "FIC101="], "--name: no id in 'FIC101='"),
])
def test_a_mistake_about_a_loop_is_one_line(tmp_path: Path, short: Path, signals: Signals, words: list[str],
                                            message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / "l.toml"), *words]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
    assert os.listdir(tmp_path) == []


def test_a_record_without_op_is_refused(tmp_path: Path, signals: Signals, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "x.csv"
    record.write_text("time,TIC1.PV\n" + "".join(f"{k},{k % 9}\n" for k in range(400)))
    assert cli.run(signals, ["learn", str(record), "--output", str(tmp_path / "l.toml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (f"{record}: no OP for TIC1; name its column with --columns op=NAME or op=#3: without it no "
                   "controller can be identified\n")
    assert os.listdir(tmp_path) == ["x.csv"]


def test_loops_without_op_are_skipped(tmp_path: Path, signals: Signals,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("time,A.PV,A.OP,B.PV\n" + "".join(f"{k},{k % 9},{k % 5},1\n" for k in range(40)))
    assert cli.run(signals, ["learn", str(tmp_path / "x.csv"), "--output", str(tmp_path / "l.toml")]) == 0
    assert "left out, because they have no OP: B" in capsys.readouterr().err
    assert [loop["id"] for loop in tomli.loads((tmp_path / "l.toml").read_text())["loop"]] == ["A"]


def test_records_of_one_tag_are_one_loop(tmp_path: Path, signals: Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """Their ids are the names of the files without the dates; a name that is given counts for all of them."""
    rng = np.random.default_rng(3)
    names = ("FIC-211_20250110.csv", "FIC-211_2025-01-11 (2).csv")
    for day, name in enumerate(names):
        rows = "".join(f"{1736467200 + 86400 * day + k},{5 + v:.3f},{50 - v:.3f},5\n"
                       for k, v in enumerate(np.cumsum(rng.standard_normal(50)) / 9))
        (tmp_path / name).write_text("time,PV,OP,SP\n" + rows)
    paths = [str(tmp_path / name) for name in names]
    for words, loop in ((paths, "FIC-211"), (paths[::-1], "FIC-211"), ([*paths, "--name", "A"], "A"),
                        ([*paths, "--name", "FIC-211=B", "--op-range", "B=0:200"], "B")):
        assert cli.run(signals, ["learn", *words, "--output", str(tmp_path / "l.toml")]) == 0
        out, err = capsys.readouterr()
        assert f"{loop}: 2 records are fitted as one loop" in err
        assert re.search(rf"^{loop} .* 10[01] ", out, re.MULTILINE)
        loops = tomli.loads((tmp_path / "l.toml").read_text())["loop"]
        assert [one["id"] for one in loops] == [loop]
        assert loops[0]["recording"].get("op_range") == ([0.0, 200.0] if loop == "B" else None)


def test_with_strict_a_loop_that_is_not_to_be_used_is_status_1(tmp_path: Path, signals: Signals,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("time,PV,OP,SP\n" + "".join(f"{k},120,{k % 7},130\n" for k in range(400)))
    words = ["learn", str(tmp_path / "x.csv"), "--output", str(tmp_path / "l.toml")]
    reason = "do not use: PV never moves in the record"
    for more, status in ((["--strict"], 1), ([], 0)):
        assert cli.run(signals, [*words, *more]) == status
        out, err = capsys.readouterr()
        assert f"x: {reason}" in out
        assert "Warning" not in err
        assert f"# Verdict: {reason}" in (tmp_path / "l.toml").read_text()


def test_a_loop_that_cannot_be_fitted_is_one_line_and_the_others_are_written(
        tmp_path: Path, short: Path, signals: Signals, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_for_one(record: Record, *rest: object, **options: object) -> LearnedLoop:
        if record.loops[0] == "LIC1":
            raise ZeroDivisionError("a fault of the program")
        return learn(record, span=(0.0, 100.0))

    monkeypatch.setattr(fitting, "learn", fail_for_one)
    assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / "l.toml")]) == 1
    assert capsys.readouterr().err.endswith(
        f"{short}: LIC1: could not be fitted (ZeroDivisionError: a fault of the program); leave it out, and report "
        "this with its record\n")
    assert [loop["id"] for loop in tomli.loads((tmp_path / "l.toml").read_text())["loop"]] == ["FIC101", "LIC2"]


def test_rows_without_times_are_an_interval_apart(tmp_path: Path, signals: Signals) -> None:
    (tmp_path / "x.csv").write_text("PV,OP,SP\n" + "".join(f"{k % 9},{k % 7},4\n" for k in range(60)))
    words = ["learn", str(tmp_path / "x.csv"), "--output", str(tmp_path / "l.toml")]
    assert cli.run(signals, [*words, "--interval", "30s"]) == 0
    assert tomli.loads((tmp_path / "l.toml").read_text())["interval"] == "30s"
    assert cli.run(signals, [*words, "--interval", "0s"]) == 2


def test_without_its_extra_the_error_shows_how_to_install_it(tmp_path: Path, short: Path, signals: Signals,
                                                             monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    present = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "sklearn" else present(name))
    assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / "l.toml")]) == 2
    assert "pip install 'clpm-execd[learn]'" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_library_that_does_not_fit_another_is_one_line(tmp_path: Path, short: Path, signals: Signals,
                                                         monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    def import_library(*_: object, **__: object) -> None:
        raise ImportError("numpy.core.multiarray failed to import\nand twenty lines more", name="sklearn.tree")

    monkeypatch.setattr(samples, "detect_layouts", import_library)
    assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / "l.toml")]) == 2
    assert capsys.readouterr() == ("", "library sklearn.tree: numpy.core.multiarray failed to import; install versions "
                                       "that fit each other: pip install --upgrade 'clpm-execd[all]'\n")
    assert os.listdir(tmp_path) == []


def test_a_stop_writes_nothing(tmp_path: Path, short: Path, signals: Signals) -> None:
    signals.request_stop()
    assert cli.run(signals, ["learn", str(short), "--output", str(tmp_path / "l.toml")]) == 0
    assert os.listdir(tmp_path) == []


def test_a_loop_with_few_samples_is_fitted_with_a_warning(tmp_path: Path, signals: Signals,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("time,PV,OP\n0,1,2\n1,1,2\n2,1,2\n")
    assert cli.run(signals, ["learn", str(tmp_path / "x.csv"), "--output", str(tmp_path / "x.toml"),
                             "--report", str(tmp_path / "x.html")]) == 0
    out, err = capsys.readouterr()
    assert "only 3 samples" in err
    assert re.search(r"^x +do not use +3 ", out, re.MULTILINE)
    assert cli.run(signals, ["check", "--config", str(tmp_path / "x.toml")]) == 0


@pytest.mark.process
def test_a_terminal_has_a_bar_over_the_loops_and_a_pipe_has_none(tmp_path: Path, short: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "clpm_execd", "learn", str(short), "--output", "l.toml"],
                               cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                               env={**os.environ, "TERM": "xterm", "COLUMNS": "100"})
    os.close(theirs)
    output = b""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            output += os.read(ours, 65_536)
        except OSError:
            break
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"/3" in output
    assert b"fitting LIC2" in output
    assert b"\x1b" not in out


@pytest.mark.slow
def test_records_of_plants_are_fitted(tmp_path: Path) -> None:
    result = run(tmp_path, "learn", *SOME_RECORDS, "--output", "loops.toml")
    assert "timestamps have no time zone: UTC assumed" in result.stderr
    tags = {str(path).split("_")[-4] for path in SOME_RECORDS}  # the records of a tag are one loop
    assert run(tmp_path, "check", "--config", "loops.toml").stdout == f"ok: {len(tags)} loops\n"
    lines = run(tmp_path, "--config", "loops.toml", "--count", "1").stdout.splitlines()
    assert len(lines) == len(tags)
