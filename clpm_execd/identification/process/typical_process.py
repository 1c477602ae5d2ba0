"""Defaults where a record shows none: the process that a controller's tuning implies, and a controller tuned by a rule.

The first is also the prior of a fit.
"""

from __future__ import annotations

from dataclasses import replace

from clpm_execd.identification.closed_loop.pid_regression import SCAN
from clpm_execd.identification.estimates import Estimate, Findings
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import LoopSpec, ProcessSpec, SensorSpec
from clpm_execd.plant.tuning import apply_tuning_rule, tune_controller

_TUNING_FACTOR = 5.0  # of the typical range of a default, either way: as of those of the process
_MAX_FACTOR = 10.0  # The implied process is at most this much slower or faster than the typical one.


def process_implied_by_tuning(loop: LoopSpec, interval: float) -> ProcessSpec:
    """Return the typical process of the loop's type, scaled in time and gain to what the controller is tuned for.

    The limit that the rule sets for the noise in OP is left out: it depends on the ranges of PV and OP.
    """
    process, controller = template(loop.type, loop.id, loop.range).process, loop.controller
    if controller.action is None:  # not identified
        return process
    if controller.action == "direct":
        process = replace(process, gain=-process.gain)
    loop = replace(loop, process=process, sensor=SensorSpec(noise=0.0))
    gain, reset = controller.gain or 1.0, controller.reset or 0.0
    _, rule_reset = apply_tuning_rule(loop, min(interval, SCAN))
    time_scale = _limit(reset / rule_reset) if reset > 0 and rule_reset > 0 else 1.0
    process = replace(process, tau=tuple(time_scale * tau for tau in process.tau),
                      dead_time=time_scale * process.dead_time)
    rule_gain, _ = apply_tuning_rule(replace(loop, process=process), min(interval, SCAN))
    return replace(process, gain=process.gain * rule_gain / gain)


def tune_by_rule(loop: LoopSpec, interval: float, findings: Findings) -> LoopSpec:
    """Return the loop with a PI controller that a rule tunes for its process, and note the settings as defaults."""
    rule = tune_controller(loop, min(interval, SCAN))
    gain = findings.note("controller.gain", Estimate.from_prior(rule.gain or 1.0, "%/%", _TUNING_FACTOR))
    reset = findings.note("controller.reset", Estimate.from_prior(rule.reset or 0.0, "s", _TUNING_FACTOR))
    return replace(loop, controller=replace(rule, gain=gain, reset=reset, derivative=0.0))


def other_model(process: ProcessSpec) -> ProcessSpec | None:
    """Return the process of the model most easily mistaken for this one's in a short record; None without one."""
    total = sum(process.tau) or 20.0 * max(process.dead_time, 1.0)
    if process.model == "sopdt":
        return None
    if process.model == "integrator":
        return ProcessSpec(model="fopdt", gain=process.gain * total, tau=(total,), dead_time=process.dead_time)
    return ProcessSpec(model="integrator", gain=process.gain / total, tau=(), dead_time=process.dead_time)


def _limit(factor: float) -> float:
    return min(max(factor, 1.0 / _MAX_FACTOR), _MAX_FACTOR)
