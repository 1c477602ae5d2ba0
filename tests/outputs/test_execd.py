"""The stream as Telegraf runs it: pipes, newlines, signals, with a clock that takes no real time."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from select import select

import pytest
from clocks import FakeClock
from sources import Ramp

from clpm_execd.encoding.csv import WideCsv
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.outputs import execd
from clpm_execd.outputs.self_metrics import SelfMetrics
from clpm_execd.outputs.stream import StreamJob
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import SECOND

T0 = 1_736_503_500 * SECOND
LOG = logging.getLogger("test.execd")


class EventClock(FakeClock):
    """A clock on which things happen at their moments, and a wait ends when a descriptor is ready."""

    def __init__(self) -> None:
        super().__init__(T0 + 300_000_000)
        self.waits = 0
        self._events: list[tuple[int, Callable[[], object]]] = []

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        self._events.append((int(seconds * SECOND), action))
        self._events.sort(key=lambda event: event[0])

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        self.waits += 1
        end = self.time + max(0, ns)
        while not (ready := self._ready(read, write)) and self.time < end:
            if self._events and self._events[0][0] <= end:
                moment, action = self._events.pop(0)
                self.time = max(self.time, moment)
                action()
            else:
                self.time = end
        assert self.time < 7200 * SECOND, "the stream does not end"
        return ready

    def _ready(self, read: Sequence[int], write: Sequence[int]) -> set[int]:
        readable, writable, _ = select(read, write, (), 0)
        return {*readable, *writable}


class Stage:
    """A stream between two pipes, as Telegraf holds it."""

    def __init__(self) -> None:
        self.clock = EventClock()
        self.signals = Signals()
        self.stdin, self.to_stdin = os.pipe()
        self.output, self.stdout = os.pipe()
        self.read = b""
        self._open = {self.stdin, self.to_stdin, self.output, self.stdout}

    def run(self, source: Ramp | None = None, **settings: object) -> int:
        source = source or Ramp(T0, 5)
        arguments: dict[str, object] = {"stdin_fd": self.stdin, "stdout_fd": self.stdout, **settings}
        return self.run_encoded(source, LineProtocol(source.loops), **arguments)

    def run_encoded(self, source: Ramp, encoder: Encoder, **settings: object) -> int:
        """Run a stream; settings of StreamJob and of execd.run."""
        options = {name: settings.pop(name) for name in ("stdin_fd", "stdout_fd", "after_reload", "max_rate")
                   if name in settings}
        job = StreamJob(source=source, encoder=encoder, clock=self.clock, signals=self.signals, log=LOG, **settings)
        return execd.run(job, **options)

    def write_to_stdin(self, data: bytes) -> None:
        os.write(self.to_stdin, data)

    def close_stdin(self) -> None:
        self.close(self.to_stdin)

    def drain(self) -> None:
        while select([self.output], [], [], 0)[0] and (data := os.read(self.output, 1 << 20)):
            self.read += data

    def drain_every_tick(self, seconds: int = 100) -> None:
        for n in range(seconds * 2):
            self.clock.at(n / 2, self.drain)

    def lines(self) -> list[bytes]:
        self.drain()
        assert self.read == b"" or self.read.endswith(b"\n")
        return self.read.splitlines()

    def times(self) -> list[int]:
        """The instants, after making sure that each has its five points once."""
        times = [int(line.rsplit(b" ", 1)[1]) for line in self.lines()]
        assert len(set(self.lines())) == len(times)
        assert times[::5] == times[4::5]
        return times[::5]

    def close(self, *fds: int) -> None:
        for fd in set(fds) & self._open:
            os.close(fd)
            self._open.discard(fd)

    def close_all(self) -> None:
        self.close(*self._open)
        self.signals.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    it = Stage()
    yield it
    it.close_all()


def grid(n: int) -> list[int]:
    return [T0 + k * SECOND for k in range(n)]


def test_the_first_sample_is_written_at_once(stage: Stage) -> None:
    assert stage.run(count=1) == 0
    assert stage.times() == grid(1)


def test_without_input_it_times_itself_with_one_wait_per_tick(stage: Stage) -> None:
    stage.drain_every_tick(400)
    assert stage.run(count=300) == 0
    assert stage.times() == grid(300)
    assert stage.clock.waits < 300 + 60  # the last ones while the reader is given its moment
    assert stage.clock.time < 300 * SECOND


def test_each_tick_is_one_write(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def count_lines(fd: int, data: bytes) -> int:
        if fd == stage.stdout:
            sizes.append(bytes(data).count(b"\n"))
        return write(fd, data)

    monkeypatch.setattr(os, "write", count_lines)
    stage.run(count=4)
    assert sizes == [5, 5, 5, 5]


def test_newlines_emit_what_is_due_and_a_burst_emits_it_once(stage: Stage) -> None:
    for moment in (0.1, 0.2, 3.1, 3.15):
        stage.clock.at(moment, lambda: stage.write_to_stdin(b"\n" * 50))
    stage.clock.at(5.0, stage.close_stdin)
    assert stage.run() == 0
    assert stage.times() == grid(6)


def test_a_newline_and_the_end_at_once_is_one_tick(stage: Stage) -> None:
    stage.write_to_stdin(b"\n")
    stage.close_stdin()
    assert stage.run() == 0
    assert stage.times() == grid(1)


def test_after_a_reload_the_stream_starts_at_the_next_instant(stage: Stage) -> None:
    """The process before has emitted the latest one: Telegraf reloads within the same second."""
    stage.clock.at(2.0, stage.close_stdin)
    assert stage.run(after_reload=True) == 0
    assert stage.times() == grid(3)[1:]


def test_after_a_reload_a_newline_starts_the_stream_at_once(stage: Stage) -> None:
    stage.write_to_stdin(b"\n")
    stage.clock.at(2.0, stage.close_stdin)
    assert stage.run(after_reload=True) == 0
    assert stage.times() == grid(3)


def test_at_the_end_of_stdin_what_is_due_is_written_before_the_exit(stage: Stage) -> None:
    def stall() -> None:
        stage.clock.step(30 * SECOND)
        stage.close_stdin()

    stage.clock.at(2.0, stall)
    assert stage.run() == 0
    assert stage.times() == grid(33)


def test_the_exit_waits_until_the_consumer_has_read(stage: Stage) -> None:
    stage.close_stdin()
    stage.clock.at(1.2, stage.drain)
    assert stage.run() == 0
    assert 1.2 * SECOND < stage.clock.time < 1.4 * SECOND


def test_the_exit_waits_for_a_stalled_consumer_two_seconds_at_most(stage: Stage) -> None:
    stage.close_stdin()
    assert stage.run() == 0
    assert stage.clock.time < 2.2 * SECOND


def test_a_consumer_that_is_gone_is_a_quiet_end(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.clock.at(3.0, lambda: stage.close(stage.output))
    assert stage.run() == 0
    assert caplog.records == []
    assert stage.clock.time < 5 * SECOND


def test_a_closed_stdout_is_a_quiet_end(stage: Stage) -> None:
    stage.close(stage.stdout)
    assert stage.run() == 0


def test_a_consumer_that_stalled_gets_everything_afterwards(stage: Stage) -> None:
    loops = 500  # 40 kB a tick: the pipe is full after one
    stage.clock.at(20.0, lambda: None)
    for n in range(2000):
        stage.clock.at(21 + n / 100, stage.drain)
    assert stage.run(Ramp(T0, loops), count=30) == 0
    times = [int(line.rsplit(b" ", 1)[1]) for line in stage.lines()]
    assert times == [time for time in grid(30) for _ in range(loops)]
    assert len(set(stage.lines())) == 30 * loops


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_ends_a_stream_that_waits(stage: Stage, name: str) -> None:
    stage.drain_every_tick()
    stage.clock.at(3.5, lambda: stage.signals._on_stop(getattr(signal, name), None))
    assert stage.run() == 0
    assert stage.times() == grid(4)
    assert stage.clock.time < 4 * SECOND


def test_a_stop_ends_a_stream_whose_consumer_stalls_in_less_than_a_second(stage: Stage) -> None:
    stage.clock.at(60.0, stage.signals.request_stop)
    assert stage.run(Ramp(T0, 2000)) == 0
    assert 60 * SECOND < stage.clock.time < 61 * SECOND


def test_a_stop_lets_the_consumer_read_the_tick_in_progress_to_its_end(stage: Stage) -> None:
    stage.clock.at(10.0, stage.signals.request_stop)
    for n in range(30):
        stage.clock.at(10.05 + n / 100, stage.drain)
    assert stage.run(Ramp(T0, 2000)) == 0
    assert len(stage.lines()) % 2000 == 0


def test_a_stop_requested_before_the_stream_runs_ends_it(stage: Stage) -> None:
    stage.signals.request_stop()
    assert stage.run() == 0
    assert stage.lines() == []


def test_a_signal_to_emit_does_not_end_the_stream(stage: Stage) -> None:
    stage.drain_every_tick()
    for moment in (0.1, 0.9, 2.2):
        stage.clock.at(moment, stage.signals.request_emit)
    assert stage.run(count=5) == 0
    assert stage.times() == grid(5)


def test_a_stream_that_starts_in_the_past_emits_from_its_first_instant_to_emit(stage: Stage) -> None:
    stage.close_stdin()
    source = Ramp(T0 - 86_400 * SECOND, 5)
    assert stage.run(source, first_emit=T0 - 10 * SECOND) == 0
    assert stage.times() == [T0 + k * SECOND for k in range(-10, 1)]


@pytest.mark.parametrize(("max_rate", "seconds"), [(None, 0), (100, 10)])
def test_a_backfill_is_limited_to_a_rate(stage: Stage, max_rate: int | None, seconds: int) -> None:
    """Of 200 samples of five loops."""
    stage.drain_every_tick()
    assert stage.run(Ramp(T0 - 199 * SECOND, 5), count=200, max_rate=max_rate) == 0
    assert abs(stage.clock.time - seconds * SECOND) < SECOND
    assert stage.times() == [T0 + k * SECOND for k in range(-199, 1)]


@pytest.mark.parametrize(("max_rate", "samples"), [(None, 1001), (100, 55)])
def test_the_end_of_stdin_ends_a_limited_backfill_where_it_is(
    stage: Stage, max_rate: int | None, samples: int
) -> None:
    stage.drain_every_tick()
    stage.clock.at(2.5, stage.close_stdin)
    if max_rate is None:
        stage.close_stdin()
    assert stage.run(Ramp(T0 - 1000 * SECOND, 5), max_rate=max_rate) == 0
    assert abs(len(stage.times()) - samples) <= 5


def test_a_header_is_written_first(stage: Stage) -> None:
    source = Ramp(T0)
    encoder = WideCsv(source.loops)
    stage.run_encoded(source, encoder, stdin_fd=None, stdout_fd=stage.stdout, count=1)
    assert stage.lines()[0] == b"time,loop_id,Mode,PV,OP,SP"
    assert len(stage.lines()) == 2


def test_stdout_is_blocking_again_at_the_end(stage: Stage) -> None:
    stage.run(count=1)
    assert os.get_blocking(stage.stdout)


def test_the_stream_can_go_to_a_file(stage: Stage, tmp_path: Path) -> None:
    with open(tmp_path / "out.lp", "wb") as file:
        assert stage.run(stdout_fd=file.fileno(), count=3) == 0
    assert (tmp_path / "out.lp").read_bytes().count(b"\n") == 15


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_waited_for_and_logged_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stage.clock.at(100, stage.signals.request_stop)
        assert stage.run(stdout_fd=full.fileno()) == 0
        assert [r.levelname for r in caplog.records] == ["ERROR"]
        assert 100 * SECOND <= stage.clock.time < 101 * SECOND


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_ends_a_stream_of_limited_length(stage: Stage) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        assert stage.run(stdout_fd=full.fileno(), count=1) == 1
        assert stage.clock.time < 10 * SECOND


def test_a_pipe_a_socket_and_a_file_are_watched_and_nothing_else(tmp_path: Path) -> None:
    read, write = os.pipe()
    controller, terminal = os.openpty()
    here, there = socket.socketpair()
    with open(os.devnull) as null, open(tmp_path / "in", "w+") as file, here, there:
        fds = [read, here.fileno(), file.fileno(), null.fileno(), terminal]
        assert [execd.is_watchable(fd) for fd in fds] == [True, True, True, False, False]
    for fd in (read, write, controller, terminal):
        os.close(fd)
    assert not execd.is_watchable(write)


def test_the_stream_can_go_to_a_terminal(stage: Stage) -> None:
    controller, terminal = os.openpty()
    assert stage.run(stdout_fd=terminal, count=2) == 0
    output = b""
    while output.count(b"\n") < 10:  # a terminal hands on what it was written in parts of its own
        assert select([controller], [], [], 10)[0]
        output += os.read(controller, 65_536)
    assert output.count(b"\n") == 10
    os.close(controller)
    os.close(terminal)


def test_a_terminal_that_hung_up_is_a_quiet_end(stage: Stage) -> None:
    controller, terminal = os.openpty()
    stage.clock.at(2, lambda: os.close(controller))
    assert stage.run(stdout_fd=terminal) == 0
    os.close(terminal)


def test_the_stream_emits_its_own_metrics_once_a_minute() -> None:
    stage = Stage()
    own = SelfMetrics("clpm_execd", {}, interval=SECOND, start=stage.clock.now())
    assert stage.run(Ramp(T0), count=130, metrics=own) == 0
    stage.drain()
    lines = [line for line in stage.read.splitlines() if line.startswith(b"clpm_execd ")]
    assert [int(line.split()[-1]) % (60 * SECOND) for line in lines] == [0, 0]
    assert b"points_emitted=61i,ticks_late=0i" in lines[0]


class Checkpoints:
    """Asks after each Block whether all lines are durable."""

    def __init__(self) -> None:
        self.answers: list[bool] = []

    def write_first(self, first_emit: int) -> None:
        pass

    def poll(self, offset: int, is_durable: Callable[[int], bool]) -> None:
        self.answers.append(is_durable(offset))

    finish = poll


class FreshRamp(Ramp):
    resumed_loops: frozenset[str] = frozenset()


class ResumedRamp(Ramp):
    resumed_loops = frozenset({"TIC0000"})


def test_the_part_of_a_line_after_a_crash_is_removed_before_a_resumed_stream_continues(
        stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "out").write_bytes(b"a=1 1\nb=2 2\nc=3" + bytes(5000))
    with (tmp_path / "out").open("ab", buffering=0) as out:
        stage.run(stdout_fd=out.fileno(), source=ResumedRamp(T0), checkpoints=Checkpoints(), count=1)
    before, line, end = (tmp_path / "out").read_bytes().partition(b"b=2 2\n")
    assert (before, line, end.count(b"\n")) == (b"a=1 1\n", b"b=2 2\n", 1)
    assert "removed 5003 bytes of an incomplete last line" in caplog.text


def test_a_fresh_stream_removes_nothing_from_the_file_it_appends_to(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"# a note without an end")
    with (tmp_path / "out").open("ab", buffering=0) as out:
        stage.run(stdout_fd=out.fileno(), source=FreshRamp(T0), checkpoints=Checkpoints(), count=1)
    assert (tmp_path / "out").read_bytes().startswith(b"# a note without an end")


def test_after_a_failed_sync_no_line_of_the_file_counts_as_durable(
        stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    errors = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fail_once(fd: int) -> None:
        if errors and stat.S_ISREG(os.fstat(fd).st_mode):
            raise errors.pop()

    checkpoints = Checkpoints()
    monkeypatch.setattr(os, "fsync", fail_once)
    with (tmp_path / "out").open("wb", buffering=0) as out:
        stage.run(stdout_fd=out.fileno(), source=FreshRamp(T0), checkpoints=checkpoints, count=3)
    assert len(checkpoints.answers) >= 3
    assert not any(checkpoints.answers)
    assert caplog.text.count("cannot sync stdout: Input/output error") == 1


def test_a_disk_that_fails_for_a_moment_loses_no_line(
        stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, write = [OSError(errno.EIO, os.strerror(errno.EIO))] * 3, os.write

    def fail_at_first(fd: int, data: bytes) -> int:
        if errors and fd == out.fileno():
            raise errors.pop()
        return write(fd, data)

    monkeypatch.setattr(os, "write", fail_at_first)
    with (tmp_path / "out").open("wb", buffering=0) as out:
        assert stage.run(stdout_fd=out.fileno(), count=2) == 0
    assert not errors
    assert (tmp_path / "out").read_bytes().count(b"\n") == 10
