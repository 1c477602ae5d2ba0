"""The operator's habits: how often, how far and when the set point is moved, and how long a loop is left in MAN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.identification.arx import has_continuous_sp
from clpm_execd.identification.estimates import QUANTILE, Estimate, Findings, rounded
from clpm_execd.identification.loop_data import Booleans, Signals
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import OperatorSpec

_TOGETHER = 60.0  # s: changes of SP no further apart are one move
_DAY = 86_400.0  # s
_DAYS = 3.0  # of a record that tells when in the day SP is moved
_PARTS = 8  # of a day
_MOVES = 24  # that are worth as much as what is usual by day and by night
_STAYS = 2  # times in MAN, that have an end, of which a habit is made


def estimate_habits(signals: Signals, told: Findings) -> OperatorSpec:
    """The habits of a loop's operator."""
    habits = _moves_to_manual(signals, told)
    sp = signals.sp[signals.complete]
    changes = np.flatnonzero(np.diff(sp) != 0)
    if not len(changes):
        told.warnings.append("SP never moved")
        return habits
    if has_continuous_sp(signals):
        told.warnings.append("SP moves continuously: it is simulated by a model, and not by operator moves")
        return habits
    together = max(1, round(_TOGETHER / signals.interval))
    begins = changes[np.concatenate([[True], np.diff(changes) > together])]
    moves, time = len(begins), len(sp) * signals.interval
    # The number of moves in a time is Poisson's; the interval is that of Garwood (1936), by its normal limit.
    low, high = max(moves - QUANTILE * moves**0.5, 0.2), moves + QUANTILE * moves**0.5 + 1.0
    every = told.note("operator.interval", Estimate(time / moves, time / high, time / low, "s", "identified"))
    # From one level to another that has nothing to do with it, SP goes the root of 2 times as far as from its mean: a
    # record with a step or two tells that, and not how far apart its levels are over a long time.
    steps = np.diff(sp[np.append(begins, -1)])
    size = told.note("operator.size", Estimate.measured(float(np.sqrt(np.mean(steps**2) / 2.0)), "% of span"))
    habits = replace(habits, interval=min(max(every, 1.0), 1e8), size=min(size, 50.0))
    if time >= _DAYS * _DAY:
        when = signals.times[signals.complete]
        habits = replace(habits, day=_day(when[begins + 1], when))
    return habits


def _day(moved: Floats, recorded: Floats) -> tuple[float, ...]:
    """How much oftener than on average SP is moved in each part of the day, from 0 h UTC; times in s since 1970.

    The rates are Poisson's, held to what is usual as if that had been seen in some moves more (a gamma prior: Gelman
    et al., 2013, section 2.6).
    """
    usual = np.repeat(OperatorSpec().day, _PARTS // len(OperatorSpec().day))
    moves, samples = (np.bincount((times % _DAY / _DAY * _PARTS).astype(int), minlength=_PARTS)
                      for times in (moved, recorded))
    share = samples / len(recorded)  # of the record, that lies in each part
    rates = (moves + _MOVES * usual / _PARTS) / (len(moved) * share + _MOVES / _PARTS)
    return tuple(rounded(float(rate), 3) for rate in rates / rates.mean())


def _moves_to_manual(signals: Signals, told: Findings) -> OperatorSpec:
    """How long the loop is in MAN, and how long out of it, where the record has several of each."""
    known = signals.automatic[signals.complete]
    manual, automatic = _stays(~known), _stays(known)
    returns = int((np.diff(known.astype(int)) > 0).sum())
    if returns < _STAYS:
        if not known.all() and known.any():
            told.warnings.append("too few changes to MAN and back to estimate how often they occur")
        return OperatorSpec()
    spec = OperatorSpec()
    for key, stays in (("manual", manual), ("automatic", automatic)):
        mean = float(stays.sum()) / len(stays) * signals.interval
        # A mean of n times that end by chance alone, on a logarithmic scale.
        factor = float(np.exp(QUANTILE / np.sqrt(len(stays))))
        value = told.note(f"operator.{key}", Estimate.from_factor(mean, factor, "s"))
        spec = replace(spec, manual=value) if key == "manual" else replace(spec, automatic=value)
    return replace(spec, automatic=min(spec.automatic, 1e8), manual=min(spec.manual, 1e8))


def _stays(within: Booleans) -> Floats:
    """Lengths of the stretches in samples, those at the ends of the record too, which go on beyond it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], within.astype(int), [0]])))
    return np.diff(edges)[::2].astype(float)
