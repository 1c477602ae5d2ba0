"""What was found about a loop: numbers that say how sure they are and where they come from, and words for the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, log
from typing import Literal

Origin = Literal["identified", "record", "prior"]

QUANTILE = 1.645  # of the normal distribution, for intervals of 90 %
_MOST = 7.0  # of a logarithm: what is further off is as unknown


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval of 90 %, low to high, in its unit; of a prior the range that is typical."""

    value: float
    low: float
    high: float
    unit: str
    source: Origin

    @classmethod
    def read(cls, value: float, unit: str) -> Estimate:
        """One that was read off the record as it is."""
        return cls(value, value, value, unit, "record")

    @classmethod
    def found(cls, interval: tuple[float, float, float], unit: str) -> Estimate:
        """An identified one: value, low, high."""
        return cls(*interval, unit, "identified")

    @classmethod
    def within(cls, value: float, factor: float, unit: str) -> Estimate:
        """An identified one that is right within a factor."""
        return cls(value, value / factor, value * factor, unit, "identified")

    @classmethod
    def about(cls, value: float, deviation: float, unit: str) -> Estimate:
        """An identified one whose logarithm has this standard deviation."""
        return cls.within(value, exp(min(QUANTILE * deviation, _MOST)), unit)

    @classmethod
    def typical(cls, value: float, unit: str, factor: float = 3.0) -> Estimate:
        """A prior, right within a factor."""
        low, high = sorted((value / factor, value * factor))
        return cls(value, low, high, unit, "prior")

    def wider(self, below: float, above: float, *, relative: bool) -> Estimate:
        """The same with a further doubt: how far below and above the value may be, or its logarithm."""
        if not relative:
            return replace(self, low=max(self.value - hypot(self.value - self.low, below), 0.0),
                           high=self.value + hypot(self.high - self.value, above))
        low, high = hypot(log(self.value / self.low), below), hypot(log(self.high / self.value), above)
        return replace(self, low=self.value * exp(-low), high=self.value * exp(high))


class Findings:
    """What is known of a loop so far."""

    def __init__(self) -> None:
        self.estimates: dict[str, Estimate] = {}
        self.warnings: list[str] = []

    def note(self, key: str, estimate: Estimate, digits: int = 4) -> float:
        """Keep an estimate; its value, rounded as loops.toml has it."""
        self.estimates[key] = estimate
        return rounded(estimate.value, digits)

    def take(self, other: Findings) -> None:
        """All that another has found."""
        self.estimates |= other.estimates
        self.warnings += other.warnings


def rounded(value: float, digits: int = 4) -> float:
    """To so many significant digits: what is written is what is simulated."""
    return float(f"{value:.{digits}g}")
