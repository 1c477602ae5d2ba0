"""Hypotheses about what drives the process: OP, OP and a periodic load, or the stem of a sticking valve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.identification.estimates import Estimate, Findings
from clpm_execd.identification.hypotheses import Fitted, LoopData
from clpm_execd.identification.process.typical_process import process_implied_by_tuning
from clpm_execd.identification.thresholds import STICTION as LIMITS
from clpm_execd.identification.valve.stiction import find_stiction
from clpm_execd.identification.valve.stiction_size import size_stiction
from clpm_execd.plant.specs import FaultSpec


class FollowingValve:
    """PV follows OP."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop as it is; None where the record shows nothing of the valve."""
        controller = prior.loop.controller
        sense = 0.0 if controller.action is None else float(np.sign(prior.loop.process.gain))
        search = find_stiction(data.signals, sense)
        if not search.tests:
            return None
        return replace(prior, name="PV follows OP", log_likelihood=search.shown.log_likelihoods[0], gain=0.0,
                       threshold=0.0, stiction=search, findings=Findings())


class DrivenValve:
    """A periodic load acts besides, such as the limit cycle of another loop."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop as it is; `PeriodicLoad` looks for the period in the residuals of the identified process."""
        if prior.stiction is None:
            return None
        test = prior.stiction.shown
        return replace(prior, name="PV follows OP, with a periodic load", log_likelihood=test.log_likelihoods[1],
                       gain=test.linear - test.driven)


class StickingValve:
    """PV follows the stem of a valve that sticks, or has deadband."""

    def fit(self, data: LoopData, prior: Fitted) -> Fitted | None:
        """Return the loop with the fault and the stem position."""
        search, name = prior.stiction, "PV follows a sticking valve"
        if search is None:
            return None
        log_likelihood = search.shown.log_likelihoods[2]
        if search.best is None:
            return replace(prior, name=name, log_likelihood=log_likelihood, gain=min(search.gain, 0.0),
                           threshold=LIMITS.gain)
        gain = max(search.gain, search.best.gain)
        valve = size_stiction(data.signals, process_implied_by_tuning(prior.loop, data.signals.interval),
                              search.best.stem, gain)
        if valve is None:
            return None
        findings = Findings()
        s = findings.note("stiction.S", Estimate.from_interval(valve.s, "% of travel"))
        j = findings.note("stiction.J", Estimate.from_interval(valve.j, "% of travel"))
        findings.warnings.append(
            f"valve stiction: S about {valve.s[0]:.3g} %, J about {valve.j[0]:.3g} % of travel" if j > 0 else
            f"valve deadband, or stiction without a visible slip jump: about {valve.s[0]:.3g} % of travel")
        fault = (FaultSpec(kind="stiction", parameters={"S": min(s, 100.0), "J": min(j, 100.0)}) if j > 0 else
                 FaultSpec(kind="deadband", parameters={"width": min(s, 100.0)}))
        return replace(prior, name=name, loop=replace(prior.loop, faults=(fault,)), log_likelihood=log_likelihood,
                       gain=gain, threshold=LIMITS.gain, stem=valve.stem, joint=None, findings=findings)
