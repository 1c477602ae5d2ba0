"""Oscillations that reach a loop from a distant limit cycle.

A distant limit cycle is a rectangular wave, as a sticky valve makes it, filtered on its way: its harmonics fall off
with their number, even ones make its halves unequal, and its period and amplitude wander. It is a function of absolute
time and of its period, so that one oscillation is the same in all loops that it reaches.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant import elementary
from clpm_execd.plant.block import Floats
from clpm_execd.plant.faults.schedule import FaultSeverities
from clpm_execd.plant.loop_set import Indices
from clpm_execd.plant.rng import BlockDraws, derive_stream_keys, draw_uniforms_at

_HARMONICS = 9  # of a wave: those beyond are below 3 % of the first, where the third is a quarter
# Even harmonics relative to the odd ones. With 0.5 the curve fit of He et al. takes the wave for a sticky valve's own
# movement, with 0.3 in no loop; the second harmonic is then 0.10 to 0.15 of the first.
_ASYMMETRY = 0.3
_POINTS_PER_PERIOD = 512  # of a wave's table; linear interpolation errs by less than 1e-4 of the amplitude
_PERIODS_BETWEEN_KNOTS = 2.0  # of the wander: so long a limit cycle is about the same
# The uniform draws at the knots that make the period's standard deviation 1, relative to itself: of the difference
# between two such draws over the periods in between.
_PHASE_PER_WANDER = _PERIODS_BETWEEN_KNOTS * sqrt(1.5)
_AMPLITUDE_PER_WANDER = 2.0 * sqrt(3.0)  # the amplitude's standard deviation is twice the period's


def limit_cycle_wave(third_harmonic: float) -> Floats:
    """Return a period of a filtered limit cycle whose first harmonic has amplitude 1, (_POINTS_PER_PERIOD + 1,).

    third_harmonic: relative amplitude of the third; of a square wave it is a third, of a filtered one less.
    """
    # The way passes the nth harmonic of a rectangular wave, 1/n, times this to the power of n - 1.
    transmission = min(1.0, sqrt(3.0 * third_harmonic))
    turns = np.arange(_POINTS_PER_PERIOD + 1) / _POINTS_PER_PERIOD
    wave = np.zeros(_POINTS_PER_PERIOD + 1)
    transmission_power = 1.0
    for n in range(1, _HARMONICS + 1):
        amplitude = third_harmonic if n == 3 else transmission_power / n * (1.0 if n % 2 else _ASYMMETRY)
        transmission_power *= transmission
        wave += amplitude * elementary.sin(2.0 * pi * n * turns)
    return wave


@lru_cache(maxsize=2)  # a plant that takes over from another one has the same
def _make_waves(third_harmonics: tuple[float, ...]) -> Floats:
    """Return the waves with these relative amplitudes of the third harmonic, one after the other."""
    return np.array([limit_cycle_wave(harmonic) for harmonic in third_harmonics]).reshape(-1)


class DistantCycles:
    """The waves of M oscillations whose origin is outside of the plant. which: their indices in the schedule.

    Those that are equal, as in the copies of a loop, are computed once.
    """

    def __init__(self, schedule: FaultSeverities, which: Indices, seed: int) -> None:
        self._scan = schedule.scan
        parameters = np.stack([schedule.parameter_values(which, name) for name in (
            "period", "amplitude", "phase", "harmonic", "wander")], axis=1)
        distinct, which_distinct = np.unique(parameters, axis=0, return_inverse=True)
        self._which = which_distinct.reshape(-1)  # numpy 2.0 gives two dimensions
        self._period, self._amplitude, phase, third_harmonic, wander = distinct.T
        self._phase = phase / 360.0
        self._phase_wander, self._amplitude_wander = wander * _PHASE_PER_WANDER, wander * _AMPLITUDE_PER_WANDER
        waves, wave = np.unique(third_harmonic, return_inverse=True)
        self._waves = _make_waves(tuple(waves.tolist()))
        self._begin = wave * (_POINTS_PER_PERIOD + 1)
        # One oscillation, one period: the loops that share it wander together.
        names = tuple(f"{period!r}" for period in self._period.tolist())
        self._keys = np.stack(
            [derive_stream_keys(seed, names, purpose)[:, None] for purpose in stored_names.DISTANT_CYCLES])
        self._loads = BlockDraws(self._keys, self._compute_loads)

    def at(self, tick: int) -> Floats:
        """Return the loads at a scan, (M,) % of travel."""
        return self._loads.at(tick).take(self._which)

    def _compute_loads(self, keys: npt.NDArray[np.uint64], first: int, n: int) -> Floats:
        """Return the loads at n scans from the first on, (n, M) % of travel."""
        turns = np.arange(first, first + n)[:, None] * self._scan / self._period
        knots = turns / _PERIODS_BETWEEN_KNOTS
        knot = np.floor(knots).astype(np.int64)
        # Wander of phase and amplitude at the knots before and after.
        before, after = np.moveaxis(2.0 * draw_uniforms_at(keys[:, None], knot[..., None] + np.arange(2)) - 1.0, -1, 0)
        part = knots - knot
        part *= part * (3.0 - 2.0 * part)  # smooth at the knots
        phase, amplitude = before + part * (after - before)
        turns = turns % 1.0 + self._phase + self._phase_wander * phase
        place = (turns - np.floor(turns)) * _POINTS_PER_PERIOD
        point = np.minimum(place.astype(np.intp), _POINTS_PER_PERIOD - 1)
        row = self._begin + point
        begin, end = self._waves[row], self._waves[row + 1]
        load: Floats = begin + (place - point) * (end - begin)
        load *= self._amplitude * (1.0 + self._amplitude_wander * amplitude)
        return load
