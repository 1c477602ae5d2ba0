"""Hypotheses about what drives the process: OP, OP and a periodic load, or the stem of a sticking valve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.identification.estimates import Estimate, Findings
from clpm_execd.identification.hypotheses import Fitted, LoopData
from clpm_execd.identification.oscillation import find_oscillation
from clpm_execd.identification.process.typical_process import other_model, process_implied_by_tuning
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.identification.valve.stiction import find_stiction
from clpm_execd.plant.specs import FaultSpec


class FollowingValve:
    """PV follows OP."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop as it is; None where the record shows nothing of the valve."""
        typical = process_implied_by_tuning(prior.loop, data.signals.interval)
        test = find_stiction(data.signals, filter(None, (typical, other_model(typical))))
        if test is None:
            return None
        return replace(prior, name="PV follows OP", log_likelihood=test.log_likelihoods[0], gain=0.0, threshold=0.0,
                       stiction=test, findings=Findings())


class DrivenValve:
    """A periodic load acts besides, such as the limit cycle of another loop."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop as it is; `PeriodicLoad` looks for the period in the residuals of the identified process."""
        test = prior.stiction
        if test is None:
            return None
        return replace(prior, name="PV follows OP, with a periodic load", log_likelihood=test.log_likelihoods[1],
                       gain=test.bics[0] - test.bics[1])


class StickingValve:
    """PV follows the stem of a valve that sticks, or has deadband."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with the fault and the stem position."""
        test, loop = prior.stiction, prior.loop
        if test is None:
            return None
        is_sticky = test.shows_stiction(0.0 if loop.controller.action is None else float(np.sign(loop.process.gain)))
        fitted = replace(prior, name="PV follows a sticking valve", log_likelihood=test.log_likelihoods[2],
                         threshold=LIMITS.gain, gain=test.gain if is_sticky else min(test.gain, 0.0))
        if not is_sticky:
            return fitted
        valve = test.search.size(data.signals, test.gain, has_limit_cycle=find_oscillation(data.signals) is not None)
        findings = Findings()
        s = findings.note("stiction.S", Estimate.from_interval(valve.s, "% of travel"))
        j = findings.note("stiction.J", Estimate.from_interval(valve.j, "% of travel"))
        findings.warnings.append(
            f"valve stiction: S about {valve.s[0]:.3g} %, J about {valve.j[0]:.3g} % of travel" if j > 0 else
            f"valve deadband, or stiction without a visible slip jump: about {valve.s[0]:.3g} % of travel")
        fault = (FaultSpec(kind="stiction", parameters={"S": min(s, 100.0), "J": min(j, 100.0)}) if j > 0 else
                 FaultSpec(kind="deadband", parameters={"width": min(s, 100.0)}))
        return replace(fitted, loop=replace(loop, faults=(fault,)), stem=valve.stem, joint=None,
                       findings=findings)
