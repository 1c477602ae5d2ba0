"""Every kind of fault, each an entry: the configuration's checks, `clpm-execd faults` and the plant all read this.

Numbers are per cent of span, of travel or of output, and seconds, as in all of the plant. A kind of stages 3 to 6
is its effects on the parameters of its stage and nothing else; those of the operator and of the data path, which
act rather than change, are looked up there by their names.
"""

from __future__ import annotations

from clpm_execd.plant.faults import tuning, visibility
from clpm_execd.plant.faults.kinds import Effect, FaultKind
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT
from clpm_execd.plant.specs import Parameter

_DAY, _SHARE = 86400.0, "of samples"


def _p(default: float | str, meaning: str, unit: str = "", low: float = float("-inf"), high: float = float("inf"), *,
       above: bool = False) -> tuple[Parameter, float | str]:
    shown = f"{default:g}" if isinstance(default, float) else default or "required"
    return Parameter(meaning, unit, low, high, above, (), shown), default


_LOOPS = {
    "interaction": 'id = "FIC102"\ntype = "flow"\n\n[[loop]]\nid = "TIC101"\ntype = "temperature"',
    "cascade-broken": 'id = "TIC101"\ntype = "temperature"\n\n[[loop]]\nid = "FIC101"\ntype = "flow"\n'
                      'cascade = "TIC101"',
}


def _example(name: str, given: dict[str, tuple[Parameter, float | str]]) -> str:
    """A loop, or a pair where it takes one, with the fault at its defaults."""
    loop = _LOOPS.get(name, 'id = "FIC101"\ntype = "flow"')
    lines = [f"{key} = {default}" if isinstance(default, float) else f'{key} = "{default or "FIC102"}"'
             for key, (_, default) in given.items()]
    return "\n".join([f"[[loop]]\n{loop}\n", "[[loop.fault]]", f'kind = "{name}"', *lines,
                      'start = "30m"', 'duration = "2h"'])


def _kind(name: str, group: str, stage: int, meaning: str, given: dict[str, tuple[Parameter, float | str]],
          *effects: Effect, seen: visibility.Rule = visibility.always, seen_while: str = "",
          returns: bool = False) -> FaultKind:
    return FaultKind(
        name=name, group=group, stage=stage, meaning=meaning, effects=effects, seen_from=seen, seen_while=seen_while,
        returns=returns, parameters={key: about for key, (about, _) in given.items()},
        defaults={key: default for key, (_, default) in given.items()}, example=_example(name, given))


def _adds(target: str, name: str) -> Effect:
    """The parameter `name` is added."""
    return Effect(target, lambda fault: fault[name])


def _scales(target: str, name: str) -> Effect:
    """The parameter `name` is the factor."""
    return Effect(target, lambda fault: fault[name], scales=True)


def _gate(target: str) -> Effect:
    """Something is on that is off otherwise."""
    return Effect(target, lambda fault: 1.0)


_VALVE = (
    _kind("stiction", "valve", 6, "the stem sticks, then slips: undershoot J < S, no offset J = S, overshoot J > S",
          {"S": _p(4.0, "deadband + stickband", "% of travel", 0.0, 100.0),
           "J": _p(2.0, "slip jump", "% of travel", 0.0, 100.0)},
          _adds("S", "S"), _adds("J", "J"), seen=visibility.stiction, seen_while="controlled"),
    _kind("deadband", "valve", 6, "the stem follows only after OP has turned back by this much",
          {"width": _p(3.0, "lost motion", "% of travel", 0.0, 100.0)},
          _adds("S", "width"), seen=visibility.deadband, seen_while="controlled"),
    _kind("stuck", "valve", 6, "the stem stays where it is", {}, _gate("stuck"), seen_while="controlled"),
    _kind("undersized", "valve", 6, "too small: OP reaches 100 % before the flow is enough",
          {"capacity": _p(0.45, "flow through the open valve, of the healthy one's", "", 0.01, 1.0)},
          _scales("capacity", "capacity"), seen_while="open"),
    _kind("oversized", "valve", 6, "too large: small moves of a nearly closed valve do too much",
          {"capacity": _p(3.0, "flow through the open valve, of the healthy one's", "", 1.0, 20.0)},
          _scales("capacity", "capacity"), seen=visibility.factor("capacity"), seen_while="controlled"),
    _kind("leak", "valve", 6, "the seat passes flow although the valve is closed: felt where less is needed",
          {"flow": _p(10.0, "flow through the closed valve", "% of travel", 0.0, 100.0)},
          _adds("leak", "flow"), seen_while="closed"),
    _kind("slow-actuator", "valve", 6, "the actuator lags more than it did",
          {"lag": _p(20.0, "further lag", "s", 0.0, 1e4, above=True)},
          Effect("follow", tuning.slower, scales=True), seen=visibility.slow, seen_while="controlled"),
)

_TUNING = (
    _kind("sluggish", "tuning", 5, "tuned so that a return to SP takes for ever",
          {"closed_loop": _p(5.0, "time constant of the closed loop", "x (lag + dead time)", 1.0, 50.0)},
          Effect("kp", tuning.sluggish_gain, scales=True), Effect("ki", tuning.sluggish_integral, scales=True),
          seen=visibility.sluggish, seen_while="controlled"),
    _kind("aggressive", "tuning", 5, "tuned so near to instability that it rings",
          {"gain_margin": _p(1.08, "gain margin", "", 1.0, 2.0)},
          Effect("kp", tuning.aggressive_gain, scales=True), Effect("ki", tuning.aggressive_integral, scales=True),
          seen=visibility.fully, seen_while="controlled"),
    _kind("windup", "tuning", 5, "the integral goes on while OP is at its limit", {},
          Effect("unwind", lambda fault: 0.0, scales=True), seen_while="saturated"),
)

_PROCESS = (
    _kind("external-oscillation", "process", 2, "an oscillation from elsewhere, such as another loop's limit cycle",
          {"amplitude": _p(2.0, "amplitude of the load", "% of travel", 0.0, 50.0),
           "period": _p(120.0, "period", "s", 1.0, 1e6),
           "phase": _p(0.0, "phase, where one oscillation reaches several loops", "degrees", -3600.0, 3600.0),
           "harmonic": _p(0.1, "its third harmonic: a square wave has 0.33, less where it was filtered", "", 0.0, 1.0)},
          seen=visibility.against_load("amplitude", 2.0**0.5)),
    _kind("load-step", "process", 2, "the load changes and stays so",
          {"size": _p(5.0, "load at the process input", "% of travel", -100.0, 100.0)},
          _adds("load", "size"), seen=visibility.against_load("size", 3.0)),
    _kind("interaction", "process", 2, "the valve of another loop also moves this process",
          {"with": _p("", "id of the other loop"),
           "gain": _p(0.6, "share of the other valve's moves that is felt", "%/%", -10.0, 10.0)},
          seen=visibility.interaction),
    _kind("gain-change", "process", 7, "the process gain is another",
          {"factor": _p(2.0, "gain, of the healthy one", "", 0.01, 20.0)},
          _scales("gain", "factor"), seen=visibility.factor("factor"), seen_while="controlled"),
    _kind("lag-change", "process", 7, "the process lags are others; of an integrator its hold-up",
          {"factor": _p(3.0, "lags, of the healthy ones", "", 0.05, 20.0)},
          _scales("lag", "factor"), seen=visibility.factor("factor"), seen_while="controlled"),
    _kind("fouling", "process", 7, "the process gain fades away",
          {"loss": _p(0.6, "share of the gain that is lost in the end", "", 0.0, 0.99),
           "over": _p(8.0 * 3600.0, "time it takes", "s", 0.0, 1e9)},
          Effect("gain", lambda fault: 1.0 - fault["loss"], scales=True), seen=visibility.fouling,
          seen_while="controlled"),
)

_SENSOR = (
    _kind("bias", "sensor", 4, "reads too high or too low",
          {"size": _p(3.0, "error", "% of span", -100.0, 100.0)},
          _adds("offset", "size"), seen=visibility.against_noise("size", 3.0)),
    _kind("drift", "sensor", 4, "the error grows",
          {"size": _p(5.0, "error in the end", "% of span", -100.0, 100.0),
           "over": _p(4.0 * 3600.0, "time it takes", "s", 0.0, 1e9)},
          _adds("offset", "size"), seen=visibility.against_noise("size", 3.0)),
    _kind("noise", "sensor", 4, "the noise has grown",
          {"sigma": _p(1.0, "further noise, sigma", "% of span", 0.0, 50.0)},
          _adds("sigma", "sigma"), seen=visibility.against_noise("sigma", 1.0)),
    _kind("freeze", "sensor", 4, "the reading stays what it was", {}, _gate("frozen")),
    _kind("spikes", "sensor", 4, "single readings are far off",
          {"size": _p(10.0, "size, up or down", "% of span", 0.0, 100.0),
           "rate": _p(30.0, "how often", "1/h", 0.0, 3600.0)},
          _adds("spike", "size"), _adds("rate", "rate"), seen=visibility.against_noise("size", 3.0)),
    _kind("quantization", "sensor", 4, "reads in coarse steps",
          {"step": _p(1.0, "step", "% of span", 0.0, 100.0, above=True)},
          _adds("step", "step"), seen=visibility.against_noise("step", 1.0)),
    _kind("range-clip", "sensor", 4, "reads no higher than this",
          {"limit": _p(50.0, "highest reading", "% of span", 0.0, 100.0)},
          Effect("ceiling", lambda fault: fault["limit"] - SATURATION_HIGH_PERCENT), seen_while="clipped"),
    _kind("drop-out", "sensor", 4, "the signal is lost: reads at its lower limit", {}, _gate("lost")),
)

_DATA_PATH = (
    _kind("gaps", "data path", 9, "samples are missing, some in a row",
          {"share": _p(0.2, "missing samples", _SHARE, 0.0, 1.0),
           "length": _p(30.0, "shortest gap", "s", 0.0, _DAY)}),
    _kind("late", "data path", 9, "samples arrive after later ones",
          {"share": _p(0.1, "late samples", _SHARE, 0.0, 1.0),
           "delay": _p(15.0, "how late", "s", 0.0, _DAY)}),
    _kind("duplicates", "data path", 9, "samples arrive twice",
          {"share": _p(0.1, "doubled samples", _SHARE, 0.0, 1.0)}),
    _kind("bad-quality", "data path", 9, "samples are Bad, and have no number",
          {"share": _p(0.2, "bad samples", _SHARE, 0.0, 1.0),
           "length": _p(30.0, "shortest run", "s", 0.0, _DAY)}),
    _kind("clock-skew", "data path", 9, "the clock that stamps the samples is off",
          {"offset": _p(7.5, "how much it is fast", "s", -_DAY, _DAY)}),
    _kind("compression", "data path", 9, "the historian keeps only what an exception test and a swinging door leave",
          {"exception": _p(1.0, "exception deviation", "% of span", 0.0, 50.0),
           "deviation": _p(2.0, "compression deviation", "% of span", 0.0, 50.0),
           "longest": _p(3600.0, "longest time without a sample", "s", 1.0, 1e7)}),
)

_OPERATION = (
    _kind("manual", "operation", 1, "left in manual", {}),
    _kind("mode-hopping", "operation", 1, "taken to manual and back, time and again",
          {"dwell": _p(600.0, "mean time in a mode", "s", 10.0, 1e6)}),
    _kind("setpoint-moves", "operation", 1, "the set point is moved too often",
          {"size": _p(3.0, "standard deviation of the moves around SP", "% of span", 0.0, 50.0),
           "interval": _p(300.0, "mean time between them", "s", 10.0, 1e6)}),
    _kind("cascade-broken", "operation", 1, "a slave that is left in AUT and no longer follows its master", {}),
)

_CONTROLS = (
    _kind("white-noise", "negative control", 2, "a load without colour or period",
          {"sigma": _p(1.0, "standard deviation", "% of travel", 0.0, 50.0)}),
    _kind("grade-change", "negative control", 1, "another product: SP goes to a new level",
          {"size": _p(10.0, "change of SP", "% of span", -100.0, 100.0),
           "over": _p(600.0, "time it takes", "s", 0.0, 1e9)},
          _adds("sp", "size"), returns=True),
    _kind("setpoint-ramp", "negative control", 1, "SP climbs slowly",
          {"size": _p(8.0, "change of SP", "% of span", -100.0, 100.0),
           "over": _p(3600.0, "time it takes", "s", 0.0, 1e9)},
          _adds("sp", "size"), returns=True),
    _kind("manual-stroking", "negative control", 1, "the valve is stroked by hand, in MAN, to test it",
          {"size": _p(5.0, "half the stroke", "% of travel", 0.0, 50.0),
           "dwell": _p(120.0, "time at each step", "s", 10.0, 1e6)}),
)

FAULTS = {kind.name: kind
          for kind in (*_VALVE, *_TUNING, *_PROCESS, *_SENSOR, *_DATA_PATH, *_OPERATION, *_CONTROLS)}
