"""A stream that is changed while it runs, killed and resumed is the one of `generate` with its journal.

On stdout, with --direct, and under the real Telegraf.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import environment, run_command
from parts import SECOND, InfluxDB, Telegraf, children, until

LOOPS = """
[output]
truth = true
[[loop]]
id = "TIC1"
type = "temperature"
[[loop]]
id = "FIC2"
cascade = "TIC1"
[[loop]]
id = "FIC3"
fault = [{ kind = "bias", start = "1s" }]
"""


class Changes:
    """Requests to a stream with its state in `folder`, made one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "state" / "control"
        self.journal = folder / "state" / "journal"

    def ask(self, *words: str) -> str:
        until(self.socket.exists, 30, "a stream")
        result = run_command(*words, "--state", str(self.folder / "state"), folder=self.folder)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refuse(self, *words: str) -> str:
        result = run_command(*words, "--state", str(self.folder / "state"), folder=self.folder)
        assert (result.returncode, result.stdout) == (2, "")
        [line] = result.stderr.splitlines()
        return line

    def make(self, kill: Callable[[], object]) -> None:
        """Change all loops, and kill the stream right after an answer, before the change has acted."""
        assert self.ask("inject", "FIC2", "stiction", "S=6", "--for", "3s").startswith("FIC2: stiction S=6 for 3s from")
        assert self.refuse("inject", "FIC22", "stiction") == "inject: unknown loop 'FIC22'; did you mean 'FIC2'?"
        self.ask("set", "FIC2", "mode=AUT", "sp=61", "gain=1.2")
        time.sleep(1.2)
        self.ask("clear", "FIC3")
        kill()
        self.ask("set", "FIC3", "mode=MAN", "OP=30")
        self.ask("inject", "TIC1", "spikes", "--ramp", "2s")
        assert "TIC1 spikes since" in self.ask("status")
        kill()
        until(lambda: "OP=30" in self.ask("status", "FIC3"), 10, "the change that was asked before the kill")
        time.sleep(2.5)


@pytest.fixture
def changes(tmp_path: Path) -> Changes:
    (tmp_path / "loops.toml").write_text(LOOPS)
    return Changes(tmp_path)


def generated(changes: Changes, program: Sequence[str]) -> list[str]:
    """What a stream with this journal writes, to a minute after its last request."""
    result = subprocess.run(
        [*program, "generate", "--config", "loops.toml", "--journal", str(changes.journal), "--duration", "2m"],
        cwd=changes.folder, capture_output=True, text=True, env=environment(), check=True, timeout=60)
    return result.stdout.splitlines()


def assert_uninterrupted(lines: Sequence[str], expected: Sequence[str]) -> None:
    """Whether these are the expected lines from the first on; some may have come twice."""
    distinct = list(dict.fromkeys(lines))
    assert len(distinct) >= 12, "three loops at four instants"
    assert distinct == expected[:len(distinct)]
    truth = [line for line in distinct if line.startswith("control_loops_truth")]
    stamps = {word: [int(line.split()[-1]) for line in truth if "fault=stiction" in line and f"present={word}" in line]
              for word in ("true", "false")}
    assert min(stamps["false"]) - min(stamps["true"]) == 3 * SECOND


@contextmanager
def restarted(command: Sequence[str], folder: Path, **options: object) -> Iterator[Callable[[], None]]:
    """Run a command until the end; what is yielded kills it with SIGKILL and starts it again."""
    log = (folder / "log").open("ab")
    out = (folder / "out.lp").open("ab")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                env=environment(options))  # type: ignore[arg-type]

    process = start()

    def restart() -> None:
        nonlocal process
        process.kill()
        process.wait()
        (folder / "state" / "control").unlink()
        process = start()

    try:
        yield restart
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        out.close()
        log.close()


def test_a_changed_and_killed_stream_on_stdout_equals_generate_with_its_journal(
        changes: Changes, clpm_execd: list[str]) -> None:
    with restarted([*clpm_execd, "--config", "loops.toml", "--state", "state"], changes.folder) as kill:
        changes.make(kill)
    lines = (changes.folder / "out.lp").read_text().splitlines()
    assert_uninterrupted(lines, generated(changes, clpm_execd))


def test_a_changed_and_killed_stream_into_influxdb_equals_generate_with_its_journal(
        changes: Changes, clpm_execd: list[str], influxdb: InfluxDB) -> None:
    bucket = influxdb.new_bucket()
    settings = {"INFLUXDB_URL": influxdb.url, "INFLUXDB_TOKEN": influxdb.token, "INFLUXDB_ORG": influxdb.org,
                "INFLUXDB_BUCKET": bucket}
    command = [*clpm_execd, "--direct", "--config", "loops.toml", "--state", "state"]
    with restarted(command, changes.folder, **settings) as kill:
        changes.make(kill)
    assert (changes.folder / "out.lp").read_text() == ""
    expected = {line for line in generated(changes, clpm_execd) if line.startswith("control_loops,")}
    influxdb_lines = [
        f"control_loops,Mode={point.mode},loop_id={point.loop} " + ",".join(
            f"{name}={value:.10g}" for name, value in sorted(point.fields.items())) + f" {point.time}"
        for point in influxdb.points(bucket)]
    assert len(influxdb_lines) >= 12
    last = max(int(line.split()[-1]) for line in influxdb_lines)
    assert sorted(influxdb_lines) == sorted(line for line in expected if int(line.split()[-1]) <= last)


def test_a_changed_and_killed_plugin_of_telegraf_equals_generate_with_its_journal(
        changes: Changes, collector: Telegraf, clpm_execd: list[str]) -> None:
    shipped = collector.config("plugin.conf", (
        '[[inputs.execd]]\n  command = ["clpm-execd", "--config", "'
        f'{changes.folder / "loops.toml"}"]\n  signal = "STDIN"\n  restart_delay = "1s"\n  data_format = "influx"\n'))
    with collector.agent(collector.file_output(), shipped, CLPM_STATE=str(changes.folder / "state")) as agent:
        def kill() -> None:
            os.kill(children(agent.pid)[0], signal.SIGKILL)
            changes.socket.unlink()

        changes.make(kill)
        agent.send_signal(signal.SIGTERM)
        until(lambda: agent.poll() is not None, 20, "Telegraf's end")
    metric_lines = (changes.folder / "metrics.lp").read_text().splitlines()
    expected = generated(changes, clpm_execd)
    last = max(int(line.split()[-1]) for line in metric_lines)

    def fields_sorted(line: str) -> str:  # Telegraf has no order of fields, and writes 0 as 0
        series, fields, stamp = line.split(" ")
        return " ".join([series, ",".join(sorted(fields.split(","))), stamp])

    distinct = {fields_sorted(line) for line in metric_lines}
    assert len(distinct) >= 12, "three loops at four instants"
    assert distinct == {fields_sorted(line) for line in expected if int(line.split()[-1]) <= last}
