"""The catalogue of faults: the checks of loops.toml, `clpm-execd faults` and the plant all read these entries.

Numbers are in per cent of span, of valve travel or of output, and in seconds, as in the whole plant. A fault of the
stages 2 to 7 acts by its effects on the parameters of its stage; what an operator or the data path does is implemented
there under the name of the kind. To add a fault, add an entry to the tuple of its group.

Limits exclude what has no meaning or would overflow; defaults are of a size that shows in a typical loop. Sizes follow
the diagnosis of real loops: stiction of 0.5 to 10 % of travel and its two-parameter model (Choudhury, Thornhill and
Shah, 2005), exception and compression deviations of 1 and 2 % of span as historians have them by default.
"""

from __future__ import annotations

from typing import NamedTuple

from clpm_execd.plant.faults import tuning
from clpm_execd.plant.faults.kinds import NO_LOOP, OUT_OF_SERVICE, Effect, FaultKind, Stage
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT
from clpm_execd.plant.specs import Parameter

_DAY_S, _HOUR_S = 86400.0, 3600.0
_OF_SAMPLES = "of samples"


class _Entry(NamedTuple):
    """A parameter and its default; an empty text is the default of a parameter that must be given."""

    parameter: Parameter
    default: float | str


def _number(default: float, description: str, unit: str = "", low: float = float("-inf"),
            high: float = float("inf"), *, is_low_excluded: bool = False) -> _Entry:
    return _Entry(Parameter(description, unit, low, high, is_low_excluded, (), f"{default:g}"), default)


def _other_loop(description: str) -> _Entry:
    return _Entry(Parameter(description, default="required"), "")


def _optional_loop(description: str) -> _Entry:
    return _Entry(Parameter(description, default="none"), NO_LOOP)


def _moves(*moves: tuple[str, float]) -> str:
    """Return TOML of moves of SP, each at a time."""
    return "".join(f'\n\n[[loop.move]]\nat = "{at}"\nsp = {sp}' for at, sp in moves)


# The [[loop]] tables of the examples, where a fault shows in another one than a flow loop at rest: a leak where little
# flow is needed, a wind-up where OP has been saturated, an interaction where the other valve moves, a changed time
# constant where it is long, fouling where OP has to move more for the same moves of SP.
_EXAMPLE_LOOPS = {
    "leak": 'id = "FIC101"\ntype = "flow"\nop = 5.0',
    "windup": 'id = "FIC101"\ntype = "flow"\nop = 95.0' + _moves(
        ("35m", 60.0), ("45m", 50.0), ("75m", 60.0), ("85m", 50.0), ("115m", 60.0), ("125m", 50.0)),
    "interaction": 'id = "FIC102"\ntype = "flow"' + _moves(("40m", 65.0), ("70m", 50.0), ("100m", 60.0))
                   + '\n\n[[loop]]\nid = "TIC101"\ntype = "temperature"',
    "lag-change": 'id = "TIC101"\ntype = "temperature"',
    "fouling": 'id = "TIC101"\ntype = "temperature"\noperator = { interval = 5400.0, size = 4.0 }',
    "cascade-broken": 'id = "TIC101"\ntype = "temperature"\n\n[[loop]]\nid = "FIC101"\ntype = "flow"\n'
                      'cascade = "TIC101"',
}


# Times other than half past for two hours: a wrong size or seat is there from the beginning, and fouling takes hours.
_EXAMPLE_TIMES: dict[str, tuple[str, ...]] = {
    "undersized": (), "oversized": (), "leak": (), "fouling": ('start = "1h"', 'duration = "12h"'),
    "shutdown": ('start = "2h"', 'duration = "10h"')}
# Gaps that a picture of hours shows.
_EXAMPLE_VALUES: dict[str, dict[str, float | str]] = {"gaps": {"length": 300.0}, "bad-quality": {"length": 300.0}}


def _write_example(name: str, entries: dict[str, _Entry]) -> str:
    """Return TOML of a loop, or of two where the fault needs them, with the fault mostly at its defaults."""
    loop = _EXAMPLE_LOOPS.get(name, 'id = "FIC101"\ntype = "flow"')
    values = {key: entry.default for key, entry in entries.items()} | _EXAMPLE_VALUES.get(name, {})
    lines = [f"{key} = {value}" if isinstance(value, float) else f'{key} = "FIC102"'
             for key, value in values.items() if value != NO_LOOP]
    times = _EXAMPLE_TIMES.get(name, ('start = "30m"', 'duration = "2h"'))
    return "\n".join([f"[[loop]]\n{loop}\n", "[[loop.fault]]", f'kind = "{name}"', *lines, *times])


def _kind(name: str, group: str, stage: Stage, description: str, entries: dict[str, _Entry], *effects: Effect,
          fades_out: bool = False) -> FaultKind:
    return FaultKind(
        name=name, group=group, stage=stage, description=description, effects=effects, fades_out=fades_out,
        parameters={key: entry.parameter for key, entry in entries.items()},
        defaults={key: entry.default for key, entry in entries.items()}, example=_write_example(name, entries))


def _adds(target: str, name: str) -> Effect:
    """Return the effect that adds the parameter `name` to the target."""
    return Effect(target, lambda fault: fault[name])


def _multiplies(target: str, name: str) -> Effect:
    """Return the effect that multiplies the target by the parameter `name`."""
    return Effect(target, lambda fault: fault[name], is_factor=True)


def _switches_on(target: str) -> Effect:
    """Return the effect that makes a target, which is 0 without the fault, 1."""
    return Effect(target, lambda fault: 1.0)


_VALVE = (
    _kind("stiction", "valve", Stage.VALVE,
          "the stem sticks, then slips: undershoot J < S, no offset J = S, overshoot J > S",
          {"S": _number(4.0, "deadband + stickband", "% of travel", 0.0, 100.0),
           "J": _number(2.0, "slip jump", "% of travel", 0.0, 100.0)},
          _adds("S", "S"), _adds("J", "J")),
    _kind("deadband", "valve", Stage.VALVE, "backlash: the stem does not move until OP has reversed by `width`",
          {"width": _number(3.0, "lost motion", "% of travel", 0.0, 100.0)},
          _adds("S", "width")),
    _kind("stuck", "valve", Stage.VALVE, "the stem does not move", {}, _switches_on("stuck")),
    _kind("undersized", "valve", Stage.VALVE, "too small: OP reaches 100 % before the flow is sufficient",
          {"capacity": _number(0.45, "flow through the open valve, relative to the healthy one", "", 0.01, 1.0)},
          _multiplies("capacity", "capacity")),
    _kind("oversized", "valve", Stage.VALVE, "too large: small movements of a nearly closed valve have a large effect",
          {"capacity": _number(3.0, "flow through the open valve, relative to the healthy one", "", 1.0, 20.0)},
          _multiplies("capacity", "capacity")),
    _kind("leak", "valve", Stage.VALVE, "seat leakage: the closed valve passes flow; visible only at low flow",
          {"flow": _number(10.0, "flow through the closed valve", "% of travel", 0.0, 100.0)},
          _adds("leak", "flow")),
    _kind("slow-actuator", "valve", Stage.VALVE, "the actuator responds more slowly",
          {"lag": _number(20.0, "additional time constant of the actuator", "s", 0.0, 1e4, is_low_excluded=True)},
          Effect("travel_fraction", tuning.actuator_factor, is_factor=True)),
)

_TUNING = (
    _kind("sluggish", "tuning", Stage.CONTROLLER, "detuned: very slow return to SP",
          {"closed_loop": _number(5.0, "time constant of the closed loop", "x (time constant + dead time)", 1.0, 50.0)},
          Effect("kp", tuning.sluggish_gain_factor, is_factor=True),
          Effect("ki", tuning.sluggish_integral_factor, is_factor=True)),
    _kind("aggressive", "tuning", Stage.CONTROLLER, "tuned close to instability: the loop oscillates",
          {"gain_margin": _number(1.08, "gain margin", "", 1.0, 2.0)},
          Effect("kp", tuning.aggressive_gain_factor, is_factor=True),
          Effect("ki", tuning.aggressive_integral_factor, is_factor=True)),
    _kind("windup", "tuning", Stage.CONTROLLER, "no anti-windup: the integral grows while OP is saturated", {},
          Effect("anti_windup_gain", lambda fault: 0.0, is_factor=True)),
)

_PROCESS = (
    _kind("external-oscillation", "process", Stage.LOAD, "another loop's limit cycle, filtered by the way it came",
          {"amplitude": _number(2.0, "amplitude of the load", "% of travel", 0.0, 50.0),
           "period": _number(120.0, "period", "s", 1.0, 1e6),
           "phase": _number(0.0, "phase, which differs where one oscillation reaches several loops", "degrees",
                            -3600.0, 3600.0),
           "harmonic": _number(0.25, "relative amplitude of the third harmonic (square wave: 0.33, filtered: less), "
                               "with which the others fall off", "", 0.0, 1.0),
           "wander": _number(0.04, "standard deviation of the period, of the amplitude twice as much; relative", "",
                             0.0, 0.2),
           "from": _optional_loop("id of the loop that it comes from: its valve makes the load, and the keys above "
                                  "have no effect"),
           "gain": _number(0.6, "with `from`: load per movement of that valve", "%/%", -10.0, 10.0),
           "lag": _number(10.0, "with `from`: each of two time constants on the way", "s", 0.0, 1e5)}),
    _kind("load-step", "process", Stage.LOAD, "a step of the load",
          {"size": _number(5.0, "load at the process input", "% of travel", -100.0, 100.0),
           "over": _number(0.0, "time that it takes, at its end as well", "s", 0.0, 1e9)},
          _adds("load", "size"), fades_out=True),
    _kind("interaction", "process", Stage.LOAD, "the valve of another loop also acts on this process",
          {"with": _other_loop("id of the other loop"),
           "gain": _number(0.6, "load per movement of the other valve", "%/%", -10.0, 10.0),
           "lag": _number(0.0, "each of two time constants on the way", "s", 0.0, 1e5)}),
    _kind("gain-change", "process", Stage.PROCESS, "changed process gain",
          {"factor": _number(2.0, "process gain, relative to the healthy one", "", 0.01, 20.0)},
          _multiplies("gain", "factor")),
    _kind("lag-change", "process", Stage.PROCESS, "changed time constants (integrator: changed hold-up)",
          {"factor": _number(3.0, "time constants, relative to the healthy ones", "", 0.05, 20.0)},
          _multiplies("lag", "factor")),
    _kind("fouling", "process", Stage.PROCESS, "the process gain decreases slowly",
          {"loss": _number(0.6, "fraction of the gain that is lost in the end", "", 0.0, 0.99),
           "over": _number(8.0 * _HOUR_S, "time until then", "s", 0.0, 1e9)},
          Effect("gain", lambda fault: 1.0 - fault["loss"], is_factor=True)),
)

_SENSOR = (
    _kind("bias", "sensor", Stage.SENSOR, "the reading is too high or too low",
          {"size": _number(3.0, "error", "% of span", -100.0, 100.0)},
          _adds("offset", "size")),
    _kind("drift", "sensor", Stage.SENSOR, "the error of the reading grows",
          {"size": _number(5.0, "error in the end", "% of span", -100.0, 100.0),
           "over": _number(4.0 * _HOUR_S, "time until then", "s", 0.0, 1e9)},
          _adds("offset", "size")),
    _kind("noise", "sensor", Stage.SENSOR, "increased measurement noise",
          {"sigma": _number(1.0, "increase of the standard deviation", "% of span", 0.0, 50.0)},
          _adds("sigma", "sigma")),
    _kind("freeze", "sensor", Stage.SENSOR, "the reading keeps its last value", {}, _switches_on("frozen")),
    _kind("spikes", "sensor", Stage.SENSOR, "single readings are far off",
          {"size": _number(10.0, "size, up or down", "% of span", 0.0, 100.0),
           "rate": _number(30.0, "mean rate", "1/h", 0.0, 3600.0)},
          _adds("spike", "size"), _adds("rate", "rate")),
    _kind("quantization", "sensor", Stage.SENSOR, "readings are rounded to coarse steps",
          {"step": _number(1.0, "step", "% of span", 0.0, 100.0, is_low_excluded=True)},
          _adds("step", "step")),
    _kind("range-clip", "sensor", Stage.SENSOR, "readings do not exceed a limit",
          {"limit": _number(50.0, "highest reading", "% of span", 0.0, 100.0)},
          Effect("ceiling", lambda fault: fault["limit"] - SATURATION_HIGH_PERCENT)),
    _kind("drop-out", "sensor", Stage.SENSOR, "the signal is lost: the reading is the lower limit of the range", {},
          _switches_on("lost")),
)

_DATA_PATH = (
    _kind("gaps", "data path", Stage.DATA_PATH, "samples are missing, some in succession",
          {"share": _number(0.2, "missing samples", _OF_SAMPLES, 0.0, 1.0),
           "length": _number(30.0, "shortest gap", "s", 0.0, _DAY_S)}),
    _kind("late", "data path", Stage.DATA_PATH, "samples arrive late and out of order",
          {"share": _number(0.1, "late samples", _OF_SAMPLES, 0.0, 1.0),
           "delay": _number(15.0, "delay", "s", 0.0, _DAY_S)}),
    _kind("duplicates", "data path", Stage.DATA_PATH, "samples arrive twice",
          {"share": _number(0.1, "duplicate samples", _OF_SAMPLES, 0.0, 1.0)}),
    _kind("bad-quality", "data path", Stage.DATA_PATH, "samples have bad quality and no value",
          {"share": _number(0.2, "bad samples", _OF_SAMPLES, 0.0, 1.0),
           "length": _number(30.0, "shortest run of bad samples", "s", 0.0, _DAY_S)}),
    _kind("clock-skew", "data path", Stage.DATA_PATH, "the clock that stamps the samples is wrong",
          {"offset": _number(7.5, "how far it is ahead", "s", -_DAY_S, _DAY_S)}),
    _kind("compression", "data path", Stage.DATA_PATH,
          "the historian applies an exception test and swinging-door compression",
          {"exception": _number(1.0, "exception deviation", "% of span", 0.0, 50.0),
           "deviation": _number(2.0, "compression deviation", "% of span", 0.0, 50.0),
           "longest": _number(_HOUR_S, "longest time without a sample", "s", 1.0, 1e7)}),
)

_OPERATION = (
    _kind("manual", "operation", Stage.OPERATOR, "left in manual", {}),
    _kind("mode-hopping", "operation", Stage.OPERATOR, "repeatedly switched between manual and automatic",
          {"dwell": _number(600.0, "mean time in a mode", "s", 10.0, 1e6)}),
    _kind("setpoint-moves", "operation", Stage.OPERATOR, "the set point is changed too often",
          {"size": _number(3.0, "standard deviation of the changes around SP", "% of span", 0.0, 50.0),
           "interval": _number(300.0, "mean time between changes", "s", 10.0, 1e6)}),
    _kind("cascade-broken", "operation", Stage.OPERATOR, "a slave is left in AUT and does not follow its master", {}),
)

_CONTROLS = (
    _kind("white-noise", "negative control", Stage.LOAD, "white-noise load disturbance",
          {"sigma": _number(1.0, "standard deviation", "% of travel", 0.0, 50.0)}),
    _kind("grade-change", "negative control", Stage.OPERATOR, "SP moves to a new level, as for another product",
          {"size": _number(10.0, "change of SP", "% of span", -100.0, 100.0),
           "over": _number(600.0, "time it takes", "s", 0.0, 1e9)},
          _adds("sp", "size"), fades_out=True),
    _kind("setpoint-ramp", "negative control", Stage.OPERATOR, "SP rises slowly",
          {"size": _number(8.0, "change of SP", "% of span", -100.0, 100.0),
           "over": _number(_HOUR_S, "time it takes", "s", 0.0, 1e9)},
          _adds("sp", "size"), fades_out=True),
    _kind("manual-stroking", "negative control", Stage.OPERATOR, "the valve is stroked in MAN, as in a valve test",
          {"size": _number(5.0, "half the stroke", "% of travel", 0.0, 50.0),
           "dwell": _number(120.0, "time at each position", "s", 10.0, 1e6)}),
)

_SERVICE = (
    _kind("maintenance", OUT_OF_SERVICE, Stage.OPERATOR, "in MAN while something is repaired or installed", {}),
    _kind("shutdown", OUT_OF_SERVICE, Stage.OPERATOR,
          "shut down and started up again: SP is lowered, the valve closed in MAN, then opened again",
          {"over": _number(2.0 * _HOUR_S, "time that each of the two takes", "s", 0.0, 1e9),
           "turndown": _number(15.0, "how far SP is lowered in AUT", "% of span", 0.0, 100.0)},
          Effect("sp", lambda fault: -fault["turndown"]), fades_out=True),
)

FAULTS = {kind.name: kind for kind in (
    *_VALVE, *_TUNING, *_PROCESS, *_SENSOR, *_DATA_PATH, *_OPERATION, *_CONTROLS, *_SERVICE)}
