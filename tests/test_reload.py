"""SIGHUP reloads the loops.toml of a service that writes into InfluxDB: a wrong one changes nothing, and a right one is
taken up as by a restart, without a gap."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from command import environment, run_command
from parts import SECOND, until
from test_stop import stop_soon

from clpm_execd.cli.commands import stream
from clpm_execd.units import format_time

CONNECTION = {"INFLUXDB_URL": "http://127.0.0.1:9", "INFLUXDB_TOKEN": "token", "INFLUXDB_ORG": "o",
              "INFLUXDB_BUCKET": "b"}
FIRST = '[[loop]]\nid = "FIC1"\n[[loop]]\nid = "FIC2"\n'
CHANGED = '[[loop]]\nid = "FIC1"\n[[loop]]\nid = "FIC2"\nsp = 61.0\n[[loop]]\nid = "TIC3"\n'


def run_direct(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a stream into InfluxDB until a hangup ends it, and wait for the request that is then under way."""
    with stop_soon(signal.SIGHUP):
        result = run_command("--direct", "--config", "loops.toml", "--state", "state", folder=folder, env=CONNECTION)
    for thread in threading.enumerate():
        if thread.name == "influx-sender":
            thread.join(5)
    return result


def spooled(folder: Path) -> list[str]:
    return sorted(set(run_command("spool", "export", "--state", "state", folder=folder).stdout.splitlines()),
                  key=lambda line: int(line.split()[-1]))


@pytest.mark.process
def test_a_service_ignores_an_invalid_file_and_applies_a_valid_one_as_after_a_restart(
        tmp_path: Path, clpm_execd: list[str]) -> None:
    path, log = tmp_path / "loops.toml", tmp_path / "log"
    path.write_text(FIRST)
    with log.open("wb") as out, subprocess.Popen(
            [*clpm_execd, "--direct", "--config", "loops.toml", "--state", "state", "--log-file", "file.log"],
            cwd=tmp_path, env=environment(CONNECTION), stdin=subprocess.DEVNULL, stderr=out,
            start_new_session=True) as process:  # as a service manager starts it: without a terminal
        try:
            until(lambda: "INFO first " in log.read_text(), 30, "the first sample")
            path.write_text(FIRST + "sped = 1\n")
            process.send_signal(signal.SIGHUP)
            until(lambda: "not reloaded" in log.read_text(), 30, "the refusal")
            path.write_text(CHANGED)
            process.send_signal(signal.SIGHUP)
            until(lambda: log.read_text().count("INFO first ") == 2, 30, "the first sample of the new file")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
    errors = [line for line in log.read_text().splitlines() if "ERROR" in line or "E! " in line]
    assert len([line for line in errors if "loops.toml" in line]) == 1
    refusal = "loops.toml not reloaded, the stream goes on as it is: loops.toml: loop[2] FIC2.sped: unknown key"
    assert refusal in errors[0]
    assert "1 loop restored, 2 new, 1 removed" in log.read_text()
    lines = spooled(tmp_path)
    first, last = (int(line.split()[-1]) for line in (lines[0], lines[-1]))
    words = run_command("generate", "--config", "loops.toml", "--start", format_time(first), "--duration",
                        f"{(last - first) // SECOND + 1}s", folder=tmp_path)
    of_first = [line for line in lines if "loop_id=FIC1 " in line]
    assert of_first == [line for line in words.stdout.splitlines() if "loop_id=FIC1 " in line]
    settings = [line.partition("SP=")[2].split()[0] for line in lines if "loop_id=FIC2 " in line]
    assert (settings[0], settings[-1]) == ("50", "61")
    assert len(settings) == len(of_first)
    assert any("loop_id=TIC3 " in line for line in lines)


@pytest.mark.slow
def test_a_terminal_that_closes_ends_a_stream_that_could_be_reloaded(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "has_terminal", lambda: True)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the process was restarted"))
    (tmp_path / "loops.toml").write_text(FIRST)
    result = run_direct(tmp_path)
    assert result.returncode == 0
    assert "stop: 0 points written" in result.stderr
    assert "reload" not in result.stderr


@pytest.mark.slow
def test_a_program_that_is_gone_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def execv(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(stream, "has_terminal", lambda: False)
    monkeypatch.setattr(os, "execv", execv)
    (tmp_path / "loops.toml").write_text(FIRST)
    result = run_direct(tmp_path)
    assert result.returncode == 1
    assert "reloading loops.toml: 2 loops" in result.stderr
    assert "cannot restart: No such file or directory" in result.stderr.splitlines()[-1]
