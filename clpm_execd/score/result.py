"""The score of a detector: counts of events, alarms and time, and what follows from them.

A score that is undefined (precision without an alarm, recall without an event) is None, and no number replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Tally:
    """The counts of one fault name, or of all together, and the scores that follow from them.

    Attributes
    ----------
    name : str
    events, detected_events : int
        Events, and how many of them a correct alarm overlaps.
    correct_alarms, wrong_alarms, unjudged_alarms : int
        Alarms; those without judged time are unjudged.
    true_positive, false_positive, false_negative : int
        Time, ns.
    delays : list of int
        Delays of the detected events, ns.
    """

    name: str
    events: int = 0
    detected_events: int = 0
    correct_alarms: int = 0
    wrong_alarms: int = 0
    unjudged_alarms: int = 0
    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    delays: list[int] = field(default_factory=list)

    @property
    def judged_alarms(self) -> int:
        return self.correct_alarms + self.wrong_alarms

    @property
    def precision(self) -> float | None:
        return _ratio(self.correct_alarms, self.judged_alarms)

    @property
    def recall(self) -> float | None:
        return _ratio(self.detected_events, self.events)

    @property
    def f1(self) -> float | None:
        return _harmonic_mean(self.precision, self.recall)

    @property
    def time_precision(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def time_recall(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def time_f1(self) -> float | None:
        return _harmonic_mean(self.time_precision, self.time_recall)

    @property
    def median_delay(self) -> float | None:
        """In ns."""
        return float(median(self.delays)) if self.delays else None

    @property
    def longest_delay(self) -> float | None:
        """In ns."""
        return float(max(self.delays)) if self.delays else None

    def add(self, other: Tally) -> None:
        for name in ("events", "detected_events", "correct_alarms", "wrong_alarms", "unjudged_alarms", "true_positive",
                     "false_positive", "false_negative"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays += other.delays


@dataclass(frozen=True, slots=True)
class ControlCount:
    """How often a kind of negative control occurred, and how often a wrong alarm is attributed to it."""

    kind: str
    occurrences: int
    with_alarm: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong alarm or a missed event.

    Attributes
    ----------
    loop : str
    start, end : int
        ns since 1970, within the observation.
    actual : str
        The fault of a missed event, or the fault or negative control that covers most of a wrong alarm, or `healthy`.
    predicted : str
        The name of a wrong alarm, or of the alarm that covers most of a missed event, or `nothing`.
    """

    loop: str
    start: int
    end: int
    actual: str
    predicted: str


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one detector.

    Attributes
    ----------
    by, overlap, all_present
        The rules that were chosen, see `score`.
    tallies : tuple of Tally
        One for each name that has an event or an alarm, in the order of FAULTS.
    total : Tally
        The tally of all alarms and events.
    controls : tuple of ControlCount
    confusion : mapping
        Actual name to predicted name to count.
    misclassifications, control_alarms, false_alarms : int
        Wrong alarms by what they are attributed to.
    loops : int
    loop_days : float
        Observation of all loops together, days.
    false_positives, false_negatives : tuple of Mistake
        Each wrong alarm and each missed event, by loop and time.
    unobserved_alarms : int
        Alarms that lie outside of the time that the ground truth covers; no other number counts them.
    """

    by: str
    overlap: float
    all_present: bool
    tallies: tuple[Tally, ...]
    total: Tally
    controls: tuple[ControlCount, ...]
    confusion: Mapping[str, Mapping[str, int]]
    misclassifications: int
    control_alarms: int
    false_alarms: int
    loops: int
    loop_days: float
    false_positives: tuple[Mistake, ...] = ()
    false_negatives: tuple[Mistake, ...] = ()
    unobserved_alarms: int = 0

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 by event of the names that have an event; a name without an alarm counts as 0."""
        scores = [tally.f1 or 0.0 for tally in self.tallies if tally.events]
        return sum(scores) / len(scores) if scores else None

    @property
    def false_alarm_rate(self) -> float | None:
        """False alarms per loop-day."""
        return self.false_alarms / self.loop_days if self.loop_days else None


def _ratio(part: int, total: int) -> float | None:
    return part / total if total else None


def _harmonic_mean(one: float | None, other: float | None) -> float | None:
    if one is None and other is None:
        return None
    return 2.0 * one * other / (one + other) if one and other else 0.0
