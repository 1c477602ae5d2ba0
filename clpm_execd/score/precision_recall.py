"""Precision and recall of a detector at each level of its own score: what another limit would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clpm_execd.score.alarms import Alarm
from clpm_execd.score.ground_truth import GroundTruth
from clpm_execd.score.rules import DEFAULT_OVERLAP, score

_MAX_POINTS = 50  # thresholds: a curve that is drawn has no more detail


@dataclass(frozen=True, slots=True)
class Point:
    """Precision and recall by event, of the alarms whose score is at least `threshold`."""

    threshold: float
    precision: float
    recall: float


def find_precision_recall(truth: GroundTruth, alarms: Sequence[Alarm], *, by: str = "kind",
                          overlap: float = DEFAULT_OVERLAP, all_present: bool = False,
                          affected: str = "ignore") -> list[Point]:
    """Return the curve from the highest threshold to the lowest; it is empty if an alarm has no score.

    Parameters
    ----------
    truth, alarms, by, overlap, all_present, affected
        As those of `score`.
    """
    levels = sorted({alarm.score for alarm in alarms if alarm.score is not None}, reverse=True)
    if any(alarm.score is None for alarm in alarms) or not levels:
        return []
    count = min(len(levels), _MAX_POINTS)
    thresholds = [levels[(i + 1) * len(levels) // count - 1] for i in range(count)]
    points = []
    for threshold in thresholds:
        total = score(truth, [alarm for alarm in alarms if (alarm.score or 0.0) >= threshold], by=by, overlap=overlap,
                      all_present=all_present, affected=affected).total
        if total.precision is not None and total.recall is not None:
            points.append(Point(threshold, total.precision, total.recall))
    return points


def compute_average_precision(points: Sequence[Point]) -> float | None:
    """Return the precision averaged over recall, each step of recall with its own precision; None without a curve.

    Alarms that touch are one alarm, so a lower threshold may also lower recall; such a step does not count.
    """
    if not points:
        return None
    area = recall = 0.0
    for point in points:
        if point.recall > recall:
            area += (point.recall - recall) * point.precision
            recall = point.recall
    return area
