"""What a picture shows of a loop: its lines, downsampled to what the picture can show, its modes, and the ground truth.

A line of more samples than a picture has room for is downsampled to the first, minimum, maximum and last value of each
run of samples (M4: Jugel, Jerzak, Hackenbroich and Markl, VLDB 2014), and to every value at which it breaks because the
next one is missing. So no spike and no gap is lost, and where a run is no wider than a pixel the picture is the same as
that of all samples. The line shows what leaves the plant: of a loop with a data-path fault the samples that arrive, at
the times that they carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import MODES, Block, Floats
from clpm_execd.plant.truth.episodes import Episode, EpisodeCollector, TimeInterval

if TYPE_CHECKING:
    from clpm_execd.plant.block import Arrivals
    from clpm_execd.plant.specs import LoopSpec

Times = npt.NDArray[np.int64]

LINES = ("pv", "sp", "op")
POINTS_PER_RUN = 4  # first, minimum, maximum, last
SPARSE_ONE_IN = 3  # a line has markers where no more than every third sample arrives
_MAX_UNIT_CHARACTERS = 12  # of an axis: longer than any common unit, and shorter than the smallest axis
# The axis of PV or OP does not reach a spike: at most one sample in 50, three times as far beyond the middle nine
# tenths of the samples as these spread (ten standard deviations of a normal noise).
_MAX_CUT_ONE_IN = 50
_MIDDLE_PERCENTILES = (5.0, 95.0)
_CUT_SPREADS = 3.0
_SAMPLES_PER_BLOCK = 400  # of PV and OP, evenly, from which the middle is known
_CUT_GROUPS = 60  # over the width of a picture: spikes that are closer have one arrow
_AXIS_MARGIN = 0.06  # of the axis, above and below
MOVING_SP_ONE_IN = 4  # SP moves all the time where it has more than a quarter as many points as PV


@dataclass(frozen=True, slots=True)
class Line:
    """The n points of a line.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        ns since 1970.
    values : ndarray of float, shape (n,)
        NaN where the line breaks.
    is_sparse : bool
        Whether the points are few enough to have markers.
    """

    times: Times
    values: Floats
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class ModeRun:
    """A time in one mode, from `start` up to but without `end`, ns since 1970."""

    mode: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trend:
    """What a picture shows of a loop from `start` up to but without `end`, ns since 1970.

    Parameters
    ----------
    loop : str
        The loop id.
    start, end : int
        ns since 1970.
    pv, sp, op : Line
        PV and SP in engineering units, OP in %.
    modes : tuple of ModeRun
        The modes, one after the other without a gap.
    episodes : tuple of Episode
        The faults and negative controls.
    description, unit : str
        What the loop controls, and its engineering unit; empty where they are not configured.
    pv_sample, op_sample : ndarray of float, shape (m,)
        Some samples, evenly, as the points of a line are those at its extremes; NaN where one is missing.
    """

    loop: str
    start: int
    end: int
    pv: Line
    sp: Line
    op: Line
    modes: tuple[ModeRun, ...]
    episodes: tuple[Episode, ...]
    description: str = ""
    unit: str = ""
    pv_sample: Floats = field(default_factory=lambda: np.empty(0))
    op_sample: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def has_moving_sp(self) -> bool:
        """Whether SP moves all the time, as in CAS: then PV is drawn over SP, and else SP over PV."""
        return len(self.sp.times) > len(self.pv.times) // MOVING_SP_ONE_IN

    @property
    def pv_title(self) -> str:
        """The title of the axis of PV and SP, with their unit where it is configured."""
        return f"PV, SP ({shorten(self.unit, _MAX_UNIT_CHARACTERS)})" if self.unit else "PV, SP"


@dataclass(frozen=True, slots=True)
class Spike:
    """The extreme of points that lie beyond the axis. time: ns since 1970. is_above: beyond its upper end."""

    time: int
    value: float
    is_above: bool


@dataclass(frozen=True, slots=True)
class AxisLimits:
    """The ends of an axis, in the unit of its lines, and the spikes that it does not reach."""

    low: float
    high: float
    spikes: tuple[Spike, ...] = ()


def choose_limits(trend: Trend) -> AxisLimits:
    """Return the limits of the axis of PV and SP, which a few spikes of PV do not flatten.

    Parameters
    ----------
    trend : Trend
        The loop.
    """
    return _choose_limits(trend, trend.pv, trend.pv_sample, trend.sp.values)


def choose_op_limits(trend: Trend) -> AxisLimits:
    """Return the limits of the axis of OP, which a few spikes do not flatten.

    Parameters
    ----------
    trend : Trend
        The loop.
    """
    return _choose_limits(trend, trend.op, trend.op_sample, np.empty(0))


def _choose_limits(trend: Trend, line: Line, line_sample: Floats, others: Floats) -> AxisLimits:
    """Return the limits of an axis; others: values that it reaches, whatever they are."""
    inside, others = (values[np.isfinite(values)] for values in (line.values, others))
    if not inside.size:
        inside = others if others.size else np.array([0.0, 1.0])
    sample = line_sample[np.isfinite(line_sample)]
    if sample.size:
        bottom, top = np.percentile(sample, _MIDDLE_PERCENTILES).tolist()
        reach = _CUT_SPREADS * (top - bottom)
        is_beyond = (sample < bottom - reach) | (sample > top + reach)
        if reach > 0.0 and np.count_nonzero(is_beyond) * _MAX_CUT_ONE_IN <= sample.size:
            inside = inside[(inside >= bottom - reach) & (inside <= top + reach)]
    inside = np.concatenate([inside, others])
    low, high = float(inside.min()), float(inside.max())
    margin = _AXIS_MARGIN * (high - low) or 0.01 * abs(high) or 1.0
    return AxisLimits(low - margin, high + margin, _find_spikes(trend, line, low - margin, high + margin))


def _find_spikes(trend: Trend, line: Line, low: float, high: float) -> tuple[Spike, ...]:
    times, values = line.times, line.values
    spikes: list[Spike] = []
    for is_above, beyond in ((True, values > high), (False, values < low)):
        index = np.flatnonzero(beyond)
        group = (times[index] - trend.start) * _CUT_GROUPS // max(1, trend.end - trend.start)
        for part in np.split(index, 1 + np.flatnonzero(np.diff(group))) if index.size else []:
            extreme = part[np.argmax(values[part] if is_above else -values[part])]
            spikes.append(Spike(int(times[extreme]), float(values[extreme]), is_above))
    return tuple(spikes)


def thin_line(line: Line, points: int) -> Line:
    """Return the line with about so many points, as `downsample` does with samples.

    Parameters
    ----------
    line : Line
        A line with more points.
    points : int
        The most points, about.
    """
    return Line(*downsample(line.times, line.values, choose_run(len(line.times), points)), line.is_sparse)


def build_trends(blocks: Iterable[Block], loops: Sequence[str], interval: int, run: int = 1) -> list[Trend]:
    """Return the trends of some loops.

    Parameters
    ----------
    blocks : iterable of Block
        Consecutive Blocks; each but the last should hold a multiple of `run` samples.
    loops : sequence of str
        The ids of the loops to draw.
    interval : int
        Time between samples, ns.
    run : int
        How many samples are downsampled to POINTS_PER_RUN points; see `choose_run`.
    """
    builder: _TrendBuilder | None = None
    for block in blocks:
        builder = builder or _TrendBuilder(block, loops, interval, run)
        builder.add_block(block)
    return builder.build() if builder else []


def label_trends(trends: Iterable[Trend], loops: Iterable[LoopSpec]) -> list[Trend]:
    """Return the trends with the descriptions and units of these loops.

    Parameters
    ----------
    trends : iterable of Trend
        Those of loops that are not specified, as in a replay, stay as they are.
    loops : iterable of LoopSpec
        The specified loops.
    """
    spec_of = {loop.id: loop for loop in loops}
    return [trend if (spec := spec_of.get(trend.loop)) is None else
            replace(trend, description=spec.description, unit=spec.unit) for trend in trends]


def shorten(text: str, characters: int) -> str:
    """Return the text, cut where it has more characters than fit."""
    return text if len(text) <= characters else text[:max(0, characters - 1)] + "…"


def choose_run(samples: int, max_points: int) -> int:
    """Return how many samples make a run, so that a line has about `max_points`; 1 where it has no more anyway.

    Parameters
    ----------
    samples : int
        Samples of a loop.
    max_points : int
        What the picture can show of them; of each run it shows POINTS_PER_RUN.
    """
    return 1 if samples <= max_points else -(-samples * POINTS_PER_RUN // max_points)


def downsample(times: Times, values: Floats, run: int) -> tuple[Times, Floats]:
    """Return the first, minimum, maximum and last of each `run` values, and each NaN at which the line breaks.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Times in any unit.
    values : ndarray of float, shape (n,)
        NaN where a value is missing.
    run : int
        How many values make a run; with POINTS_PER_RUN or fewer nothing is left out.
    """
    n = len(values)
    if run <= POINTS_PER_RUN or n <= POINTS_PER_RUN:
        return times, values
    missing = np.isnan(values)
    for_minimum, for_maximum = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
    first = np.arange(0, n, run)
    in_full_runs = n // run * run
    parts = [first, np.minimum(first + run, n) - 1,
             first[:n // run] + for_minimum[:in_full_runs].reshape(-1, run).argmin(axis=1),
             first[:n // run] + for_maximum[:in_full_runs].reshape(-1, run).argmax(axis=1),
             1 + np.flatnonzero(missing[1:] & ~missing[:-1])]
    if in_full_runs < n:
        parts.append(in_full_runs + np.array([for_minimum[in_full_runs:].argmin(),
                                              for_maximum[in_full_runs:].argmax()]))
    index = np.unique(np.concatenate(parts))
    return times[index], values[index]


@dataclass(slots=True)
class _LoopPoints:
    """The points of one loop so far. has_data_path_fault: whether its samples arrive otherwise than measured."""

    column: int
    times: dict[str, list[Times]] = field(default_factory=lambda: {line: [] for line in LINES})
    values: dict[str, list[Floats]] = field(default_factory=lambda: {line: [] for line in LINES})
    mode_starts: list[tuple[int, int]] = field(default_factory=list)  # ns since 1970, index into MODES
    has_data_path_fault: bool = False
    pv_sample: list[Floats] = field(default_factory=list)
    op_sample: list[Floats] = field(default_factory=list)


class _TrendBuilder:
    """Trends that grow Block by Block."""

    def __init__(self, block: Block, loops: Sequence[str], interval: int, run: int) -> None:
        column = {loop: i for i, loop in enumerate(block.loops)}
        self._loops = {loop: _LoopPoints(column[loop]) for loop in loops}
        self._interval, self._run = interval, run
        self._start = self._end = int(block.times[0])
        self._episodes = EpisodeCollector()

    def add_block(self, block: Block) -> None:
        self._episodes.add_block(block)
        self._end = int(block.times[-1]) + self._interval
        arrivals = block.arrivals
        for loop in self._loops.values():
            i = loop.column
            _add_modes(loop, block.times, block.mode[:, i])
            step = -(-len(block) // _SAMPLES_PER_BLOCK)
            loop.pv_sample.append(block.pv[::step, i].copy())
            loop.op_sample.append(block.op[::step, i].copy())
            if arrivals is not None and arrivals.has_data_path_fault[i]:
                loop.has_data_path_fault = True
                _add_arrivals(loop, arrivals)
                continue
            for line in LINES:
                # A copy, because a view of a column keeps the complete Block in memory.
                times, values = downsample(block.times, getattr(block, line)[:, i].copy(), self._run)
                loop.times[line].append(times)
                loop.values[line].append(values)

    def build(self) -> list[Trend]:
        episodes: dict[str, list[Episode]] = {}
        for episode in self._episodes.finish(self._end):
            episodes.setdefault(episode.loop, []).append(episode)
        return [self._build_trend(name, loop, tuple(episodes.get(name, ()))) for name, loop in self._loops.items()]

    def _build_trend(self, name: str, loop: _LoopPoints, episodes: tuple[Episode, ...]) -> Trend:
        pv, sp, op = (self._build_line(loop, line, episodes) for line in LINES)
        return Trend(name, self._start, self._end, pv, sp, op, self._find_mode_runs(loop), episodes,
                     pv_sample=np.concatenate(loop.pv_sample), op_sample=np.concatenate(loop.op_sample))

    def _build_line(self, loop: _LoopPoints, line: str, episodes: Sequence[Episode]) -> Line:
        times, values = np.concatenate(loop.times[line]), np.concatenate(loop.values[line])
        if not loop.has_data_path_fault:
            return Line(*_drop_inner_points(times, values))
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
        if not any(episode.fault == "compression" for episode in episodes):  # where a step may be of any length
            times, values = _break_at_gaps(times, values, self._interval)
        is_sparse = len(times) <= (self._end - self._start) // self._interval // SPARSE_ONE_IN
        return Line(*_drop_inner_points(*downsample(times, values, self._run)), is_sparse)

    def _find_mode_runs(self, loop: _LoopPoints) -> tuple[ModeRun, ...]:
        ends = [start for start, _ in loop.mode_starts[1:]] + [self._end]
        return tuple(ModeRun(MODES[mode], start, end)
                     for (start, mode), end in zip(loop.mode_starts, ends, strict=True))


def _add_modes(loop: _LoopPoints, times: Times, mode: npt.NDArray[np.int8]) -> None:
    before = loop.mode_starts[-1][1] if loop.mode_starts else -1
    changes = np.flatnonzero(np.append(mode[0] != before, mode[1:] != mode[:-1]))
    loop.mode_starts += zip(times[changes].tolist(), mode[changes].tolist(), strict=True)


def _add_arrivals(loop: _LoopPoints, arrivals: Arrivals) -> None:
    """Add all samples that arrive: they may be out of order, and are downsampled when they are sorted."""
    rows = np.flatnonzero(arrivals.loop == loop.column)
    for line in LINES:
        loop.times[line].append(arrivals.times[rows])
        loop.values[line].append(getattr(arrivals, line)[rows])


def _break_at_gaps(times: Times, values: Floats, interval: int) -> tuple[Times, Floats]:
    """Return the points with a NaN in each gap, which is a step of more than one and a half intervals."""
    gaps = 1 + np.flatnonzero(np.diff(times) > interval + interval // 2)
    return np.insert(times, gaps, times[gaps - 1] + interval), np.insert(values, gaps, np.nan)


def _drop_inner_points(times: Times, values: Floats) -> tuple[Times, Floats]:
    """Return the points without those between two of the same value: of a level only its ends are needed."""
    same = values[1:] == values[:-1]
    is_end = np.ones(len(values), dtype=bool)
    is_end[1:-1] = ~(same[1:] & same[:-1])
    return times[is_end], values[is_end]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a lane, from `start` up to but without `end`, ns since 1970.

    kind: "visible" (a fault that can be detected), "hidden" (one that is present and cannot), or "control" (a negative
    control).
    """

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lane:
    """The bars of one kind of fault; hidden ones come before the visible ones that are drawn over them."""

    fault: str
    bars: tuple[Bar, ...]


def build_lanes(trend: Trend, min_gap: int) -> list[Lane]:
    """Return the faults and negative controls of a loop, a lane for each kind.

    Parameters
    ----------
    trend : Trend
        The loop.
    min_gap : int
        ns; visible times that are less than this apart are drawn as one.
    """
    bars_of: dict[str, list[Bar]] = {}
    for episode in sorted(trend.episodes, key=lambda episode: episode.start):
        bars = bars_of.setdefault(episode.fault, [])
        bars.append(Bar("control" if episode.control else "hidden", episode.start, episode.end))
        bars += [Bar("visible", start, end) for start, end in _join(episode.visible, min_gap)]
    return [Lane(fault, tuple(bars)) for fault, bars in bars_of.items()]


def _join(intervals: Iterable[TimeInterval], min_gap: int) -> list[TimeInterval]:
    result: list[TimeInterval] = []
    for start, end in intervals:
        if result and start - result[-1][1] < min_gap:
            result[-1] = result[-1][0], end
        else:
            result.append((start, end))
    return result
