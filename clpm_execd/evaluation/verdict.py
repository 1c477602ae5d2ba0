"""Whether a fitted loop may be used: good, usable with care, or not, with the reasons.

The figures are those that a user of the stream would miss first: whether a forest can tell it from the record, whether
PV stays as near to SP, whether it moves as much and swings as regularly, whether it only replays the record, and what
is a default rather than identified.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Literal

import numpy as np

from clpm_execd.evaluation.learned_vs_record import MIN_SAMPLES, Comparison, LoopFit
from clpm_execd.evaluation.similarity import WINDOW_SAMPLES, cut_windows
from clpm_execd.identification.signal_statistics import largest_mean
from clpm_execd.plant.block import Floats
from clpm_execd.units import describe_count

Level = Literal["good", "usable with care", "do not use"]
GOOD: Level = "good"
CARE: Level = "usable with care"
REFUSED: Level = "do not use"
LEVELS = (GOOD, CARE, REFUSED)

# Of each figure two limits: beyond the first a loop needs care, beyond the second it is not to be used. The experiments
# that set them (docs/fitting.md, Verdict) have as good streams the second halves of 77 refinery records and of 30
# drawn loops of the plant, and as bad ones these halves with less or more movement, with an offset, noise of the same
# deviation, and the record itself.
# AUC: the second halves of 79 real records have 0.64 at 256 samples against their first ones; at 0.9 nine of ten
# windows can be distinguished.
AUC_LIMITS = (0.75, 0.9)
# Offset: |mean of PV - SP| over a fifth of the record, its 95 % point over that of the record.
OFFSET_LIMITS = (2.0, 4.0)
OFFSET_FLOOR = 0.25  # of the standard deviation of PV - SP: a smaller offset is not seen
# Movement: standard deviation within windows, simulated over recorded.
MOVEMENT_LIMITS = (2 / 3, 0.4)
# Wave: power at the period of a regular oscillation, simulated over recorded, as an amplitude.
WAVE_LIMITS = (0.6, 0.45)
WAVE_POWER_FRACTION = 0.3  # of the power of a record that oscillates regularly, in a band of three lines
NOVELTY_LIMITS = (0.75, 0.5)
# Time at an end of OP, simulated less recorded, fraction: in no good stream above 0.01.
SATURATION_LIMITS = (0.1, 0.4)
OFFSET_PARTS = 5
_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class Figures:
    """How a simulated loop compares with its record; NaN where the record is too short or has nothing to compare.

    Parameters
    ----------
    auc : float
        Of the discriminator, 0.5 by chance.
    offset : float
        95 % point of |mean of PV - SP| over a fifth of the record, simulated over recorded.
    movement : float
        Median standard deviation of PV and of OP within 64 samples, simulated over recorded, the one further from 1.
    wave : float
        Amplitude of PV at the period of the record's oscillation, simulated over recorded; NaN where there is none.
    novelty : float
        See `similarity.novelty_ratio`.
    saturation : float
        Fraction of the time in which OP is at its lowest or highest value, simulated less recorded.
    """

    auc: float = nan
    offset: float = nan
    movement: float = nan
    wave: float = nan
    novelty: float = nan
    saturation: float = nan


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fitted loop may be used for.

    Parameters
    ----------
    level : str
        "good", "usable with care" or "do not use".
    reasons : tuple of str
        Why it is not better, the most important one first; a phrase each. Empty where the loop is good.
    """

    level: Level
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.level}: {'; '.join(self.reasons)}" if self.reasons else self.level


def measure_figures(comparison: Comparison, auc: float = nan) -> Figures:
    """Return how a simulated loop compares with its record.

    Parameters
    ----------
    comparison : Comparison
        The loop as recorded and as simulated.
    auc : float
        Of the discriminator on this loop; NaN where there is none.
    """
    recorded, simulated = comparison.recorded, comparison.simulated
    if comparison.distances is None:
        return Figures(auc=auc)
    return Figures(auc, _offset_ratio(recorded, simulated), _movement_ratio(recorded, simulated),
                   _wave_ratio(recorded[:, 0], simulated[:, 0]), comparison.novelty,
                   _time_at_ends(recorded[:, 1], simulated[:, 1]) - _time_at_ends(recorded[:, 1], recorded[:, 1]))


def _offset_ratio(recorded: Floats, simulated: Floats) -> float:
    errors = [signals[:, 0] - signals[:, 2] for signals in (recorded, simulated)]
    usual, other = (largest_mean(error, max(len(error) // OFFSET_PARTS, 1)) for error in errors)
    return other / max(usual, OFFSET_FLOOR * float(np.std(errors[0])), _ZERO)


def _movement_ratio(recorded: Floats, simulated: Floats) -> float:
    sizes = [np.median(cut_windows(signals[:, :2], WINDOW_SAMPLES).std(axis=1), axis=0)
             for signals in (recorded, simulated)]
    ratios = [float(b / a) for a, b in zip(*sizes, strict=True) if a > _ZERO]
    return min(ratios, key=lambda ratio: min(ratio, 1.0 / max(ratio, _ZERO)), default=nan)


def _wave_ratio(recorded: Floats, simulated: Floats) -> float:
    """Return the amplitude at the period of the record's oscillation; NaN where it has no regular one."""
    from scipy.signal import detrend, periodogram

    length = min(len(recorded), len(simulated))
    power = periodogram(detrend(recorded[:length]), window="hann")[1]
    peak = int(np.argmax(power))
    total = float(power.sum())
    # Fewer than four periods are no oscillation that a spectrum shows (Thornhill, Huang and Zhang, 2003, ask for ten).
    if total <= _ZERO or peak < 4 or float(power[peak - 1:peak + 2].sum()) < WAVE_POWER_FRACTION * total:
        return nan
    other = periodogram(detrend(simulated[:length]), window="hann")[1]
    # A wave that drifts in frequency is spread over more lines: a quarter around the period counts.
    band = slice(max(1, round(0.75 * peak)), round(1.25 * peak) + 2)
    return float(np.sqrt(other[band].sum() / power[band].sum()))


def _time_at_ends(recorded: Floats, op: Floats) -> float:
    """Return the fraction of the time in which OP is at the lowest or highest value of both."""
    low, high = min(recorded.min(), op.min()), max(recorded.max(), op.max())
    room = 1e-3 * (high - low)
    return float(np.mean((op <= low + room) | (op >= high - room))) if high - low > _ZERO else 0.0


def judge(fit: LoopFit, auc: float = nan) -> Verdict:
    """Return what a fitted loop may be used for, and why.

    Parameters
    ----------
    fit : LoopFit
        The loop and its comparison with the record.
    auc : float
        Of the discriminator on this loop; NaN where there is none.
    """
    comparison, estimates = fit.comparison, fit.learned.estimates
    recorded = comparison.recorded
    if not np.ptp(recorded[:, 0]):
        return Verdict(REFUSED, ("PV never moves in the record, so that nothing can be identified",))
    figures = measure_figures(comparison, auc)
    grades = list(_grade(figures))
    if comparison.distances is None:
        length = describe_count(fit.learned.samples, "sample")
        grades.append((CARE, f"the record has {length}, too few to compare (at least {MIN_SAMPLES} are needed)"))
    defaults = [name for key, name in (("controller.gain", "controller"), ("process.gain", "process"))
                if key not in estimates or estimates[key].source == "prior"]
    if fit.learned.loop.learned_model is None and len(defaults) == 2:
        grades.append((REFUSED, "controller and process are defaults, and no model could be fitted"))
    elif defaults:
        grades.append((CARE, f"the {' and the '.join(defaults)} could not be identified: what-ifs rest on defaults"))
    level = max((level for level, _ in grades), key=LEVELS.index, default=GOOD)
    return Verdict(level, tuple(reason for grade, reason in sorted(grades, key=lambda one: -LEVELS.index(one[0]))))


def _grade(figures: Figures) -> list[tuple[Level, str]]:
    """Return a level and a reason for each figure that is beyond a limit."""
    grades: list[tuple[Level, str]] = []

    def grade(value: float, limits: tuple[float, float], reason: str) -> None:
        is_falling = limits[0] > limits[1]
        beyond = [value < limit if is_falling else value > limit for limit in limits]
        if isfinite(value) and beyond[0]:
            grades.append((REFUSED if beyond[1] else CARE, reason))

    grade(figures.auc, AUC_LIMITS, f"simulated and recorded windows can be distinguished (AUC {figures.auc:.2f})")
    grade(figures.offset, OFFSET_LIMITS,
          f"PV stays {figures.offset:.1f} times as far from SP as in the record")
    quiet, loud = figures.movement, 1.0 / figures.movement if figures.movement else nan
    grade(quiet, MOVEMENT_LIMITS, f"it moves only {figures.movement:.2f} times as much as the record")
    grade(loud, MOVEMENT_LIMITS, f"it moves {figures.movement:.1f} times as much as the record")
    if not isnan(figures.wave):
        grade(figures.wave, WAVE_LIMITS, f"the oscillation has only {figures.wave:.2f} times the record's amplitude")
    grade(figures.novelty, NOVELTY_LIMITS, f"it replays parts of the record (novelty ratio {figures.novelty:.2f})")
    grade(figures.saturation, SATURATION_LIMITS,
          f"OP is at an end for {figures.saturation:.0%} more of the time than in the record")
    return grades
