"""The command as its users know it: its output, its ends, its errors, its settings."""

from __future__ import annotations

import errno
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
from parts import small_disk

from clpm_execd.cli.commands import check

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
    """A running stream, with stdin held open or on /dev/null, and stderr in a file."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str], *, stdin: bool) -> None:
        self._stderr = folder / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(env), stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=stderr, bufsize=0,
            )
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        self._read = b""

    @property
    def log(self) -> list[str]:
        return self._stderr.read_text().splitlines()

    def samples(self, n: int, seconds: float = 20.0) -> list[re.Match[str]]:
        """Wait for the first n samples of all loops and return them."""
        deadline = time.monotonic() + seconds
        while self._read.count(b"\n") < n * len(LOOPS):
            assert select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {n} samples in time"
            more = os.read(self._stdout.fileno(), 65_536)
            assert more, f"the stream ended: {self.log}"
            self._read += more
        return parse_samples(self._read.decode()[: self._read.rfind(b"\n") + 1])

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def end(self, how: signal.Signals | None = None) -> tuple[list[re.Match[str]], float]:
        """Stop the stream, by EOF or a signal; return all its samples and how many seconds it took to end."""
        start_time = time.monotonic()
        if how is not None:
            self.process.send_signal(how)
        elif self.process.stdin is not None:
            self.process.stdin.close()
        self._read += self._stdout.read()
        self.process.wait(20)
        return parse_samples(self._read.decode()), time.monotonic() - start_time

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command in an empty folder until it ends by itself."""
    return partial(run_command, folder=tmp_path)


@pytest.fixture
def run_in_bash(clpm_execd: list[str], tmp_path: Path) -> Run:
    """Runs a shell script in an empty folder; the command is "$@"."""

    def run_in_bash(script: str) -> subprocess.CompletedProcess[str]:
        return run_process(["bash", "-c", script, "bash", *clpm_execd], folder=tmp_path)

    return run_in_bash


@pytest.fixture
def start(clpm_execd: list[str], tmp_path: Path) -> Iterator[Start]:
    """Starts the command as a stream, which ends with the test at the latest."""
    streams: list[Stream] = []

    def start(*arguments: str | Path, env: Mapping[str, str] | None = None, stdin: bool = True) -> Stream:
        streams.append(Stream([*clpm_execd, *map(str, arguments)], tmp_path, env or {}, stdin=stdin))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def parse_samples(text: str) -> list[re.Match[str]]:
    """Return the lines of a stream, each complete and well-formed."""
    assert not text or text.endswith("\n")
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(matches), f"not line protocol: {text[:300]!r}"
    return [match for match in matches if match is not None]


def sample_times(lines: Sequence[re.Match[str]], loops: Sequence[str] = LOOPS) -> list[int]:
    """Return the times of the samples, at each of which every loop must occur once."""
    times = [int(line["time"]) for line in lines[:: len(loops)]]
    assert [(int(line["time"]), line["loop"]) for line in lines] == list(itertools.product(times, loops))
    return times


def generate(run: Run, *arguments: str | Path, **more: object) -> str:
    result = run("generate", "--start", START, *arguments, **more)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def rfc3339(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# The stream


def test_bare_command_streams_the_five_loops_and_nothing_else_on_stdout(start: Start) -> None:
    stream = start()
    stream.samples(2)
    lines, _ = stream.end()
    times = sample_times(lines)
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
    result = run("--count", "7", "--interval", "50ms")
    times = sample_times(parse_samples(result.stdout))
    assert result.returncode == 0
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 20}
    assert len(times) == 7


def test_count_1_prints_the_latest_instant_at_once(run: Run) -> None:
    week = 7 * 86_400 * SECOND
    before = time.time_ns() // week * week
    start_time = time.monotonic()
    result = run("--count", "1", "--interval", "7d")
    assert sample_times(parse_samples(result.stdout))[0] in (before, before + week)
    assert time.monotonic() - start_time < 5


def test_newlines_on_stdin_repeat_no_sample(start: Start) -> None:
    stream = start("--interval", "200ms")
    for _ in range(5):
        stream.write(b"\n\n\n")
        time.sleep(0.05)
    stream.samples(5)
    lines, _ = stream.end()
    times = sample_times(lines)
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 5}


def test_eof_ends_the_stream_with_all_samples_that_are_due(start: Start) -> None:
    stream = start()
    stream.samples(1)
    time.sleep(1.0)
    closed = time.time_ns() // SECOND * SECOND
    lines, seconds = stream.end()
    assert seconds < 1.0
    assert sample_times(lines)[-1] >= closed
    assert stream.process.returncode == 0


def test_one_gather_before_the_end_of_stdin_gives_one_sample(run: Run, start: Start) -> None:
    stream = start("--interval", "1h")
    stream.write(b"\n")
    lines, _ = stream.end()
    assert len(sample_times(lines)) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("interval", ["1s", "7d"])
def test_a_stop_signal_ends_the_stream_at_once(start: Start, how: signal.Signals, interval: str) -> None:
    stream = start("--interval", interval)
    stream.samples(1)
    lines, seconds = stream.end(how)
    sample_times(lines)
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
    times = sample_times(lines)
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 5}
    assert stream.process.returncode == 0


def test_a_reader_that_leaves_ends_the_stream_quietly(run_in_bash: Run) -> None:
    result = run_in_bash('set -o pipefail; "$@" --interval 20ms | head -1')
    assert len(parse_samples(result.stdout)) == 1
    assert result.returncode == 0
    assert all(line.startswith("I! ") for line in result.stderr.splitlines())


def test_a_reader_that_leaves_ends_generate_quietly(run_in_bash: Run) -> None:
    result = run_in_bash('set -o pipefail; "$@" generate | head -1')
    assert len(parse_samples(result.stdout)) == 1
    assert (result.returncode, result.stderr) == (0, "")


def test_dev_null_on_stdin_is_not_watched(start: Start) -> None:
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
    assert sample_times(lines)[0] == begin
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
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == len(words), lines
    for line, word in zip(lines, words, strict=True):
        assert word in line
    if arguments[0] not in ("generate", "check", "--direct"):
        assert all(line.startswith("E! ") for line in lines)


def test_check_lists_the_errors_of_settings_and_loops_together(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[[loop]]\nid = "A"\ntype = "flwo"\n[[loop]]\nid = "A"\n')
    result = run("check", env={"STREAM_INTERVAL": "soon", "LOG_LEVEL": "LOUD", "CLPM_LOOPS": "loops.toml"})
    assert (result.returncode, result.stdout) == (2, "")
    words = ["STREAM_INTERVAL", "LOG_LEVEL", "did you mean 'flow'?", "loop[2] A.id"]
    for line, word in itertools.zip_longest(result.stderr.splitlines(), words):
        assert word in line


def test_check_confirms_a_valid_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[[loop]]\nid = "FIC{:03d}"\ncount = 20\n')
    result = run("check", "--config", "loops.toml")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok: 20 loops\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
@pytest.mark.parametrize("to", ["> /dev/full", "--output /dev/full"])
def test_a_full_disk_under_generate_is_one_line_and_status_2(run_in_bash: Run, to: str) -> None:
    result = run_in_bash(f'"$@" generate --duration 10s {to}')
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert "No space left on device" in line


def test_a_failed_write_leaves_the_file_unchanged(run_in_bash: Run, tmp_path: Path) -> None:
    target = tmp_path / "day.lp"
    target.write_text("kept")
    # No file above a few KiB.
    result = run_in_bash("ulimit -f 8; trap '' XFSZ; exec \"$@\" generate --duration 1h --output day.lp")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["day.lp"]
    assert target.read_text() == "kept"


def test_a_stop_ends_generate_soon_and_leaves_no_partial_file(start: Start, tmp_path: Path) -> None:
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
        text = generate(run, "--duration", "60s", "--config", "loops.toml", *arguments, env=env)
        return len(sample_times(parse_samples(text)))

    (tmp_path / "loops.toml").write_text('interval = "2s"\n')
    assert samples() == 30
    (tmp_path / ".env").write_text("STREAM_INTERVAL=3s\n")
    assert samples() == 20
    assert samples(STREAM_INTERVAL="4s") == 15
    assert samples("--interval", "5s", STREAM_INTERVAL="4s") == 12


def test_the_option_for_the_loops_file_precedes_the_environment(run: Run, tmp_path: Path) -> None:
    for name in ("A", "B"):
        (tmp_path / f"{name}.toml").write_text(f'[[loop]]\nid = "{name}"\n')
    env = {"CLPM_LOOPS": "A.toml"}
    assert ",loop_id=A " in generate(run, "--duration", "1s", env=env)
    assert ",loop_id=B " in generate(run, "--duration", "1s", "--config", "B.toml", env=env)


def test_measurement_of_the_environment_precedes_that_of_the_loops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text('[output]\nmeasurement = "plant"\n')
    options = ("--duration", "1s", "--config", "loops.toml")
    assert generate(run, *options).startswith("plant,")
    assert generate(run, *options, env={"INFLUXDB_MEASUREMENT": "unit"}).startswith("unit,")


@pytest.mark.parametrize("by_file", [False, True])
def test_the_token_is_shown_nowhere(start: Start, tmp_path: Path, by_file: bool) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody answers there
        closed.bind(("127.0.0.1", 0))
        env = {
            "INFLUXDB_URL": f"http://127.0.0.1:{closed.getsockname()[1]}", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b",
            "LOG_LEVEL": "DEBUG", "LOG_FILE": "stream.log", "INFLUXDB_TOKEN": TOKEN,
        }
        if by_file:
            (tmp_path / "token").write_text(f"{env.pop('INFLUXDB_TOKEN')}\n")
            env["INFLUXDB_TOKEN_FILE"] = "token"
        stream = start("--direct", "--interval", "100ms", env=env)
        deadline = time.monotonic() + 20
        while not any("refused" in line for line in stream.log):
            assert time.monotonic() < deadline, f"no word of the server that is not there: {stream.log}"
            time.sleep(0.05)
        command_line = Path(f"/proc/{stream.process.pid}/cmdline")
        output = command_line.read_text() if command_line.exists() else ""
        lines, _ = stream.end(signal.SIGTERM)
    assert stream.process.returncode == 0
    assert not lines
    output += "\n".join(stream.log) + (tmp_path / "stream.log").read_text()
    assert "127.0.0.1" in output
    assert TOKEN not in output


# generate


def test_generate_gives_duration_by_interval_samples_from_the_start(run: Run) -> None:
    times = sample_times(parse_samples(generate(run, "--duration", "5m", "--interval", "15s")))
    assert times == [START_NS + k * 15 * SECOND for k in range(20)]


def test_an_hour_between_samples_is_an_hour_of_the_plant(run: Run) -> None:
    hourly = parse_samples(generate(run, "--duration", "3h", "--interval", "1h"))
    assert sample_times(hourly) == [START_NS + k * 3600 * SECOND for k in range(3)]
    assert {line.string for line in hourly} < set(generate(run, "--duration", "3h").splitlines())


def test_formats_by_suffix_hold_the_same_values(run: Run, tmp_path: Path) -> None:
    lp = generate(run, "--duration", "5s")
    names = ["a.lp", "a.csv", "a.wide.csv", "a.lp.gz", "a.csv.gz", "a.wide.csv.gz"]
    text = {}
    for name in names:
        assert generate(run, "--duration", "5s", "--output", name) == ""
        data = (tmp_path / name).read_bytes()
        text[name] = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names[:3]:
        assert text[name] == text[f"{name}.gz"]
    assert text["a.lp"] == lp
    assert text["a.csv"] == generate(run, "--duration", "5s", "--format", "csv")
    assert text["a.wide.csv"] == generate(run, "--duration", "5s", "--format", "wide")
    lines = parse_samples(lp)
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
    generate(run, "--duration", "2s", "--format", "lp", "--output", "a.csv")
    assert len(sample_times(parse_samples((tmp_path / "a.csv").read_text()))) == 2


def test_another_process_gives_the_same_bytes(run: Run, clpm_execd: list[str], tmp_path: Path) -> None:
    options = ("--duration", "20m", "--output")
    for seed in ("1", "2"):
        result = run_process([*clpm_execd, "generate", "--start", START, *options, f"{seed}.lp.gz"], folder=tmp_path,
                             env={"PYTHONHASHSEED": seed, "TZ": f"UTC-{seed}"})
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    generate(run, *options, "other.lp.gz", "--seed", "43")
    assert (tmp_path / "1.lp.gz").read_bytes() == (tmp_path / "2.lp.gz").read_bytes()
    assert (tmp_path / "1.lp.gz").read_bytes() != (tmp_path / "other.lp.gz").read_bytes()


def test_start_now_precedes_the_start_of_the_loops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text(f"start = {START}\n")
    options = ("generate", "--config", "loops.toml", "--duration", "2s")
    assert sample_times(parse_samples(run(*options).stdout))[0] == START_NS
    now = sample_times(parse_samples(run(*options, "--start", "now").stdout))[0]
    assert abs(now - time.time_ns()) < 60 * SECOND
    assert now % SECOND == 0


def test_a_live_stream_with_a_fixed_start_equals_generate(run: Run, tmp_path: Path) -> None:
    begin = (time.time_ns() // SECOND - 600) * SECOND
    (tmp_path / "loops.toml").write_text(f"start = {rfc3339(begin)}\n")
    live = run("--config", "loops.toml", "--count", "3", "--interval", "500ms")
    lines = parse_samples(live.stdout)
    assert live.returncode == 0
    assert len(sample_times(lines)) == 3
    assert "without output" in live.stderr
    batch = run("generate", "--config", "loops.toml", "--interval", "500ms", "--duration", "12m").stdout
    assert sample_times(parse_samples(batch))[0] == begin
    assert {line.string for line in lines} < set(batch.splitlines())


def test_other_loops_change_no_line_of_a_loop(run: Run, tmp_path: Path) -> None:
    tables = {
        "FIC1": 'type = "flow"\noperator = { interval = 120 }',
        "TIC1": 'type = "temperature"\ndisturbance = { sigma = 1.0 }',
        "LIC1": 'type = "level"\n[[loop.move]]\nat = "1m"\nsp = 60',
        "PIC1": 'type = "pressure"\ncontroller = { tuning = "tight" }',
    }

    def lines(*names: str) -> dict[str, list[str]]:
        (tmp_path / "loops.toml").write_text("\n".join(f'[[loop]]\nid = "{name}"\n{tables[name]}' for name in names))
        parsed_samples = parse_samples(generate(run, "--config", "loops.toml", "--duration", "10m"))
        assert Counter(line["loop"] for line in parsed_samples) == dict.fromkeys(names, 600)
        return {name: [line.string for line in parsed_samples if line["loop"] == name] for name in names}

    every = lines(*tables)
    for names in (["TIC1"], ["LIC1", "FIC1"], ["PIC1", "LIC1", "TIC1", "FIC1"]):
        assert lines(*names) == {name: every[name] for name in names}


# Records and the demonstration


@pytest.mark.parametrize("form", ["wide", "csv"])
def test_the_output_of_generate_is_replayed_as_if_live(run: Run, form: str) -> None:
    batch = parse_samples(generate(run, "--duration", "5s"))
    generate(run, "--duration", "5s", "--format", form, "--output", "record.csv")
    result = run("--replay", "record.csv", "--count", "7", "--interval", "50ms")
    replay = parse_samples(result.stdout)
    times = sample_times(replay)
    assert result.returncode == 0
    assert {later - before for before, later in itertools.pairwise(times)} == {SECOND // 20}
    assert abs(times[0] - time.time_ns()) < 60 * SECOND

    # A sample of the record lasts its own second; so sped up in generate, where time costs nothing.
    replayed = parse_samples(generate(run, "--replay", "record.csv", "--duration", "7s"))
    assert sample_times(replayed) == [START_NS + k * SECOND for k in range(7)]
    values = [line.group("loop", "op", "pv", "sp") for line in batch]
    assert [line.group("loop", "op", "pv", "sp") for line in replayed] == values + values[: 2 * len(LOOPS)]
    assert [line.group("loop", "op", "pv", "sp") for line in replay] == values[: len(LOOPS)] * 7


def test_the_demo_trend_moves_every_set_point_and_the_processes_follow(run: Run) -> None:
    text = generate(run, "--demo", "trend", "--duration", "20m", "--interval", "10s")
    lines = parse_samples("".join(line for line in text.splitlines(keepends=True) if "_truth," not in line))
    for loop in LOOPS:
        sp = [float(line["sp"]) for line in lines if line["loop"] == loop]
        pv = [float(line["pv"]) for line in lines if line["loop"] == loop]
        assert len(set(sp)) > 10, f"{loop}: the set point rests"
        swing = max(sp) - min(sp)
        assert 0.5 * swing < max(pv[30:]) - min(pv[30:]) < 2.0 * swing, f"{loop}: the process does not follow"


@pytest.mark.process
def test_init_on_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k") as folder:
        result = run_command("init", "--plant", "refinery", "--loops", "400", "--output", "l.toml", folder=folder)
        assert os.listdir(folder) == []
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("--output l.toml: cannot be written: No space left on device; free some space")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
@pytest.mark.parametrize("command", ["--count 1", "generate --duration 1s", "check", "faults", "init", "preview"])
def test_a_closed_standard_descriptor_is_tolerated(run_in_bash: Run, command: str, closed: str) -> None:
    result = run_in_bash(f'"$@" {command} {closed}')
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


def test_the_lines_of_all_shards_are_those_of_the_plant(run: Run) -> None:
    options = ("--duration", "30s")
    parts = [generate(run, *options, "--shard", "0/2"), generate(run, *options, env={"CLPM_SHARD": "1/2"})]
    assert all(parts)
    assert sorted("".join(parts).splitlines()) == sorted(generate(run, *options).splitlines())
    result = run("check", "--shard", "2/2")
    assert result.returncode == 2
    assert "--shard" in result.stderr
    assert "0/2 to 1/2" in result.stderr


@pytest.mark.parametrize(("option", "remedy"), [("--config", "name a loops.toml"), ("--env-file", "see env.example")])
def test_a_file_that_does_not_end_is_an_error_and_fills_no_memory(option: str, remedy: str, tmp_path: Path) -> None:
    result = run_command("check", option, "/dev/zero", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("/dev/zero: cannot be read: File too large; ")
    assert result.stderr.endswith(f"{remedy}\n")


def test_a_terminal_of_no_width_gets_a_picture_all_the_same(tmp_path: Path) -> None:
    result = run_command("preview", "--duration", "1m", folder=tmp_path, env={"COLUMNS": "0"})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("TIC208030 ")


def test_a_limit_of_open_files_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(check, "load_configuration", fail)
    result = run_command("check", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "this process: Too many open files; raise the limit of open files, see `ulimit -n`\n"
