"""How far a loop is from its copy without a fault, in standard deviations of that copy's own movement.

The distance of PV, OP and SP as recorded is taken over bins of half a minute of absolute time. It is an average over
the latest minutes, and the movement of the copy one over the latest half hour, both with weights that fall off
exponentially (Roberts, 1959). The effect is the largest of the three; where the modes differ, it is as large as an
effect can be. It is known at the end of a bin and holds until the end of the next one.

In MAN the operator leaves OP where it happens to be. Where a fault has made that another place than in the copy, PV and
OP rest at other levels, which nobody can tell who does not know the copy: there the distance is counted from its own
mean over the latest half hour, so that what moves otherwise than in the copy counts, and what rests elsewhere does not.

A loop in a limit cycle whose copy is in the same one, out of phase, is as far from it as any two cycles are. So beside
a visible fault of the loop that makes such a cycle, the effect of another fault is at most what it does to the mean and
the mean square of the latest minutes, which do not depend on the phase.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.loop_set import Indices, LoopSet
from clpm_execd.plant.snapshot import LoopArrays

# An effect of 1 adds to a signal the variance that it has anyway. From an effect of 0.7 on the best of published
# detectors, given the twin, finds four in five windows at 5 % of false alarms, and below 0.35 less than half of them:
# see "The threshold" in docs/faults.md. Below 0.6 it is over; the narrow band between keeps it from flickering.
VISIBLE_FROM, VISIBLE_UNTIL = 0.7, 0.6
# Beyond it nothing is more visible: without a limit an effect would seem to last after its end, and with one of 3
# single spikes in samples of 10 s would be forgotten within the minutes that they spoil.
LARGEST_EFFECT = 5.0
BIN_NS = 30 * SECOND
# The time constants of the averages, however slow the loop. With that of the distance, what is visible agrees best with
# windows of 5 to 60 minutes that are judged afterwards: a shorter one flickers where a slow oscillation crosses its
# twin, a longer one lingers where an effect ends. The movement needs some periods of a slow loop, and has to forget
# moves of SP. tests/plant/faults/test_visibility.py has the comparison. Mean and mean square need some periods too, and
# of 30 minutes in place of 10 they know no more of a tiny fault beside a limit cycle.
_DISTANCE_S, _MOVEMENT_S, _STATISTICS_S = 120.0, 1800.0, 600.0
_MAKING_LIMIT_CYCLES = ("stiction", "deadband", "aggressive")  # kinds of faults
_LEAST_PV, _LEAST_OP = 0.05, 0.1  # % of span, %: movements that nobody reads off a trend


class EffectMeter(LoopArrays):
    """Measures the effect of M copies; all values are engineering units, OP in what it is recorded as.

    loops: M copies. base: (M,) the plant's column of each. absent: the fault that each lacks. interval: ns.
    effect: (M,) at the last end of a bin. is_visible: (M,) whether it has risen above VISIBLE_FROM, and not fallen
    below VISIBLE_UNTIL since.
    """

    stored_arrays = stored_names.EFFECT_METER

    def __init__(self, loops: LoopSet, base: Indices, absent: Sequence[Fault], interval: int) -> None:
        n = len(loops)
        # The loop of each copy that lacks a fault of its own, else one more than there are: none.
        no_loop = base.max(initial=-1) + 1
        is_own = np.array([fault.loop.id == loop for fault, loop in zip(absent, loops.ids, strict=True)], dtype=bool)
        self._own_loop, self._loop_count = np.where(is_own, base, no_loop), no_loop + 1
        self._makes_cycle = is_own & np.array([fault.kind.name in _MAKING_LIMIT_CYCLES for fault in absent], dtype=bool)
        self.columns = np.arange(n)
        self.bin_ns = max(BIN_NS, interval)
        pv_unit = loops.column(lambda loop: (loop.range[1] - loop.range[0]) / 100.0)
        op_unit = loops.column(lambda loop: (loop.recording.op_range[1] - loop.recording.op_range[0]) / 100.0)
        pv = loops.column(lambda loop: max(_LEAST_PV, loop.sensor.noise)) * pv_unit
        least = np.stack([_LEAST_OP * op_unit, pv])  # OP, PV
        self._least_variance: Floats = least * least
        self._distance_share = min(self.bin_ns / SECOND / _DISTANCE_S, 1.0)
        self._movement_share = min(self.bin_ns / SECOND / _MOVEMENT_S, 1.0)
        self._statistics_share = min(self.bin_ns / SECOND / _STATISTICS_S, 1.0)
        # Sums over the open bin: samples, those in other modes, those in MAN both; distances, distances squared,
        # deviations from the mean, those squared, and products of distance and deviation.
        self._samples, self._different_modes, self._manual = np.zeros((3, n))
        self._difference, self._distance, self._deviation, self._squares, self._products = np.zeros((5, 3, n))
        self._bin, self._latest_bin = np.full(n, -1, dtype=np.int64), -1
        self._bins = np.zeros(n)  # how many have ended
        self._mean, self._variance, self._effects = np.zeros((3, 3, n))  # of SP, OP, PV
        self._mode_effect = np.zeros(n)
        self._mean_difference, self._square_difference = np.zeros((2, 3, n))  # of the loop and its copy
        self._level, self._level_bins = np.zeros((3, n)), np.zeros(n)  # the mean distance in MAN, and of how many bins
        self.effect: Floats = np.zeros(n)
        self.is_visible = np.zeros(n, dtype=bool)

    def add(self, number: int, values: Floats, copies: Floats, has_other_mode: npt.NDArray[np.bool_] | None,
            is_manual: npt.NDArray[np.bool_] | None) -> None:
        """Add samples of one bin; if it is another one than that of the last samples, the effects change before.

        number: of the bin since 1970. values, copies: (3, T, M) SP, OP, PV. has_other_mode, is_manual: (T, M) the
        latter where both are; None where none is.
        """
        if number != self._latest_bin:
            is_over = self._bin != number
            self._end_bins(is_over & (self._samples > 0.0))
            np.copyto(self._mean, copies[:, 0], where=is_over & (self._bins == 0.0))
            self._bin[:] = self._latest_bin = number
        self._samples += values.shape[1]
        if has_other_mode is not None:
            self._different_modes += np.count_nonzero(has_other_mode, axis=0)
        distance, deviation = values - copies, copies - self._mean[:, None]
        if is_manual is not None:
            self._manual += np.count_nonzero(is_manual, axis=0)
        _add_in_order(self._difference, distance)
        _add_in_order(self._deviation, deviation)
        _add_in_order(self._products, distance * deviation)
        for total, signal in ((self._distance, distance), (self._squares, deviation)):
            signal *= signal
            _add_in_order(total, signal)

    def _end_bins(self, which: npt.NDArray[np.bool_]) -> None:
        """End the open bins of these copies, (M,): of all, but for those that are new."""
        samples = np.maximum(self._samples, 1.0)
        share = np.maximum(self._movement_share, 1.0 / (self._bins + 1.0))  # the first bins count alike
        share = np.where(which, share, 0.0)
        shift = share * (self._deviation / samples)
        self._mean += shift
        self._variance += share * (self._squares / samples - self._variance) - shift * shift
        variance = self._variance.copy()
        np.maximum(variance[1:], self._least_variance, out=variance[1:])
        variance[0] = np.maximum(variance[0], variance[2])  # SP, which may never move, beside the movement of PV
        most, share = LARGEST_EFFECT * LARGEST_EFFECT, np.where(which, self._distance_share, 0.0)
        effects = np.minimum(self._compute_squared_distance(which, samples) / variance, most)
        self._effects += share * (effects - self._effects)
        self._update_statistics(which, samples)
        self._mode_effect += share * (most * self._different_modes / samples - self._mode_effect)
        effects = self._effects
        has_cycle = self.is_visible & self._makes_cycle
        cycles = np.zeros(self._loop_count, dtype=np.intp)
        np.add.at(cycles, self._own_loop, has_cycle)
        is_beside_cycle = cycles[self._own_loop] > has_cycle
        if is_beside_cycle.any():
            statistics = np.maximum(np.abs(self._square_difference), self._mean_difference * self._mean_difference)
            effects = np.where(is_beside_cycle, np.minimum(effects, statistics / variance), effects)
        largest = np.maximum(np.maximum(effects[0], effects[1]), np.maximum(effects[2], self._mode_effect))
        self.effect = np.sqrt(largest)
        self.is_visible = self.effect >= np.where(self.is_visible, VISIBLE_UNTIL, VISIBLE_FROM)
        self._bins += which
        for values in (self._samples, self._different_modes, self._manual, self._difference, self._distance,
                       self._deviation, self._squares, self._products):
            values[..., which] = 0.0

    def _update_statistics(self, which: npt.NDArray[np.bool_], samples: Floats) -> None:
        """Take the bins that end into how mean and mean square of the loop differ from its copy's, around its mean."""
        share = np.where(which, np.maximum(self._statistics_share, 1.0 / (self._bins + 1.0)), 0.0)
        self._mean_difference += share * (self._difference / samples - self._mean_difference)
        square_difference = (self._distance + 2.0 * self._products) / samples
        self._square_difference += share * (square_difference - self._square_difference)

    def _compute_squared_distance(self, which: npt.NDArray[np.bool_], samples: Floats) -> Floats:
        """Return the mean squared distance in the bins that end, (3, M); in MAN with another OP, from its own mean."""
        rests_elsewhere = (self._manual == self._samples) & (self._distance[1] > 0.0) & which
        squared: Floats = self._distance / samples
        if not rests_elsewhere.any():
            self._level_bins[which] = 0.0
            return squared
        mean = self._difference / samples
        self._level_bins = np.where(which, np.where(rests_elsewhere, self._level_bins + 1.0, 0.0), self._level_bins)
        share = np.maximum(self._movement_share, 1.0 / np.maximum(self._level_bins, 1.0))
        self._level += np.where(rests_elsewhere, share, 0.0) * (mean - self._level)
        around_level = np.maximum(squared - self._level * (2.0 * mean - self._level), 0.0)
        return np.where(rests_elsewhere, around_level, squared)


def _add_in_order(total: Floats, signals: Floats) -> None:
    """Add T samples to a sum, (3, M), in place and one by one, so that blocks of any length give the same bits."""
    for t in range(signals.shape[1]):
        total += signals[:, t]
