"""All thresholds by which hypotheses about a loop are chosen, each with its source or the experiment that set it.

The population of the experiments are loops as tests/identification/test_recovery.py draws them: flow, pressure, level
and temperature, with visible stiction, aggressive tuning, an external oscillation (another loop's limit cycle or a wave
with a third harmonic), or healthy, recorded every 1, 5, 10 and 30 s.
"""

from __future__ import annotations

from typing import NamedTuple


class StictionLimits(NamedTuple):
    """Thresholds of valve/stiction.py."""

    # Improvement of Schwarz's criterion. Of 512 healthy, aggressive and externally driven loops of the population three
    # gain more with the statistic below; of 78 sticking valves two gain less.
    gain: float = 25.0
    # Vuong's statistic: a false-alarm probability of 1 in 40.
    min_z: float = 2.0
    # S / range of OP in a limit cycle, in which OP moves by S before the stem slips: a record may have one or two slips
    # then, of which Vuong's statistic does not judge.
    rest_shares: tuple[float, float] = (0.8, 1.2)
    # Lags, samples, over which differences of log-likelihoods may be correlated.
    vuong_band: int = 10
    # Periods of an external oscillation in a record: fewer are drift.
    min_periods: int = 4
    # Drop of twice the log-likelihood within which a valve is in the interval: 10 is about the 99 % quantile of
    # chi-squared with two degrees of freedom, a tenth of the gain covers the rounding of OP and of slip times.
    likelihood_drop: float = 10.0
    likelihood_drop_share: float = 0.1
    # Smallest half widths of the intervals of S and of J, as fractions of S.
    min_interval_shares: tuple[float, float] = (0.05, 0.1)
    # A slip jump below this share of S is hardly visible; it counts as deadband unless it gains jump_gain.
    jump_share: float = 0.1
    jump_gain: float = 15.0
    # A signal with a smaller range, %, is constant: a thousandth of a 12-bit converter's step.
    min_range_percent: float = 1e-5


STICTION = StictionLimits()


class LoopLimits(NamedTuple):
    """Thresholds of controller, process and load. Gains are of twice the log-likelihood or of the BIC."""

    # Standard deviation of a log gain: a gain with an interval wider than a factor of 1.8 either way is not used.
    max_log_std: float = 0.35
    # R2 of OP's moves below which there is no PID law. Records of an operator's OP have up to 0.2.
    min_r_squared: float = 0.3
    # For OP that is recorded a sample late or early: of 139 records of a refinery and of the plant every 1 to 75 s none
    # that is on time gains more than 8, and of 264 copies with OP late or early 260 gain 54 and more.
    shift_gain: float = 30.0
    # For a process model other than the type's: twice the 10 of strong evidence for a parameter by Schwarz's criterion,
    # since a slow process looks like an integrator in a short record.
    model_gain: float = 20.0
    # For a periodic load: about the gain by a line that noise has with a probability of 1e-6.
    period_gain: float = 50.0
    # For a derivative in a controller that is faster than the samples: it gains hundreds in loops that have one, and up
    # to 21 in loops without.
    derivative_gain: float = 40.0
    # For a set-point weight other than 0 and 1, which competes with the free times of SP moves: three parameters.
    weight_gain: float = 20.0
    # Largest log ratio of the generalised innovation variance of a loop at its scans to that of a regression.
    regression_gain: float = 0.2


LOOP = LoopLimits()
