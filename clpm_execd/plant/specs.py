"""Specifications of a loop: every parameter with its description, unit, limits and default, and no state.

The tables that users read and the checks of their input are both made from these fields. Numbers of process, valve and
controller are in per cent of span and seconds; `sp`, `pv` and `range` are in engineering units; `op` is in per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clpm_execd.plant.learned.model import LearnedModel


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a user can give.

    Parameters
    ----------
    description : str
        Description as a noun phrase.
    unit : str
        Unit; empty where it has none.
    low, high : float
        Limits, which are allowed values.
    is_low_excluded : bool
        Whether `low` itself is not allowed.
    choices : tuple of str
        The allowed texts, in place of limits.
    default : str
        Default as tables print it.
    """

    description: str
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    is_low_excluded: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""


def parameter(default: Any, description: str, unit: str = "", low: float = float("-inf"), high: float = float("inf"),
              *, is_low_excluded: bool = False, choices: tuple[str, ...] = (), default_text: str = "") -> Any:
    """Return a dataclass field with a Parameter; tables print `default_text`, if given, as its default."""
    about = Parameter(description, unit, low, high, is_low_excluded, choices, default_text or repr(default))
    return field(default=default, metadata={"parameter": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """The process between valve and sensor."""

    model: str = parameter("fopdt", "model of the dynamics", choices=("fopdt", "sopdt", "integrator"),
                           default_text="by type")
    gain: float = parameter(1.0, "process gain (integrator: per second)", "%PV/%OP", -1000.0, 1000.0,
                            default_text="by type")
    tau: tuple[float, ...] = parameter((10.0,), "time constant; sopdt has two", "s", 0.0, 1e6, default_text="by type")
    dead_time: float = parameter(1.0, "dead time", "s", 0.0, 1e5, default_text="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSpec:
    """The PID controller. Without `gain` and `reset` the tuning rule sets them from the process."""

    form: str = parameter("ideal", "form of the PID algorithm", choices=("ideal", "series", "parallel"))
    action: str | None = parameter(None, "direction of the controller action", choices=("reverse", "direct"),
                                   default_text="by the sign of the process gain")
    gain: float | None = parameter(None, "controller gain Kc (parallel: Kp)", "%OP/%PV", 0.0, 1e4,
                                   is_low_excluded=True, default_text="by tuning")
    reset: float | None = parameter(None, "integral time Ti, 0 for no integral action (parallel: 1/Ki)", "s", 0.0, 1e7,
                                    default_text="by tuning")
    derivative: float | None = parameter(None, "derivative time Td (parallel: Kd)", "s", 0.0, 1e6,
                                         default_text="by tuning")
    setpoint_weight: float = parameter(1.0, "set-point weight b of the proportional term", "", 0.0, 1.0)
    derivative_filter: float = parameter(10.0, "N of the derivative filter Td/N", "", 1.0, 100.0)
    setpoint_tracking: bool = parameter(False, "set-point tracking: in MAN, SP follows PV")
    tuning: str = parameter("lambda", "tuning rule where gain or reset is not given",
                            choices=("tight", "lambda", "sluggish", "aggressive"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveSpec:
    """The control valve and its actuator."""

    characteristic: str = parameter("linear", "inherent characteristic, scaled to a slope of 1 at op",
                                    choices=("linear", "equal-percentage", "quick-opening"))
    rangeability: float = parameter(50.0, "rangeability R of an equal-percentage valve", "", 2.0, 1000.0)
    lag: float = parameter(0.0, "time constant of the actuator", "s", 0.0, 1e4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSpec:
    """The transmitter."""

    noise: float = parameter(0.05, "standard deviation of the measurement noise", "% of span", 0.0, 50.0,
                             default_text="by type")
    cycle: float = parameter(0.0, "time between two values of an analyser, which holds each, 0 for a sensor without "
                             "such cycles", "s", 0.0, 86400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbanceSpec:
    """The load disturbance, an Ornstein-Uhlenbeck process added to the process input after the dead time."""

    sigma: float = parameter(0.5, "standard deviation of the load", "% of valve travel", 0.0, 50.0,
                             default_text="by type")
    correlation: float = parameter(20.0, "correlation time of the load", "s", 0.0, 1e6, is_low_excluded=True,
                                   default_text="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSpec:
    """How the throughput of a process unit moves the load of a loop over hours and days, with those of the unit."""

    unit: str = parameter("", "name of the process unit, whose loops move together", default_text="the loop's area")
    sigma: float = parameter(0.0, "standard deviation of the throughput, 0 for none", "% of design", 0.0, 30.0)
    gain: float | None = parameter(None, "load for a change of the throughput", "%/%", -10.0, 10.0,
                                   default_text="drawn: 0.5 to 1.2, either sign")
    lag: float | None = parameter(None, "time until the throughput reaches the loop", "s", 0.0, 1e6,
                                  default_text="drawn: 120 to 2400")
    ambient: float = parameter(0.0, "amplitude of the load by day and night, from the air's temperature",
                               "% of valve travel", 0.0, 30.0)
    utility: str = parameter("", "name of the steam, cooling water or other utility whose pressure all its users feel",
                             default_text="none")
    utility_sigma: float = parameter(0.0, "standard deviation of the load by the pressure of that utility",
                                     "% of valve travel", 0.0, 30.0)

    @property
    def moves_load(self) -> bool:
        """Whether anything of this moves the loop."""
        return self.sigma > 0.0 or self.ambient > 0.0 or (self.utility != "" and self.utility_sigma > 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The resolution with which values are recorded; 0 records them unrounded."""

    pv: float = parameter(0.0, "resolution of the recorded PV", "engineering units", 0.0, default_text="by type")
    op: float = parameter(0.0, "resolution of the recorded OP", "%, or units of op_range", 0.0, 1e6,
                          default_text="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpec:
    """How the historian records values."""

    resolution: Resolution = field(default_factory=Resolution)
    op_range: tuple[float, float] = parameter((0.0, 100.0), "recorded values of OP at 0 and 100 %", "engineering units")
    exception: float = parameter(0.0, "exception deviation: a value that moved less is recorded as the last one",
                                 "% of span", 0.0, 50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """The operator's habits with set point and mode; planned actions are moves."""

    interval: float = parameter(0.0, "mean time between moves of SP, 0 for none", "s", 0.0, 1e8)
    size: float = parameter(1.0, "standard deviation of the moves around sp", "% of span", 0.0, 50.0)
    day: tuple[float, ...] = parameter((0.7, 1.3, 1.3, 0.7), "frequency of the moves in each part of the day, relative "
                                       "to the average; equal parts from 0 h UTC, at most 96", "", 0.0, 100.0)
    automatic: float = parameter(0.0, "mean time in AUT or CAS between times in MAN, 0 for no MAN", "s", 0.0, 1e8)
    manual: float = parameter(1800.0, "mean time in MAN, where `automatic` is given", "s", 0.0, 1e8,
                              is_low_excluded=True)
    wave: float = parameter(0.0, "amplitude of a sine around sp, 0 for none", "% of span", 0.0, 50.0)
    period: float = parameter(600.0, "period of the sine", "s", 0.0, 1e7, is_low_excluded=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One action of the operator; exactly one of sp, op and mode is set.

    at: ns, from the start of the plant where `from_start`, else since 1970. ramp: ns that sp or op takes to get there.
    """

    at: int
    from_start: bool = True
    sp: float | None = None
    op: float | None = None
    mode: str | None = None
    ramp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault of a loop: its kind, a key of FAULTS, and those parameters that differ from their defaults.

    start: ns, from the start of the plant where `from_start`, else since 1970; the fault is present in
    [start, start + duration). duration: ns, None for without end. repeat: ns from one start to the next, None for
    once. mean_repeat: the same on average, where the times are drawn. ramp: ns until it is at full severity. until: ns
    since 1970, from which it is absent in any case; None for never.
    """

    kind: str
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    start: int = 0
    from_start: bool = True
    duration: int | None = None
    repeat: int | None = None
    mean_repeat: int | None = None
    ramp: int = 0
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CouplingSpec:
    """What another loop does to the process of this one, as the plant is built: no fault."""

    loop: str = parameter("", "id of the other loop", default_text="required")
    by: str = parameter("valve", "what of the other loop acts on this process: its valve's position, or its process "
                        "variable", choices=("valve", "pv"))
    gain: float = parameter(0.0, "load for 1 % of that", "% of valve travel", -10.0, 10.0, default_text="required")
    lag: float = parameter(0.0, "each of two time constants on the way", "s", 0.0, 1e5)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSpec:
    """One control loop; with `learned_model` it is simulated by a model learned from a record."""

    id: str
    type: str = parameter("flow", "loop type", choices=("flow", "pressure", "level", "temperature", "composition"))
    description: str = parameter("", "description of what the loop controls", default_text="none")
    area: str = parameter("", "area of the plant that the loop belongs to", default_text="none")
    range: tuple[float, float] = parameter((0.0, 100.0), "transmitter range", "engineering units")
    unit: str = parameter("", "engineering unit of range, sp and pv", default_text="none")
    sp: float = parameter(50.0, "set point at steady state", "engineering units", default_text="mid-range")
    op: float = parameter(50.0, "OP at steady state with that sp", "%", 0.0, 100.0)
    pv: float | None = parameter(None, "initial process variable", "engineering units", default_text="sp")
    mode: str = parameter("AUT", "initial mode", choices=("MAN", "AUT", "CAS"), default_text="AUT; CAS with cascade")
    cascade: str | None = parameter(None, "id of the master, whose OP sets SP in CAS")
    tags: Mapping[str, str] = field(default_factory=dict, hash=False, metadata={
        "parameter": Parameter("tags of this loop in line protocol, besides those of [output]", default="none")})
    process: ProcessSpec = field(default_factory=ProcessSpec)
    controller: ControllerSpec = field(default_factory=ControllerSpec)
    valve: ValveSpec = field(default_factory=ValveSpec)
    sensor: SensorSpec = field(default_factory=SensorSpec)
    disturbance: DisturbanceSpec = field(default_factory=DisturbanceSpec)
    throughput: ThroughputSpec = field(default_factory=ThroughputSpec)
    recording: RecordingSpec = field(default_factory=RecordingSpec)
    operator: OperatorSpec = field(default_factory=OperatorSpec)
    couplings: tuple[CouplingSpec, ...] = ()
    moves: tuple[Move, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    learned_model: LearnedModel | None = None

    @property
    def names_others(self) -> bool:
        """Whether its couplings or faults name other loops."""
        return bool(self.couplings) or any(
            isinstance(value, str) for fault in self.faults for value in fault.parameters.values())

    def with_other_ids(self, rename: Callable[[str], str]) -> LoopSpec:
        """Return the loop with other ids of the loops that its couplings and faults name; its master stays."""
        couplings = tuple([replace(coupling, loop=rename(coupling.loop)) for coupling in self.couplings])
        faults = tuple([replace(fault, parameters={
            key: rename(value) if isinstance(value, str) else value for key, value in fault.parameters.items()})
            for fault in self.faults])
        return replace(self, couplings=couplings, faults=faults)
