"""The throughput of process units over days, which moves all loops of a unit together, each by its sign and its lag.

A unit's throughput moves by itself over an hour and a shift, its operators step it a few times a day, a campaign with
another feed lasts for days, and the air is warmer by day. Users of one utility, such as steam, cooling water or the hot
stream of another unit, feel its pressure at once and alike. What reaches a loop is a slow change of its load, and of a
flow its noise. All of it is a function of time, seed, the unit's name and the loop's id, so that nothing has to be
stored and every shard computes the same. A loop starts in balance: what counts is the change since its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.elementary import sin, sum_in_order
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.rng import derive_stream_keys, draw_uniforms, draw_uniforms_at
from clpm_execd.plant.specs import LoopSpec

_DAY_SECONDS = 86400
_KNOT_SECONDS = 300  # between two exact values; in between they are interpolated
_STEP_SECONDS = 60  # between two interpolated values; the load's own correlation time smooths what is left of a step
# The parts of a throughput: variance, the time in which the part changes once, s, and the fraction of it that takes.
# Variances are such that over two days half of the movement is slower than a shift, as in two loops of a plant
# (docs/physics.md); times: operators step a throughput a few times a day, campaigns last for days.
_PARTS = ((0.08, 2_400, 1.0), (0.17, 9_000, 1.0), (0.35, 28_800, 0.12), (0.40, 259_200, 0.03))
# Those of a utility: its controller leaves swings of a quarter of an hour, and large users come and go.
_UTILITY_PARTS = ((0.4, 900, 1.0), (0.6, 7_200, 0.1))
# The part of the variance that a loop shares with its unit; the rest is its own, by the same parts. The hourly means of
# two loops of a unit are then correlated by about this much.
_SHARED_VARIANCE = 0.55
_LAG_SECONDS = (120.0, 2_400.0)  # of a loop that gives none: from the flow that is stepped to the far end of a unit
_GAIN = (0.5, 1.2)  # of a loop that gives none, either sign: in % of travel for 1 % of throughput
_WARMEST_HOUR_UTC = 14.0  # two hours after noon at 0 degrees east


class _Movement:
    """Sums of parts, each with levels that change once in a cell of its own length.

    parts: P of variance, length of a cell, s, and the fraction of it that the change takes. keys: (P, n).
    """

    def __init__(self, parts: Sequence[tuple[float, int, float]], keys: npt.NDArray[np.uint64]) -> None:
        self._keys = keys
        variance, self._cell_seconds, self._change = np.array(parts, dtype=np.float64).T[..., None]
        self._weights = np.sqrt(variance)

    def at(self, seconds: Floats) -> Floats:
        """Return the sums at times since 1970, (n,); their variance is that of the parts together."""
        cells = seconds / self._cell_seconds
        cell = np.floor(cells).astype(np.int64)
        before, after = (draw_uniforms_at(self._keys, cell + k) for k in (0, 1))
        # A cell holds one change, from its own level to that of the next, somewhere within.
        begin = draw_uniforms_at(self._keys, -1 - cell) * (1.0 - self._change)
        fraction = np.minimum(np.maximum((cells - cell - begin) / self._change, 0.0), 1.0)
        fraction *= fraction * (3.0 - 2.0 * fraction)
        levels = (2.0 * (before + fraction * (after - before)) - 1.0) * sqrt(3.0)
        return sum_in_order(self._weights * levels)


class Throughput:
    """What the throughput of their units does to N loops. starts: (N,) ns, when each loop is in balance. scan: ns."""

    def __init__(self, loops: LoopSet, seed: int, starts: npt.NDArray[np.int64], scan: int) -> None:
        self._scan = scan
        self.columns = np.flatnonzero(loops.where(_is_moved))
        ours = loops.select(self.columns)
        self._size = len(loops)
        self._sigma, self._ambient = ours.columns(lambda loop: (loop.throughput.sigma, loop.throughput.ambient))
        self._gain = _fill_with_draws(ours.map(lambda loop: loop.throughput.gain), _GAIN, seed, ours.ids,
                                      stored_names.THROUGHPUT_GAIN, has_either_sign=True)
        lag = _fill_with_draws(ours.map(lambda loop: loop.throughput.lag), _LAG_SECONDS, seed, ours.ids,
                               stored_names.THROUGHPUT_LAG)
        self._lag_seconds = np.rint(lag).astype(np.int64)
        self._is_flow = ours.where(lambda loop: loop.type == "flow")
        self._has_flows = bool(self._is_flow.any())
        units = tuple(ours.map(lambda loop: loop.throughput.unit))
        self._movement = _Movement(
            [(share * variance, seconds, change) for share, (variance, seconds, change)
             in product((_SHARED_VARIANCE, 1.0 - _SHARED_VARIANCE), _PARTS)],
            np.stack([derive_stream_keys(seed, names, purpose) for names, purpose
                      in product((units, ours.ids), stored_names.THROUGHPUT)]))
        self._utility_sigma = ours.column(
            lambda loop: loop.throughput.utility_sigma if loop.throughput.utility else 0.0)
        self._utility: _Movement | None = None
        if self._utility_sigma.any():
            utilities = tuple(ours.map(lambda loop: loop.throughput.utility))
            self._utility = _Movement(_UTILITY_PARTS, np.stack(
                [derive_stream_keys(seed, utilities, purpose) for purpose in stored_names.UTILITY]))
        start_seconds = starts[self.columns] // SECOND
        self._at_start = self._compute(start_seconds)
        self._knot = -1
        self._knots: list[tuple[Floats, Floats]] = []
        self._value_index = -1
        self._load, self._noise_factor = np.zeros(len(self.columns)), np.ones(len(self.columns))

    def _compute(self, seconds: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return throughput and load at times since 1970, (n,) each: % of design, and % of travel."""
        at = (seconds - self._lag_seconds).astype(np.float64)
        throughput = self._sigma * self._movement.at(at)
        hour = at % _DAY_SECONDS / 3600.0
        warmth = sin(2.0 * pi * (hour - _WARMEST_HOUR_UTC + 6.0) / 24.0)
        load = self._gain * throughput + self._ambient * warmth
        if self._utility is not None:
            load += self._utility_sigma * self._utility.at(seconds.astype(np.float64))
        return throughput, load

    def _move_to(self, tick: int) -> None:
        """Set load and noise to those of a scan."""
        value_index = tick * self._scan // (_STEP_SECONDS * SECOND)
        if value_index == self._value_index:
            return
        self._value_index = value_index
        knot, minute = divmod(value_index, _KNOT_SECONDS // _STEP_SECONDS)
        if knot != self._knot:
            last = self._knots[1] if self._knots and knot == self._knot + 1 else self._compute_since_start(knot)
            self._knots, self._knot = [last, self._compute_since_start(knot + 1)], knot
        part = minute * _STEP_SECONDS / _KNOT_SECONDS
        (throughput, load), (next_throughput, next_load) = self._knots
        self._load = load + part * (next_load - load)
        if self._has_flows:
            factor = np.maximum(1.0 + (throughput + part * (next_throughput - throughput)) / 100.0, 0.0)
            # The noise of a differential pressure is turbulence, which grows with the square of the flow.
            self._noise_factor = np.where(self._is_flow, factor * factor, 1.0)

    def _compute_since_start(self, knot: int) -> tuple[Floats, Floats]:
        throughput, load = self._compute(np.full(len(self.columns), knot * _KNOT_SECONDS))
        return throughput - self._at_start[0], load - self._at_start[1]

    def add_to(self, first: int, noise: Floats, shocks: Floats, gain: Floats) -> None:
        """Change what reaches sensors and loads from the scan `first` on, (T, N) each, in place.

        noise: standard normals. shocks: what is added to the load disturbances. gain: (N,) of a shock for a load that
        stays at 1.
        """
        row, rows = 0, len(shocks)
        while row < rows:
            tick = first + row
            self._move_to(tick)
            end = -(-(self._value_index + 1) * _STEP_SECONDS * SECOND // self._scan)  # the first scan of the next value
            stop = min(rows, max(row + 1, row + end - tick))
            if len(self.columns) == self._size:
                shocks[row:stop] += self._load * gain
                if self._has_flows:
                    noise[row:stop] *= self._noise_factor
            else:
                at = self.columns
                shocks[row:stop, at] += self._load * gain[at]
                if self._has_flows:
                    noise[row:stop, at] *= self._noise_factor
            row = stop


def _is_moved(loop: LoopSpec) -> bool:
    """Whether the throughput moves this loop; what moves a learned loop is in its record."""
    return loop.learned_model is None and loop.throughput.moves_load


def _fill_with_draws(values: list[float | None], limits: tuple[float, float], seed: int, ids: tuple[str, ...],
                     purpose: str, *, has_either_sign: bool = False) -> Floats:
    """Return the configured values, and for None one that is drawn between the limits for the loop."""
    uniform = draw_uniforms(derive_stream_keys(seed, ids, purpose), 0, 2)
    draws = limits[0] + uniform[0] * (limits[1] - limits[0])
    if has_either_sign:
        draws = np.where(uniform[1] < 0.5, -draws, draws)
    return np.array([draws[i] if value is None else value for i, value in enumerate(values)], dtype=np.float64)
