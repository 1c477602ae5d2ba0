"""All limits by which hypotheses about a loop are chosen, each with its source or the experiment that set it.

A population is one of loops of the plant as tests/identification/test_recovery.py draws them: flow, pressure, level and
temperature, with visible stiction, tuned aggressively, driven by another loop's limit cycle or by a wave with its third
harmonic, or healthy, recorded every 1, 5, 10 and 30 s.
"""

from __future__ import annotations

from typing import NamedTuple


class StictionLimits(NamedTuple):
    """Of valve/stiction.py."""

    # Of Schwarz's criterion. Among 384 healthy, aggressive and driven loops of a population none gains more at most
    # resolutions, 4 of 384 gain more than 10.
    gain: float = 12.0
    # Of Vuong's statistic, where one resolution decides alone: none of the same loops is beyond 5 with that gain, one
    # of 45 refinery records labelled non-sticky is at 6, and cycles as fast as a few samples are beyond 13.
    plain_z: float = 7.0
    # The same where most resolutions agree: one chance in 40.
    least_z: float = 2.0
    # Lags over which differences of log-likelihoods may depend on each other: the reach of the models.
    vuong_band: int = 10
    # A record has at least so many periods of an oscillation from outside: fewer are drift.
    least_periods: int = 4
    # Of twice the log-likelihood: valves within are likely; ten is 99 % of two parameters' chi-squared, and a tenth of
    # the gain covers what the rounding of OP and slips between samples leave open.
    likely: float = 10.0
    likely_share: float = 0.1
    # Of S: no interval of S, and of J, is narrower to either side.
    least_interval_shares: tuple[float, float] = (0.05, 0.1)
    # A jump of less than this share of S hardly shows: it counts as deadband unless a jump gains so much.
    jump_share: float = 0.1
    jump_gain: float = 15.0
    # A signal that moves by less does not move at all: a thousandth of a 12-bit converter's step.
    still_percent: float = 1e-5


STICTION = StictionLimits()


class LoopLimits(NamedTuple):
    """Of controller, process and load. A gain is of twice the log-likelihood, or of Schwarz's criterion."""

    # Standard deviation of a logarithm: a gain that is less sure than within 1.8 times to either side is a default.
    max_log_std: float = 0.35
    # Share of the variance of OP's moves: below it no PID law is seen. Records of an operator's OP have up to 0.2.
    min_r_squared: float = 0.3
    # Another model of the process than the type's: 10 for a parameter by Schwarz, doubled, since a slow process passes
    # for an integrator in a record that is short for it.
    model_gain: float = 20.0
    # Models that are nearer than that leave open which is right, and the dead time has the interval of both.
    ambiguity_gain: float = 15.0
    # A periodic load. Noise that has one chance in a million of a line gains so much by it.
    period_gain: float = 50.0
    # A derivative between the samples: those of loops that have one gain hundreds, of loops without up to 21.
    derivative_gain: float = 40.0
    # A weight of SP that is neither 0 nor 1: the moments of SP's moves are free in the same fit, three parameters.
    weight_gain: float = 20.0
    # By how much the logarithm of the errors' generalised variance may be above that of a regression; and of a first
    # fit, at a dead time that may be far off.
    regression_gain: float = 0.2
    first_regression_gain: float = 0.8


LOOP = LoopLimits()
