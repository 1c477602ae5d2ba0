"""Estimates of operator habits: frequency, size and time of day of set-point moves, and the time in MAN and AUT."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np

from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, rounded, within_limits
from clpm_execd.identification.loop_data import Booleans, Signals, find_runs
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import OperatorSpec

_MAX_MOVE_SECONDS = 60.0  # Changes of SP that are at most this far apart are one move.
_DAY_SECONDS = 86_400.0
_MIN_DAYS = 3.0  # of a record from which the time of day of moves is estimated
_PARTS_OF_DAY = 8  # of a day
_PRIOR_MOVES = 24  # weight of the usual daily profile as a prior, in number of moves
_MIN_STAYS = 2  # completed periods in MAN from which their mean is estimated


def estimate_habits(signals: Signals, findings: Findings) -> OperatorSpec:
    """Return the estimated habits of a loop's operator, and add the estimates to the findings."""
    habits = _estimate_manual_periods(signals, findings)
    sp = signals.sp[signals.complete]
    changes = np.flatnonzero(np.diff(sp) != 0)
    if not len(changes):
        findings.warnings.append("SP never moved")
        return habits
    if signals.has_continuous_sp:
        findings.warnings.append("SP moves continuously: it is simulated by a model, and not by operator moves")
        return habits
    max_gap = max(1, round(_MAX_MOVE_SECONDS / signals.interval))
    starts = changes[np.concatenate([[True], np.diff(changes) > max_gap])]
    moves, time = len(starts), len(sp) * signals.interval
    # The number of moves has a Poisson distribution; this is the normal limit of Garwood's (1936) interval.
    low, high = max(moves - QUANTILE * moves**0.5, 0.2), moves + QUANTILE * moves**0.5 + 1.0
    interval = findings.note("operator.interval", Estimate(time / moves, time / high, time / low, "s", "identified"))
    # The difference of two independent levels of SP has twice the variance of a level. A record with one or two moves
    # determines the difference, but not the variance of the levels.
    steps = np.diff(sp[np.append(starts, -1)])
    size = findings.note("operator.size", Estimate.measured(float(np.sqrt(np.mean(steps**2) / 2.0)), "% of span"))
    habits = within_limits(replace(habits, interval=interval, size=size))
    if time >= _MIN_DAYS * _DAY_SECONDS:
        times = signals.times[signals.complete]
        habits = replace(habits, day=_estimate_day_profile(times[starts + 1], times))
    return habits


def _estimate_day_profile(move_times: Floats, sample_times: Floats) -> tuple[float, ...]:
    """Return the rate of SP moves in each part of the day from 0 h UTC, relative to the mean rate.

    move_times, sample_times: s since 1970. The rates are those of a Poisson process with a gamma prior around the usual
    profile (Gelman et al., 2013, section 2.6).
    """
    prior = np.repeat(OperatorSpec().day, _PARTS_OF_DAY // len(OperatorSpec().day))
    moves, samples = (np.bincount((times % _DAY_SECONDS / _DAY_SECONDS * _PARTS_OF_DAY).astype(int),
                                  minlength=_PARTS_OF_DAY)
                      for times in (move_times, sample_times))
    share = samples / len(sample_times)  # of the record in each part of the day
    rates = (moves + _PRIOR_MOVES * prior / _PARTS_OF_DAY) / (len(move_times) * share + _PRIOR_MOVES / _PARTS_OF_DAY)
    return tuple(rounded(float(rate), 3) for rate in rates / rates.mean())


def _estimate_manual_periods(signals: Signals, findings: Findings) -> OperatorSpec:
    """Return the mean times in MAN and in AUT, where the record has several periods of each."""
    automatic = signals.automatic[signals.complete]
    if (np.diff(automatic.astype(int)) > 0).sum() < _MIN_STAYS:
        if automatic.any() and not automatic.all():
            findings.warnings.append("too few changes to MAN and back to estimate how often they occur")
        return OperatorSpec()

    def mean_stay(key: str, mask: Booleans) -> float:
        stays = len(find_runs(mask, 1))
        # The log of the mean of n exponentially distributed times has a standard deviation of 1 / sqrt(n).
        mean = Estimate.from_factor(float(mask.sum()) / stays * signals.interval, exp(QUANTILE / stays**0.5), "s")
        return findings.note(f"operator.{key}", mean)

    return within_limits(OperatorSpec(manual=mean_stay("manual", ~automatic),
                                      automatic=mean_stay("automatic", automatic)))
