"""A monitor's verdicts against the truth: the rules by which a control-loop monitor is measured, and its marks.

The rules are those of `rules`; what is read is told by `truth` and `verdicts`.
"""

from clpm_execd.score.alarms import Verdict, read_verdicts
from clpm_execd.score.ground_truth import GroundTruth, read_truth
from clpm_execd.score.rules import Score, score

__all__ = ["GroundTruth", "Score", "Verdict", "read_truth", "read_verdicts", "score"]
