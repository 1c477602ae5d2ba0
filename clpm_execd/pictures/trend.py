"""What is drawn of a loop: its lines, thinned to what a picture can show, its modes, and the truth about it.

A line of more samples than a picture has room for is thinned to the first, least, greatest and last of each run of
samples (M4: Jugel, Jerzak, Hackenbroich and Markl, VLDB 2014), and where a value is missing and the line breaks: no
spike and no gap is lost, and where a run is no wider than a pixel the drawn line is the line of all samples. What
leaves the plant is drawn: of a loop whose data path is at fault the samples that arrive, at the times they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MODES, Block, Floats
from clpm_execd.plant.faults.episodes import Episode, EpisodeCollector, TimeInterval

if TYPE_CHECKING:
    from clpm_execd.plant.block import Arrivals

Times = npt.NDArray[np.int64]

SIGNALS = ("pv", "sp", "op")
KEPT = 4  # of each run: first, least, greatest, last

@dataclass(frozen=True, slots=True)
class Line:
    """n points; times: (n,) ns since 1970. values: (n,), NaN where the line breaks. sparse: few enough to be marked."""

    times: Times
    values: Floats
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class ModeRun:
    """A stretch of time in one mode; ns since 1970, half open."""

    mode: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A loop over [start, end), ns since 1970; pv and sp in engineering units, op in per cent."""

    loop: str
    start: int
    end: int
    pv: Line
    sp: Line
    op: Line
    modes: tuple[ModeRun, ...]
    episodes: tuple[Episode, ...]

    @property
    def sp_moves(self) -> bool:
        """Whether SP moves all the time, as in CAS; then PV is drawn over it, else it over PV."""
        return len(self.sp.times) > len(self.pv.times) // 4


def trends(blocks: Iterable[Block], loops: Sequence[str], interval: int, run: int = 1) -> list[Trend]:
    """These loops over Blocks that follow each other, `interval` ns between samples; run: see `run_of`.

    Each Block but the last should hold a multiple of `run` samples.
    """
    drawing: _Drawing | None = None
    for block in blocks:
        drawing = drawing or _Drawing(block, loops, interval, run)
        drawing.take(block)
    return drawing.trends() if drawing else []


def run_of(samples: int, points: int) -> int:
    """How many samples are thinned to KEPT, so that about `points` are left; 1 where there are no more than that."""
    return 1 if samples <= points else -(-samples * KEPT // points)


def thinned(times: Times, values: Floats, run: int) -> tuple[Times, Floats]:
    """The first, least, greatest and last of each `run` values, and where it breaks; values (n,) may hold NaN."""
    n = len(values)
    if run <= KEPT or n <= KEPT:
        return times, values
    missing = np.isnan(values)
    least, greatest = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
    first = np.arange(0, n, run)
    whole = n // run * run
    kept = [first, np.minimum(first + run, n) - 1,
            first[:n // run] + least[:whole].reshape(-1, run).argmin(axis=1),
            first[:n // run] + greatest[:whole].reshape(-1, run).argmax(axis=1),
            1 + np.flatnonzero(missing[1:] & ~missing[:-1])]
    if whole < n:
        kept.append(whole + np.array([least[whole:].argmin(), greatest[whole:].argmax()]))
    index = np.unique(np.concatenate(kept))
    return times[index], values[index]


@dataclass(slots=True)
class _Loop:
    """What has been drawn of one loop; has_data_path_fault: its samples arrive otherwise than they were measured."""

    column: int
    times: dict[str, list[Times]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    values: dict[str, list[Floats]] = field(default_factory=lambda: {signal: [] for signal in SIGNALS})
    modes: list[tuple[int, int]] = field(default_factory=list)  # since when, which
    has_data_path_fault: bool = False


class _Drawing:
    """Trends that grow Block by Block."""

    def __init__(self, block: Block, loops: Sequence[str], interval: int, run: int) -> None:
        column = {loop: i for i, loop in enumerate(block.loops)}
        self._loops = {loop: _Loop(column[loop]) for loop in loops}
        self._interval, self._run = interval, run
        self._start = self._end = int(block.times[0])
        self._episodes = EpisodeCollector()

    def take(self, block: Block) -> None:
        self._episodes.add_block(block)
        self._end = int(block.times[-1]) + self._interval
        sent = block.arrivals
        for loop in self._loops.values():
            i = loop.column
            self._take_modes(loop, block.times, block.mode[:, i])
            if sent is not None and sent.has_data_path_fault[i]:
                loop.has_data_path_fault = True
                self._take_arrivals(loop, sent)
                continue
            for signal in SIGNALS:
                # A copy: a column would keep the whole Block in memory.
                times, values = thinned(block.times, getattr(block, signal)[:, i].copy(), self._run)
                loop.times[signal].append(times)
                loop.values[signal].append(values)

    def _take_modes(self, loop: _Loop, times: Times, mode: npt.NDArray[np.int8]) -> None:
        before = loop.modes[-1][1] if loop.modes else -1
        turned = np.flatnonzero(np.append(mode[0] != before, mode[1:] != mode[:-1]))
        loop.modes += zip(times[turned].tolist(), mode[turned].tolist(), strict=True)

    def _take_arrivals(self, loop: _Loop, sent: Arrivals) -> None:
        """Whole, for they may be out of order."""
        here = np.flatnonzero(sent.loop == loop.column)
        for signal in SIGNALS:
            loop.times[signal].append(sent.times[here])
            loop.values[signal].append(getattr(sent, signal)[here])

    def trends(self) -> list[Trend]:
        told: dict[str, list[Episode]] = {}
        for episode in self._episodes.finish(self._end):
            told.setdefault(episode.loop, []).append(episode)
        return [self._trend(name, loop, tuple(told.get(name, ()))) for name, loop in self._loops.items()]

    def _trend(self, name: str, loop: _Loop, episodes: tuple[Episode, ...]) -> Trend:
        pv, sp, op = (self._line(loop, signal, episodes) for signal in SIGNALS)
        return Trend(name, self._start, self._end, pv, sp, op, self._modes(loop), episodes)

    def _line(self, loop: _Loop, signal: str, episodes: Sequence[Episode]) -> Line:
        times, values = np.concatenate(loop.times[signal]), np.concatenate(loop.values[signal])
        if not loop.has_data_path_fault:
            return Line(*_bent(times, values))
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        if not any(episode.fault == "compression" for episode in episodes):  # where a step may be as long as it likes
            times, values = _broken(times, values, self._interval)
        sparse = len(times) <= (self._end - self._start) // self._interval // 3
        return Line(*_bent(*thinned(times, values, self._run)), sparse)

    def _modes(self, loop: _Loop) -> tuple[ModeRun, ...]:
        ends = [start for start, _ in loop.modes[1:]] + [self._end]
        return tuple(ModeRun(MODES[mode], start, end)
                     for (start, mode), end in zip(loop.modes, ends, strict=True))


def _broken(times: Times, values: Floats, interval: int) -> tuple[Times, Floats]:
    """The same with a NaN wherever a sample is missing between two."""
    gaps = 1 + np.flatnonzero(np.diff(times) > interval + interval // 2)
    return np.insert(times, gaps, times[gaps - 1] + interval), np.insert(values, gaps, np.nan)


def _bent(times: Times, values: Floats) -> tuple[Times, Floats]:
    """The same without the points between two of their own value: of a level only its ends are needed."""
    level = values[1:] == values[:-1]
    kept = np.ones(len(values), dtype=bool)
    kept[1:-1] = ~(level[1:] & level[:-1])
    return times[kept], values[kept]


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a lane; shown: "visible", "hidden" (present, yet nobody could tell), or "control"."""

    shown: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The bars of one kind of fault; those that are hidden lie under the others."""

    fault: str
    bars: tuple[Bar, ...]


def lanes(trend: Trend, grain: int) -> list[Lane]:
    """What is the matter with a loop, a lane a kind; what lies nearer than `grain` ns is drawn as one."""
    found: dict[str, list[Bar]] = {}
    for episode in sorted(trend.episodes, key=lambda episode: episode.start):
        bars = found.setdefault(episode.fault, [])
        bars.append(Bar("control" if episode.control else "hidden", episode.start, episode.end))
        bars += [Bar("visible", start, end) for start, end in _joined(episode.visible, grain)]
    return [Lane(fault, tuple(bars)) for fault, bars in found.items()]


def _joined(stretches: Iterable[TimeInterval], grain: int) -> list[TimeInterval]:
    joined: list[TimeInterval] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] < grain:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined
