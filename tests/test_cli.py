"""The command as its users have it: what it prints where, how it is stopped, and what it says of a mistake."""

from __future__ import annotations

import gzip
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from select import select

import pytest
from command import environment, run_command, run_process

SECOND = 1_000_000_000
LOOPS = ["TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034"]
START = "2025-01-10T10:05:00Z"
START_NS = 1_736_503_500 * SECOND
TOKEN = "Zx9-very_secret/token+of=this&test"
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?"
LINE = re.compile(
    rf"control_loops,Mode=(?:AUT|MAN|CAS),loop_id=(?P<loop>[^, ]+)"
    rf" OP=(?P<op>{NUMBER}),PV=(?P<pv>{NUMBER}),SP=(?P<sp>{NUMBER}) (?P<time>[0-9]{{19}})"
)
ABSENT = "/nonexistent/folder/file"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "Stream"]


class Stream:
    """A stream that runs, its stdin held open or on /dev/null, its stderr in a file."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str], *, stdin: bool) -> None:
        self._stderr = folder / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(env), stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
            )  # fmt: skip
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        self._read = b""

    @property
    def log(self) -> list[str]:
        return self._stderr.read_text().splitlines()

    def samples(self, n: int, seconds: float = 20.0) -> list[re.Match[str]]:
        """The first n samples of all loops, awaited."""
        deadline = time.monotonic() + seconds
        while self._read.count(b"\n") < n * len(LOOPS):
            assert select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {n} samples in time"
            more = os.read(self._stdout.fileno(), 65_536)
            assert more, f"the stream ended: {self.log}"
            self._read += more
        return parsed(self._read.decode()[: self._read.rfind(b"\n") + 1])

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def end(self, how: signal.Signals | None = None) -> tuple[list[re.Match[str]], float]:
        """All the stream has printed once it is stopped, by EOF or a signal, and how many seconds that took."""
        began = time.monotonic()
        if how is not None:
            self.process.send_signal(how)
        elif self.process.stdin is not None:
            self.process.stdin.close()
        self._read += self._stdout.read()
        self.process.wait(20)
        return parsed(self._read.decode()), time.monotonic() - began

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command in an empty folder, until it ends by itself."""
    return partial(run_command, folder=tmp_path)


@pytest.fixture
def run_in_bash(clpm_execd: list[str], tmp_path: Path) -> Run:
    """A script in an empty folder, with the command in a process of its own as "$@"."""

    def run_in_bash(script: str) -> subprocess.CompletedProcess[str]:
        return run_process(["bash", "-c", script, "bash", *clpm_execd], folder=tmp_path)

    return run_in_bash


@pytest.fixture
def start(clpm_execd: list[str], tmp_path: Path) -> Iterator[Start]:
    """The command as a stream, which ends with the test at the latest."""
    streams: list[Stream] = []

    def start(*arguments: str | Path, env: Mapping[str, str] | None = None, stdin: bool = True) -> Stream:
        streams.append(Stream([*clpm_execd, *map(str, arguments)], tmp_path, env or {}, stdin=stdin))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def parsed(text: str) -> list[re.Match[str]]:
    """The lines of a stream, each of them whole and well-formed."""
    assert not text or text.endswith("\n")
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(matches), f"not line protocol: {text[:300]!r}"
    return [match for match in matches if match is not None]


def instants(lines: Sequence[re.Match[str]], loops: Sequence[str] = LOOPS) -> list[int]:
    """The times of the samples, having seen that every loop is there at each of them, once."""
    times = [int(line["time"]) for line in lines[:: len(loops)]]
    assert [(int(line["time"]), line["loop"]) for line in lines] == list(itertools.product(times, loops))
    return times


def generated(run: Run, *arguments: str | Path, **more: object) -> str:
    done = run("generate", "--start", START, *arguments, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rfc3339(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# The stream


def test_bare_command_streams_the_five_loops_and_nothing_else_on_stdout(start: Start) -> None:
    stream = start()
    stream.samples(2)
    lines, _ = stream.end()
    times = instants(lines)
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND}
    assert abs(times[0] - time.time_ns()) < 60 * SECOND
    assert stream.process.returncode == 0


def test_log_is_on_stderr_in_telegraf_s_form(start: Start) -> None:
    stream = start()
    stream.samples(1)
    stream.end()
    assert stream.log
    assert all(line.startswith("I! ") for line in stream.log)


def test_count_is_the_number_of_samples(run: Run) -> None:
    done = run("--count", "7", "--interval", "50ms")
    times = instants(parsed(done.stdout))
    assert done.returncode == 0
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 20}
    assert len(times) == 7


def test_count_1_prints_the_latest_instant_at_once(run: Run) -> None:
    week = 7 * 86_400 * SECOND
    before = time.time_ns() // week * week
    began = time.monotonic()
    done = run("--count", "1", "--interval", "7d")
    assert instants(parsed(done.stdout))[0] in (before, before + week)
    assert time.monotonic() - began < 5


def test_newlines_on_stdin_repeat_no_sample(start: Start) -> None:
    stream = start("--interval", "200ms")
    for _ in range(5):
        stream.write(b"\n\n\n")
        time.sleep(0.05)
    stream.samples(5)
    lines, _ = stream.end()
    times = instants(lines)
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 5}


def test_eof_ends_the_stream_with_what_is_due(start: Start) -> None:
    stream = start()
    stream.samples(1)
    time.sleep(1.0)
    closed = time.time_ns() // SECOND * SECOND
    lines, seconds = stream.end()
    assert seconds < 1.0
    assert instants(lines)[-1] >= closed
    assert stream.process.returncode == 0


def test_one_gather_before_the_end_of_stdin_gives_one_sample(run: Run, start: Start) -> None:
    stream = start("--interval", "1h")
    stream.write(b"\n")
    lines, _ = stream.end()
    assert len(instants(lines)) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("interval", ["1s", "7d"])
def test_a_stop_signal_ends_the_stream_at_once(start: Start, how: signal.Signals, interval: str) -> None:
    stream = start("--interval", interval)
    stream.samples(1)
    lines, seconds = stream.end(how)
    instants(lines)
    assert seconds < 1.0
    assert stream.process.returncode == 0
    assert stream.log[-1] == "I! stop"


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_gather_signal_neither_ends_the_stream_nor_repeats_a_sample(start: Start, how: signal.Signals) -> None:
    stream = start("--interval", "200ms")
    stream.samples(1)
    for _ in range(10):
        stream.process.send_signal(how)
        time.sleep(0.01)
    stream.samples(4)
    lines, _ = stream.end()
    times = instants(lines)
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 5}
    assert stream.process.returncode == 0


def test_a_reader_that_leaves_ends_the_stream_quietly(run_in_bash: Run) -> None:
    done = run_in_bash('set -o pipefail; "$@" --interval 20ms | head -1')
    assert len(parsed(done.stdout)) == 1
    assert done.returncode == 0
    assert all(line.startswith("I! ") for line in done.stderr.splitlines())


def test_a_reader_that_leaves_ends_generate_quietly(run_in_bash: Run) -> None:
    done = run_in_bash('set -o pipefail; "$@" generate | head -1')
    assert len(parsed(done.stdout)) == 1
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stdin_that_says_nothing_ever_is_not_watched(start: Start) -> None:
    stream = start("--interval", "100ms", stdin=False)
    stream.samples(4)
    _, seconds = stream.end(signal.SIGTERM)
    assert seconds < 1.0


def test_a_start_in_the_future_is_awaited(start: Start, tmp_path: Path) -> None:
    begin = (time.time_ns() // SECOND + 3) * SECOND
    (tmp_path / "loops.toml").write_text(f"start = {rfc3339(begin)}\n")
    stream = start("--config", "loops.toml", "--interval", "500ms")
    lines = stream.samples(2)
    now = time.time_ns()
    assert instants(lines)[0] == begin
    assert int(lines[-1]["time"]) <= now


def test_module_and_command_are_the_same(clpm_execd: list[str], tmp_path: Path) -> None:
    command = shutil.which("clpm-execd", path=Path(sys.executable).parent)
    if command is None:
        pytest.skip("the package is not installed")
    for arguments in (["--version"], ["generate", "--start", START, "--duration", "3s"], ["--interval", "x"]):
        one = run_process([*clpm_execd, *arguments], folder=tmp_path)
        other = run_process([command, *arguments], folder=tmp_path)
        assert (one.stdout, one.stderr, one.returncode) == (other.stdout, other.stderr, other.returncode)


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--intervall=1s"], ["--intervall"]),
        (["streem"], ["streem"]),
        (["--count", "three"], ["--count"]),
        (["--interval", "soon"], ["--interval"]),
        (["--interval", "0"], ["--interval"]),
        (["--log-level", "LOUD"], ["--log-level"]),
        (["--interval", "soon", "--log-level", "LOUD"], ["--interval", "--log-level"]),
        (["--config", ABSENT], [ABSENT]),
        (["--env-file", ABSENT], [ABSENT]),
        (["--replay", ABSENT], [ABSENT]),
        (["--replay", "empty"], ["empty"]),
        (["--config", "bad.toml"], ["sed", "loop[1]", "loop[2] A.process.gian"]),
        (["--config", "broken.toml"], ["broken.toml"]),
        (["--direct"], ["INFLUXDB_URL"]),
        (["generate", "--start", "yesterday", "--duration", "an hour"], ["--start", "--duration"]),
        (["generate", "--start", "2025-13-01T00:00:00Z"], ["--start"]),
        (["generate", "--duration", "0"], ["--duration"]),
        (["generate", "--format", "xml"], ["--format"]),
        (["generate", "--output", ABSENT], [ABSENT]),
        (["generate", "--output", "."], ["--output"]),
        (["generate", "--config", "bad.toml"], ["sed", "loop[1]", "loop[2] A.process.gian"]),
        (["check", "--config", "bad.toml"], ["sed", "loop[1]", "loop[2] A.process.gian"]),
        (["check", "--direct"], ["INFLUXDB_URL"]),
    ],
    ids=" ".join,
)
def test_each_mistake_is_one_line_and_the_status_is_2(
    run: Run, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "bad.toml").write_text('sed = 1\n[[loop]]\ntype = "flow"\n[[loop]]\nid = "A"\nprocess = { gian = 1 }\n')
    (tmp_path / "broken.toml").write_text("[[loop\n")
    (tmp_path / "empty").write_text("")
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == len(words), lines
    for line, word in zip(lines, words, strict=True):
        assert word in line
    if arguments[0] not in ("generate", "check", "--direct"):
        assert all(line.startswith("E! ") for line in lines)


def test_check_tells_the_problems_of_settings_and_loops_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[[loop]]\nid = "A"\ntype = "flwo"\n[[loop]]\nid = "A"\n')
    done = run("check", env={"STREAM_INTERVAL": "soon", "LOG_LEVEL": "LOUD", "CLPM_LOOPS": "loops.toml"})
    assert (done.returncode, done.stdout) == (2, "")
    words = ["STREAM_INTERVAL", "LOG_LEVEL", "did you mean 'flow'?", "loop[2] A.id"]
    for line, word in itertools.zip_longest(done.stderr.splitlines(), words):
        assert word in line


def test_check_says_that_all_is_well(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[[loop]]\nid = "FIC{:03d}"\ncount = 20\n')
    done = run("check", "--config", "loops.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 20 loops\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
@pytest.mark.parametrize("to", ["> /dev/full", "--output /dev/full"])
def test_a_full_disk_under_generate_is_one_line_and_status_2(run_in_bash: Run, to: str) -> None:
    done = run_in_bash(f'"$@" generate --duration 10s {to}')
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "No space left on device" in line


def test_a_file_that_cannot_be_written_leaves_what_was_there(run_in_bash: Run, tmp_path: Path) -> None:
    target = tmp_path / "day.lp"
    target.write_text("kept")
    # No file above a few KiB.
    done = run_in_bash("ulimit -f 8; trap '' XFSZ; exec \"$@\" generate --duration 1h --output day.lp")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["day.lp"]
    assert target.read_text() == "kept"


def test_a_stop_ends_generate_soon_and_leaves_no_half_file(start: Start, tmp_path: Path) -> None:
    stream = start("generate", "--interval", "1h", "--duration", "3650d", "--output", "years.csv.gz")
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob(".*.part")):
        assert time.monotonic() < deadline, "generate does not begin"
        time.sleep(0.05)
    _, seconds = stream.end(signal.SIGTERM)
    assert seconds < 3.0
    assert (stream.process.returncode, stream.log) == (0, [])
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]


# Settings


def test_option_precedes_environment_precedes_env_file_precedes_loops_toml(run: Run, tmp_path: Path) -> None:
    def samples(*arguments: str, **env: str) -> int:
        text = generated(run, "--duration", "60s", "--config", "loops.toml", *arguments, env=env)
        return len(instants(parsed(text)))

    (tmp_path / "loops.toml").write_text('interval = "2s"\n')
    assert samples() == 30
    (tmp_path / ".env").write_text("STREAM_INTERVAL=3s\n")
    assert samples() == 20
    assert samples(STREAM_INTERVAL="4s") == 15
    assert samples("--interval", "5s", STREAM_INTERVAL="4s") == 12


def test_loops_are_found_by_environment_and_the_option_precedes(run: Run, tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / f"{name}.toml").write_text(f'[[loop]]\nid = "{name}"\n')
    env = {"CLPM_LOOPS": "A.toml"}
    assert ",loop_id=A " in generated(run, "--duration", "1s", env=env)
    assert ",loop_id=B " in generated(run, "--duration", "1s", "--config", "B.toml", env=env)


def test_measurement_of_the_environment_precedes_that_of_the_loops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[output]\nmeasurement = "plant"\n')
    given = ("--duration", "1s", "--config", "loops.toml")
    assert generated(run, *given).startswith("plant,")
    assert generated(run, *given, env={"INFLUXDB_MEASUREMENT": "unit"}).startswith("unit,")


@pytest.mark.parametrize("by_file", [False, True])
def test_the_token_is_shown_nowhere(start: Start, tmp_path: Path, by_file: bool) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody answers there
        closed.bind(("127.0.0.1", 0))
        env = {
            "INFLUXDB_URL": f"http://127.0.0.1:{closed.getsockname()[1]}", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b",
            "LOG_LEVEL": "DEBUG", "LOG_FILE": "stream.log", "INFLUXDB_TOKEN": TOKEN,
        }  # fmt: skip
        if by_file:
            (tmp_path / "token").write_text(f"{env.pop('INFLUXDB_TOKEN')}\n")
            env["INFLUXDB_TOKEN_FILE"] = "token"
        stream = start("--direct", "--interval", "100ms", env=env)
        deadline = time.monotonic() + 20
        while not any("refused" in line for line in stream.log):
            assert time.monotonic() < deadline, f"no word of the server that is not there: {stream.log}"
            time.sleep(0.05)
        command_line = Path(f"/proc/{stream.process.pid}/cmdline")
        shown = command_line.read_text() if command_line.exists() else ""
        lines, _ = stream.end(signal.SIGTERM)
    assert stream.process.returncode == 0
    assert not lines
    shown += "\n".join(stream.log) + (tmp_path / "stream.log").read_text()
    assert "127.0.0.1" in shown
    assert TOKEN not in shown


# generate


def test_generate_gives_duration_by_interval_samples_from_the_start(run: Run) -> None:
    times = instants(parsed(generated(run, "--duration", "5m", "--interval", "15s")))
    assert times == [START_NS + k * 15 * SECOND for k in range(20)]


def test_an_hour_between_samples_is_an_hour_of_the_plant(run: Run) -> None:
    hourly = parsed(generated(run, "--duration", "3h", "--interval", "1h"))
    assert instants(hourly) == [START_NS + k * 3600 * SECOND for k in range(3)]
    assert {line.string for line in hourly} < set(generated(run, "--duration", "3h").splitlines())


def test_formats_by_suffix_hold_the_same_values(run: Run, tmp_path: Path) -> None:
    lp = generated(run, "--duration", "5s")
    names = ["a.lp", "a.csv", "a.wide.csv", "a.lp.gz", "a.csv.gz", "a.wide.csv.gz"]
    text = {}
    for name in names:
        assert generated(run, "--duration", "5s", "--output", name) == ""
        data = (tmp_path / name).read_bytes()
        text[name] = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names[:3]:
        assert text[name] == text[f"{name}.gz"]
    assert text["a.lp"] == lp
    assert text["a.csv"] == generated(run, "--duration", "5s", "--format", "csv")
    assert text["a.wide.csv"] == generated(run, "--duration", "5s", "--format", "wide")
    lines = parsed(lp)
    moments = [rfc3339(int(line["time"])) for line in lines]
    modes = [line.string.split(",")[1].removeprefix("Mode=") for line in lines]
    assert text["a.wide.csv"].splitlines() == ["time,loop_id,Mode,PV,OP,SP"] + [
        f"{moment},{line['loop']},{mode},{line['pv']},{line['op']},{line['sp']}"
        for moment, mode, line in zip(moments, modes, lines, strict=True)
    ]
    assert text["a.csv"].splitlines() == ["_time,loop_id,_field,_value,Mode,_measurement"] + [
        f"{moment},{line['loop']},{field},{line[field.lower()]},{mode},control_loops"
        for moment, mode, line in zip(moments, modes, lines, strict=True)
        for field in ("PV", "OP", "SP")
    ]


def test_format_precedes_the_suffix(run: Run, tmp_path: Path) -> None:
    generated(run, "--duration", "2s", "--format", "lp", "--output", "a.csv")
    assert len(instants(parsed((tmp_path / "a.csv").read_text()))) == 2


def test_another_process_gives_the_same_bytes(run: Run, clpm_execd: list[str], tmp_path: Path) -> None:
    given = ("--duration", "20m", "--output")
    for seed in ("1", "2"):
        done = run_process([*clpm_execd, "generate", "--start", START, *given, f"{seed}.lp.gz"], folder=tmp_path,
                           env={"PYTHONHASHSEED": seed, "TZ": f"UTC-{seed}"})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    generated(run, *given, "other.lp.gz", "--seed", "43")
    assert (tmp_path / "1.lp.gz").read_bytes() == (tmp_path / "2.lp.gz").read_bytes()
    assert (tmp_path / "1.lp.gz").read_bytes() != (tmp_path / "other.lp.gz").read_bytes()


def test_start_now_precedes_the_start_of_the_loops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text(f"start = {START}\n")
    given = ("generate", "--config", "loops.toml", "--duration", "2s")
    assert instants(parsed(run(*given).stdout))[0] == START_NS
    now = instants(parsed(run(*given, "--start", "now").stdout))[0]
    assert abs(now - time.time_ns()) < 60 * SECOND
    assert now % SECOND == 0


def test_live_stream_of_a_fixed_start_is_what_generate_gives(run: Run, tmp_path: Path) -> None:
    begin = (time.time_ns() // SECOND - 600) * SECOND
    (tmp_path / "loops.toml").write_text(f"start = {rfc3339(begin)}\n")
    live = run("--config", "loops.toml", "--count", "3", "--interval", "500ms")
    lines = parsed(live.stdout)
    assert live.returncode == 0
    assert len(instants(lines)) == 3
    assert "without output" in live.stderr
    made = run("generate", "--config", "loops.toml", "--interval", "500ms", "--duration", "12m").stdout
    assert instants(parsed(made))[0] == begin
    assert {line.string for line in lines} < set(made.splitlines())


def test_other_loops_change_no_line_of_a_loop(run: Run, tmp_path: Path) -> None:
    tables = {
        "FIC1": 'type = "flow"\noperator = { interval = 120 }',
        "TIC1": 'type = "temperature"\ndisturbance = { sigma = 1.0 }',
        "LIC1": 'type = "level"\n[[loop.move]]\nat = "1m"\nsp = 60',
        "PIC1": 'type = "pressure"\ncontroller = { tuning = "tight" }',
    }

    def lines(*names: str) -> dict[str, list[str]]:
        (tmp_path / "loops.toml").write_text("\n".join(f'[[loop]]\nid = "{name}"\n{tables[name]}' for name in names))
        found = parsed(generated(run, "--config", "loops.toml", "--duration", "10m"))
        assert Counter(line["loop"] for line in found) == dict.fromkeys(names, 600)
        return {name: [line.string for line in found if line["loop"] == name] for name in names}

    every = lines(*tables)
    for names in (["TIC1"], ["LIC1", "FIC1"], ["PIC1", "LIC1", "TIC1", "FIC1"]):
        assert lines(*names) == {name: every[name] for name in names}


# Records and the demonstration


@pytest.mark.parametrize("form", ["wide", "csv"])
def test_what_generate_wrote_is_replayed_as_if_live(run: Run, form: str) -> None:
    made = parsed(generated(run, "--duration", "5s"))
    generated(run, "--duration", "5s", "--format", form, "--output", "record.csv")
    done = run("--replay", "record.csv", "--count", "7", "--interval", "50ms")
    played = parsed(done.stdout)
    times = instants(played)
    assert done.returncode == 0
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 20}
    assert abs(times[0] - time.time_ns()) < 60 * SECOND

    # A sample of the record lasts its own second; so sped up in generate, where time costs nothing.
    replayed = parsed(generated(run, "--replay", "record.csv", "--duration", "7s"))
    assert instants(replayed) == [START_NS + k * SECOND for k in range(7)]
    values = [line.group("loop", "op", "pv", "sp") for line in made]
    assert [line.group("loop", "op", "pv", "sp") for line in replayed] == values + values[: 2 * len(LOOPS)]
    assert [line.group("loop", "op", "pv", "sp") for line in played] == values[: len(LOOPS)] * 7


def test_demo_moves_every_set_point_and_the_loops_follow(run: Run) -> None:
    text = generated(run, "--demo", "--duration", "20m", "--interval", "10s")
    lines = parsed("".join(line for line in text.splitlines(keepends=True) if "_truth," not in line))
    for loop in LOOPS:
        sp = [float(line["sp"]) for line in lines if line["loop"] == loop]
        pv = [float(line["pv"]) for line in lines if line["loop"] == loop]
        assert len(set(sp)) > 10, f"{loop}: the set point rests"
        swing = max(sp) - min(sp)
        assert 0.5 * swing < max(pv[30:]) - min(pv[30:]) < 2.0 * swing, f"{loop}: the process does not follow"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("command", ["--count 1", "generate --duration 1s", "check", "faults", "init"])
def test_a_descriptor_that_nobody_opened_is_no_fault(run_in_bash: Run, command: str, closed: str) -> None:
    done = run_in_bash(f'"$@" {command} {closed}')
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_shards_of_a_plant_are_its_lines_shared_out(run: Run) -> None:
    given = ("--duration", "30s")
    parts = [generated(run, *given, "--shard", "0/2"), generated(run, *given, env={"CLPM_SHARD": "1/2"})]
    assert all(parts)
    assert sorted("".join(parts).splitlines()) == sorted(generated(run, *given).splitlines())
    done = run("check", "--shard", "2/2")
    assert done.returncode == 2
    assert "--shard" in done.stderr
    assert "0/2 to 1/2" in done.stderr
