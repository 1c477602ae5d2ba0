"""Estimates of a loop with their 90 % intervals and sources, compared hypotheses, and warnings.

Every number of a fitted loop is an Estimate, whose source is the record or a default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import numpy as np

from clpm_execd.plant.specs import ControllerSpec, DisturbanceSpec, OperatorSpec, ProcessSpec, SensorSpec

Spec = TypeVar("Spec", ControllerSpec, DisturbanceSpec, OperatorSpec, ProcessSpec, SensorSpec)
Interval = tuple[float, float, float]  # an estimate, and the low and high end of its 90 % interval
Origin = Literal["identified", "record", "prior"]

QUANTILE = 1.645  # of the standard normal distribution, for 90 % intervals
MAX_LOG_HALF_WIDTH = 7.0  # of an interval: a factor of 1100 to either side, beyond which the number is unknown


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Parameters
    ----------
    value : float
        In `unit`.
    low, high : float
        The ends of the 90 % interval, in `unit`. For a default they are the typical range, and for a number that was
        read from the record the value itself.
    unit : str
        The unit, such as "%/%"; empty for a number without one.
    source : str
        "identified" for a number from the signals, "record" for one that was read from the record, or "prior" for a
        default, which is used where the record does not show the number.
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
    def from_interval(cls, interval: Interval, unit: str) -> Estimate:
        """Return an identified number."""
        return cls(*interval, unit, "identified")

    @classmethod
    def from_factor(cls, value: float, factor: float, unit: str) -> Estimate:
        """Return an identified number that is within a factor of the true one."""
        return cls(value, value / factor, value * factor, unit, "identified")

    @classmethod
    def from_prior(cls, value: float, unit: str, factor: float = 3.0) -> Estimate:
        """Return a default that is within a factor of typical numbers."""
        low, high = sorted((value / factor, value * factor))
        return cls(value, low, high, unit, "prior")


@dataclass(frozen=True, slots=True)
class ComparedHypothesis:
    """A row of the table of hypotheses: an explanation of OP, the valve or PV that was compared with a simpler one.

    Parameters
    ----------
    name : str
        The explanation in words.
    log_likelihood : float
        The log-likelihood of the prediction errors, without the constant that the rivals share; NaN of streamed models.
    gain : float
        The improvement over the simpler explanation: of Schwarz's criterion (1978) where the numbers of parameters
        differ, else of twice the log-likelihood; for streamed models, in decades of their distance from the record. It
        is zero for the simplest explanation.
    threshold : float
        The gain above which the hypothesis is chosen.
    is_chosen : bool
        Whether it was chosen.
    """

    name: str
    log_likelihood: float
    gain: float
    threshold: float
    is_chosen: bool


class Findings:
    """Collects the estimates, warnings and compared hypotheses of a loop."""

    def __init__(self) -> None:
        self.estimates: dict[str, Estimate] = {}
        self.warnings: list[str] = []
        self.hypotheses: list[ComparedHypothesis] = []

    def note(self, key: str, estimate: Estimate, digits: int = 4) -> float:
        """Add an estimate, and return its value as rounded for loops.toml."""
        self.estimates[key] = estimate
        return rounded(estimate.value, digits)

    def take(self, other: Findings) -> None:
        """Add the findings of another collector."""
        self.estimates |= other.estimates
        self.warnings += other.warnings
        self.hypotheses += other.hypotheses


def within_limits(spec: Spec) -> Spec:
    """Return the specification with its numbers within the limits that a configuration has to keep."""
    numbers: dict[str, Any] = {}
    for item in fields(spec):
        value, about = getattr(spec, item.name), item.metadata["parameter"]
        if isinstance(value, float | tuple):
            limited = np.clip(value, about.low, about.high).tolist()
            numbers[item.name] = tuple(limited) if isinstance(value, tuple) else limited
    return replace(spec, **numbers)


def rounded(value: float, digits: int = 4) -> float:
    """Return the value to `digits` significant digits, so that loops.toml has exactly what is simulated."""
    return float(f"{value:.{digits}g}")
