"""What is estimated about a loop: numbers with their 90 % intervals and sources, and warnings.

Every number that a fitted loop is made of is an Estimate, and says whether the record showed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal

Origin = Literal["identified", "record", "prior"]

QUANTILE = 1.645  # of the normal distribution, for intervals of 90 %
_MOST = 7.0  # of a logarithm: what is further off is as unknown


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Parameters
    ----------
    value : float
        In `unit`.
    low, high : float
        The ends of the 90 % interval, in `unit`; of a default the range that is typical; of a number that was read from
        the record the value itself.
    unit : str
        The unit, such as "%/%"; empty for a number without one.
    source : str
        "identified" from the signals, "record" where it was read from the record, or "prior" where it is a default
        because the record does not show it.
    """

    value: float
    low: float
    high: float
    unit: str
    source: Origin

    @classmethod
    def measured(cls, value: float, unit: str) -> Estimate:
        """Return a number that was read from the record."""
        return cls(value, value, value, unit, "record")

    @classmethod
    def from_interval(cls, interval: tuple[float, float, float], unit: str) -> Estimate:
        """Return an identified number: value, low, high."""
        return cls(*interval, unit, "identified")

    @classmethod
    def from_factor(cls, value: float, factor: float, unit: str) -> Estimate:
        """Return an identified number that is within a factor of the true one."""
        return cls(value, value / factor, value * factor, unit, "identified")

    @classmethod
    def from_log_std(cls, value: float, deviation: float, unit: str) -> Estimate:
        """Return an identified number whose logarithm has this standard deviation."""
        return cls.from_factor(value, exp(min(QUANTILE * deviation, _MOST)), unit)

    @classmethod
    def from_prior(cls, value: float, unit: str, factor: float = 3.0) -> Estimate:
        """Return a default that is within a factor of typical numbers."""
        low, high = sorted((value / factor, value * factor))
        return cls(value, low, high, unit, "prior")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An explanation of PV that was compared with a simpler one.

    Parameters
    ----------
    name : str
        In words.
    log_likelihood : float
        Of PV's prediction errors, without the constant that all have in common.
    gain : float
        By how much its criterion is better than that of the explanation that it competes with: Schwarz's (1978) where
        their numbers of parameters differ, else twice the log-likelihood. Zero for that one itself.
    threshold : float
        The gain from which it is chosen.
    is_chosen : bool
        Whether it was chosen.
    """

    name: str
    log_likelihood: float
    gain: float
    threshold: float
    is_chosen: bool


class Findings:
    """What is known of a loop so far."""

    def __init__(self) -> None:
        self.estimates: dict[str, Estimate] = {}
        self.warnings: list[str] = []
        self.hypotheses: list[Hypothesis] = []

    def note(self, key: str, estimate: Estimate, digits: int = 4) -> float:
        """Keep an estimate; its value, rounded as loops.toml has it."""
        self.estimates[key] = estimate
        return rounded(estimate.value, digits)

    def take(self, other: Findings) -> None:
        """All that another has found."""
        self.estimates |= other.estimates
        self.warnings += other.warnings
        self.hypotheses += other.hypotheses


def rounded(value: float, digits: int = 4) -> float:
    """To so many significant digits: what is written is what is simulated."""
    return float(f"{value:.{digits}g}")
