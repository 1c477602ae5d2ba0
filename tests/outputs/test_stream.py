"""The loop of a stream does the same in the same order, whatever the output."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

import pytest
from clocks import FakeClock
from sources import Ramp

from clpm_execd.encoding.csv import WideCsv
from clpm_execd.outputs.stream import StreamJob, run
from clpm_execd.plant.block import SECOND
from clpm_execd.runtime.os_signals import Signals

T0 = 1_700_000_000 * SECOND
LOG = logging.getLogger("test.stream")


class Recorder:
    """An output, and a writer of checkpoints; what the stream asks of them is an event each."""

    wake_fds: Sequence[int] = ()
    has_ended = False

    def __init__(self) -> None:
        self.events: list[str] = []
        self.bytes_submitted = 0
        self.on_write: Callable[[], object] = lambda: None
        self.pause = 0

    def open(self) -> None:
        self.events.append("open")

    def write(self, lines: bytes, ticks: int = 0) -> None:
        self.bytes_submitted += len(lines)
        self.events.append(f"write {ticks}" if ticks else "write header")
        if ticks:
            self.on_write()

    def take_input(self, ready: Collection[int]) -> None:
        pass

    def backpressure(self, lines: bytes, elapsed: int, lag: int) -> int:
        return self.pause - elapsed if lag > SECOND else 0

    def abandons_backfill(self, lag: int) -> bool:
        return self.has_ended and lag > SECOND

    def is_consumed(self, offset: int) -> bool:
        return True

    def drain(self) -> None:
        self.events.append("drain")

    def close(self) -> None:
        self.events.append("close")

    def write_first(self, first_emit: int) -> None:
        self.events.append("first checkpoint")

    def poll(self, offset: int, is_durable: Callable[[int], bool]) -> None:
        assert offset == self.bytes_submitted
        self.events.append("poll")

    def finish(self, offset: int, is_durable: Callable[[int], bool]) -> None:
        assert offset == self.bytes_submitted
        self.events.append("last checkpoint")

    def end(self) -> None:
        self.has_ended = True


def stream(recorder: Recorder, clock: FakeClock, signals: Signals | None = None, *, behind: int = 0,
           count: int | None = None) -> list[str]:
    """Stream one loop that starts so many s before the clock, a sample per Block; return the events."""
    source = Ramp(T0 - behind * SECOND)
    job = StreamJob(source=source, encoder=WideCsv(source.loops), clock=clock, signals=signals or Signals(), log=LOG,
                    count=count, checkpoints=recorder)
    run(job, recorder, max_lines=1)
    return recorder.events


SAMPLE = ["write 1", "poll"]


def test_a_checkpoint_is_taken_only_after_the_lines_before_it_are_handed_over() -> None:
    assert stream(Recorder(), FakeClock(T0), behind=1, count=3) == [
        "first checkpoint", "open", "write header",
        *SAMPLE, *SAMPLE, "poll",  # the backlog, and then the wait for the next sample
        *SAMPLE, "poll",
        "drain", "last checkpoint", "close"]


def test_a_stop_ends_the_stream_after_the_block_that_is_being_written() -> None:
    recorder, signals = Recorder(), Signals()
    recorder.on_write = signals.request_stop
    events = stream(recorder, FakeClock(T0), signals, behind=10)
    assert events[3:] == [*SAMPLE, "poll", "drain", "last checkpoint", "close"]


def test_a_consumer_that_ends_a_backfill_gets_no_further_block() -> None:
    recorder = Recorder()
    recorder.on_write = recorder.end
    assert stream(recorder, FakeClock(T0), behind=10)[3:] == [*SAMPLE, "drain", "last checkpoint", "close"]


def test_a_consumer_that_ends_gets_what_is_due() -> None:
    recorder = Recorder()
    recorder.on_write = recorder.end
    events = stream(recorder, FakeClock(T0), behind=1)
    assert events[3:] == [*SAMPLE, *SAMPLE, "poll", "drain", "last checkpoint", "close"]


def test_a_backfill_waits_as_long_as_the_output_needs() -> None:
    recorder, clock = Recorder(), FakeClock(T0)
    recorder.pause = 3 * SECOND
    stream(recorder, clock, behind=10, count=5)
    assert clock.time == 15 * SECOND


def test_after_an_error_the_output_is_closed_and_there_is_no_last_checkpoint() -> None:
    def fail() -> None:
        raise OSError("no space")

    recorder = Recorder()
    recorder.on_write = fail
    with pytest.raises(OSError, match="no space"):
        stream(recorder, FakeClock(T0))
    assert recorder.events[3:] == ["write 1", "close"]
