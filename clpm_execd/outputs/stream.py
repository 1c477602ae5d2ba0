"""The loop of a stream, whatever its output: what is due is simulated, encoded and handed over.

After each Block the order is the same. Its lines are handed over, then a checkpoint may be taken; the checkpoint is
written once the output says that those lines are consumed. So a stream that is resumed from a checkpoint repeats some
samples at most, with the same values, and misses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clpm_execd.clock import Clock
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.outputs.self_metrics import SelfMetrics
from clpm_execd.plant.block import Block
from clpm_execd.plant.source import Source
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.runtime.pacing import MAX_LINES_PER_WRITE, Scheduler
from clpm_execd.units import DAY

if TYPE_CHECKING:
    from clpm_execd.control.server import ControlServer
    from clpm_execd.runtime.progress import Progress
    from clpm_execd.state.checkpoint import CheckpointWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamJob:
    """What is streamed, independent of the output.

    Attributes
    ----------
    source : Source
        Where the samples come from.
    encoder : Encoder
        Makes lines of them.
    clock : Clock
        The time of the machine.
    signals : Signals
        A request to stop, or to emit what is due.
    log : logging.Logger
        Takes what an operator has to know.
    first_emit : int, optional
        The first instant to emit, ns since 1970; by default the source's next one.
    count : int, optional
        The number of instants to emit; by default the stream has no end.
    max_gap : int
        The longest gap that is backfilled, ns.
    metrics : SelfMetrics, optional
        The stream's own metrics, emitted among its samples.
    checkpoints : CheckpointWriter, optional
        Writes the state from which a later stream resumes.
    progress : Progress, optional
        Reports how far a backfill has got.
    sample_clock : Clock, optional
        Says which samples are due; by default `clock`.
    control : ControlServer, optional
        Follows requests to change the source.
    reload : callable, optional
        Is called after a request to reload the configuration; it may request the end of this stream.
    """

    source: Source
    encoder: Encoder
    clock: Clock
    signals: Signals
    log: logging.Logger
    first_emit: int | None = None
    count: int | None = None
    max_gap: int = DAY
    metrics: SelfMetrics | None = None
    checkpoints: CheckpointWriter | None = None
    progress: Progress | None = None
    sample_clock: Clock | None = None
    control: ControlServer | None = None
    reload: Callable[[], None] | None = None

    @property
    def first_instant(self) -> int:
        """The first instant to emit, ns since 1970."""
        return self.source.next_time if self.first_emit is None else self.first_emit


class Output(Protocol):
    """The destination of a stream's lines."""

    @property
    def wake_fds(self) -> Sequence[int]:
        """Descriptors of the consumer; the stream wakes when one of them becomes readable."""

    @property
    def has_ended(self) -> bool:
        """Whether the consumer requested the end; what is due by then is still emitted."""

    @property
    def bytes_submitted(self) -> int:
        """How many bytes have been handed over so far."""

    def open(self) -> None:
        """Prepare for the first line."""

    def write(self, lines: bytes, ticks: int = 0) -> None:
        """Hand over lines; ticks: of how many instants they are, 0 for lines about the stream itself."""

    def take_input(self, ready: Collection[int]) -> None:
        """Read what the consumer asks for; ready: the descriptors that are readable."""

    def backpressure(self, lines: bytes, elapsed: int, lag: int) -> int:
        """Return how long the next Block of a backfill has to wait, ns; 0 for not at all.

        lines: the last Block. elapsed: time since its simulation started, ns. lag: how far the stream is behind the
        clock, ns.
        """

    def abandons_backfill(self, lag: int) -> bool:
        """Return whether the consumer requested the end before a slow backfill is over; lag: as in `backpressure`."""

    def is_consumed(self, offset: int) -> bool:
        """Return whether the first `offset` bytes cannot be lost any more, even if this process is killed."""

    def drain(self) -> None:
        """Give the consumer time to take what has been handed over."""

    def close(self) -> None:
        """Let go of the destination, also after an error."""


def run(job: StreamJob, output: Output, *, max_lines: int = MAX_LINES_PER_WRITE) -> None:
    """Stream until a stop is requested, the output ends, or `count` instants are emitted; max_lines: of one Block."""
    if job.checkpoints:
        job.checkpoints.write_first(job.first_instant)
    if job.progress:
        job.progress.update(job.first_instant)
    scheduler = Scheduler(job.source, job.sample_clock or job.clock, job.log, first_emit=job.first_instant,
                          count=job.count, max_gap=job.max_gap, max_lines=max_lines)
    try:
        output.open()
        output.write(job.encoder.header())
        _Loop(job, output).run(scheduler)
        output.drain()
        if job.checkpoints:
            job.checkpoints.finish(output.bytes_submitted, output.is_consumed)
    finally:
        output.close()


@dataclass(frozen=True, slots=True)
class _Loop:
    """A stream that runs."""

    job: StreamJob
    output: Output

    def run(self, scheduler: Scheduler) -> None:
        job, output = self.job, self.output
        while True:
            for block in scheduler.due_blocks(self._should_stop):
                self._emit(block)
                if output.abandons_backfill(self._compute_lag()):
                    return
            if job.metrics:
                output.write(job.metrics.take_line(job.clock.now()))
            self._poll_checkpoints()
            if self._should_stop() or scheduler.is_done or output.has_ended:
                return
            self._wait(scheduler.time_to_next(), job.sample_clock or job.clock)

    def _emit(self, block: Block) -> None:
        job, output = self.job, self.output
        start = job.clock.elapsed()
        lines = job.encoder.encode(block)
        output.write(lines, len(block))
        if job.metrics:
            job.metrics.add(block, lines, job.clock.now())
        self._poll_checkpoints()
        if job.control:
            job.control.handle(job.clock.wait(0, job.control.fds))
        if job.progress:
            job.progress.update(job.source.next_time)
        while not self._should_stop() and not output.has_ended:
            wait = output.backpressure(lines, job.clock.elapsed() - start, self._compute_lag())
            if wait <= 0:
                return
            self._wait(wait, job.clock)

    def _poll_checkpoints(self) -> None:
        if self.job.checkpoints:
            self.job.checkpoints.poll(self.output.bytes_submitted, self.output.is_consumed)

    def _wait(self, ns: int, clock: Clock) -> None:
        signals = self.job.signals
        control = self.job.control
        ready = clock.wait(ns, [signals.fd, *self.output.wake_fds, *(control.fds if control else ())])
        if signals.fd in ready:
            signals.clear()
        self.output.take_input(ready)
        if control:
            control.handle(ready)

    def _compute_lag(self) -> int:
        """Return how far the stream is behind the clock, ns."""
        return self.job.clock.now() - self.job.source.next_time

    def _should_stop(self) -> bool:
        signals = self.job.signals
        if signals.should_reload and self.job.reload:
            signals.should_reload = False
            self.job.reload()
        return signals.should_stop
