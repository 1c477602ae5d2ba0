"""The common form of the hypotheses about a loop, and the one criterion that chooses among rivals.

Hypotheses of a group explain the same signal: OP, the position of the valve, or PV. Each is fitted with what is chosen
so far as its prior, and replaces it where it gains more than its threshold (`thresholds.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import NamedTuple, Protocol

from clpm_execd.identification.closed_loop.estimator import ClosedLoop
from clpm_execd.identification.closed_loop.pid_regression import PidLaw
from clpm_execd.identification.estimates import ComparedHypothesis, Findings
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.process.process_law import ProcessLaw
from clpm_execd.identification.valve.stiction import StictionTest
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import LoopSpec


class LoopData(NamedTuple):
    """The data of a fit. resolutions: of PV and OP, %. law: the regression of a PID law at the samples, if any."""

    signals: Signals
    resolutions: tuple[float, float]
    law: PidLaw | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted hypothesis.

    loop: the loop with the estimated parameters. log_likelihood: of the signal that it explains, without the constant
    that its rivals share. gain: improvement over the prior, of Schwarz's criterion (1978). threshold: the gain above
    which it is chosen. bic: Schwarz's criterion. residuals: of PV. stem: (T,) position of a sticking valve, %.
    stiction: the comparison of a following with a sticking valve. joint: the estimates of the whole loop at the
    controller's scans. findings: the hypothesis's estimates and warnings.
    """

    name: str
    loop: LoopSpec
    log_likelihood: float = 0.0
    gain: float = 0.0
    threshold: float = 0.0
    bic: float = inf
    residuals: ProcessLaw | None = None
    stem: Floats | None = None
    stiction: StictionTest | None = None
    joint: ClosedLoop | None = None
    findings: Findings = field(default_factory=Findings)


class Hypothesis(Protocol):
    """An explanation of one of the signals of a loop."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the best fit; None where it does not apply."""


def choose(groups: Sequence[Sequence[Hypothesis]], data: LoopData, prior: Fitted, findings: Findings) -> Fitted:
    """Return the hypothesis that is chosen in the last group, and add the findings of all chosen ones and their table.

    The first hypothesis of a group is the simplest: where it does not apply the group is left out.
    """
    chosen = prior
    for first, *rivals in groups:
        base = first.fit(data, chosen)
        if base is None:
            continue
        chosen, table = base, [base]
        for rival in rivals:
            fitted = rival.fit(data, chosen)
            if fitted is not None:
                table.append(fitted)
                chosen = fitted if fitted.gain > fitted.threshold else chosen
        findings.take(chosen.findings)
        findings.hypotheses += [ComparedHypothesis(one.name, one.log_likelihood, one.gain, one.threshold, one is chosen)
                                for one in table if isfinite(one.log_likelihood)]
    return chosen
