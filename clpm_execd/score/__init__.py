"""A detector's alarms against the ground truth: both are read from files or the bucket, and scored by `rules`.

This room may import the plant only.
"""

from clpm_execd.score.alarms import Alarm, read_alarms
from clpm_execd.score.ground_truth import GroundTruth, read_truth
from clpm_execd.score.precision_recall import compute_average_precision, find_precision_recall
from clpm_execd.score.result import Score
from clpm_execd.score.rules import score

__all__ = [
    "Alarm", "GroundTruth", "Score", "compute_average_precision", "find_precision_recall", "read_alarms", "read_truth",
    "score",
]
