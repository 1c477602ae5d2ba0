"""What a loop is made of: every parameter with its unit, range, default and meaning, and nothing that moves.

The tables that users read and the checks that their input meets are both made from these fields. Numbers of
process, valve and controller are per cent of span and seconds; `sp`, `pv` and `range` are engineering units; `op`
is per cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clpm_execd.plant.learned.model import Laws


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is known of one parameter: its meaning, unit, inclusive limits (low excluded where `above`), or its choices.

    default: as tables print it.
    """

    meaning: str
    unit: str = ""
    low: float = float("-inf")
    high: float = float("inf")
    above: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""


def parameter(default: Any, meaning: str, unit: str = "", low: float = float("-inf"), high: float = float("inf"), *,
              above: bool = False, choices: tuple[str, ...] = (), shown: str = "") -> Any:
    """A dataclass field that knows its meaning; `shown` is what tables print as its default."""
    about = Parameter(meaning, unit, low, high, above, choices, shown or repr(default))
    return field(default=default, metadata={"parameter": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """The process between valve and sensor."""

    model: str = parameter("fopdt", "dynamics", choices=("fopdt", "sopdt", "integrator"), shown="by type")
    gain: float = parameter(1.0, "process gain (integrator: per second)", "%/%", -1000.0, 1000.0, shown="by type")
    tau: tuple[float, ...] = parameter((10.0,), "time constant; two for sopdt", "s", 0.0, 1e6, shown="by type")
    dead_time: float = parameter(1.0, "dead time", "s", 0.0, 1e5, shown="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSpec:
    """The PID controller. Without `gain` and `reset` the tuning rule sets them from the process."""

    form: str = parameter("ideal", "form of the law", choices=("ideal", "series", "parallel"))
    action: str | None = parameter(None, "sign of the action", choices=("reverse", "direct"),
                                   shown="what the sign of the process gain needs")
    gain: float | None = parameter(None, "controller gain Kc (parallel: Kp)", "%/%", 0.0, 1e4, above=True,
                                   shown="by tuning")
    reset: float | None = parameter(None, "reset time Ti, 0 without integral action (parallel: 1/Ki)", "s", 0.0, 1e7,
                                    shown="by tuning")
    derivative: float | None = parameter(None, "derivative time Td (parallel: Kd)", "s", 0.0, 1e6, shown="by tuning")
    setpoint_weight: float = parameter(1.0, "weight b of the set point in the proportional term", "", 0.0, 1.0)
    derivative_filter: float = parameter(10.0, "N of the derivative filter Td/N", "", 1.0, 100.0)
    setpoint_tracking: bool = parameter(False, "the set point follows the process variable in MAN")
    tuning: str = parameter("lambda", "rule where gain or reset are not given",
                            choices=("tight", "lambda", "sluggish", "aggressive"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValveSpec:
    """The control valve and its actuator."""

    characteristic: str = parameter("linear", "inherent characteristic, its slope 1 at op",
                                    choices=("linear", "equal-percentage", "quick-opening"))
    rangeability: float = parameter(50.0, "rangeability R of an equal-percentage valve", "", 2.0, 1000.0)
    lag: float = parameter(0.0, "actuator lag", "s", 0.0, 1e4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSpec:
    """The transmitter."""

    noise: float = parameter(0.05, "sigma of the measurement noise", "% of span", 0.0, 50.0, shown="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbanceSpec:
    """The load disturbance, an Ornstein-Uhlenbeck process added to the process input after the dead time."""

    sigma: float = parameter(0.5, "standard deviation", "% of valve travel", 0.0, 50.0, shown="by type")
    correlation: float = parameter(20.0, "correlation time", "s", 0.0, 1e6, above=True, shown="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The step in which a value is recorded; 0 keeps it whole."""

    pv: float = parameter(0.0, "step of the recorded PV", "engineering units", 0.0, shown="by type")
    op: float = parameter(0.0, "step of the recorded OP", "%, or units of op_range", 0.0, 1e6, shown="by type")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpec:
    """What the historian keeps."""

    resolution: Resolution = field(default_factory=Resolution)
    op_range: tuple[float, float] = parameter((0.0, 100.0), "what OP 0 and 100 % are recorded as", "engineering units")
    exception: float = parameter(0.0, "a value that moved less is held", "% of span", 0.0, 50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """The operator's habits with set point and mode; planned acts are moves."""

    interval: float = parameter(0.0, "mean time between moves of SP, 0 for none", "s", 0.0, 1e8)
    size: float = parameter(1.0, "standard deviation of the moves around sp", "% of span", 0.0, 50.0)
    day: tuple[float, ...] = parameter((0.7, 1.3, 1.3, 0.7), "how much oftener than on average SP is moved in each "
                                       "part of the day; equal parts from 0 h UTC, 96 at most", "", 0.0, 100.0)
    automatic: float = parameter(0.0, "mean time in AUT or CAS before a time in MAN, 0 for no MAN", "s", 0.0, 1e8)
    manual: float = parameter(1800.0, "mean time in MAN, where `automatic` is given", "s", 0.0, 1e8, above=True)
    wave: float = parameter(0.0, "amplitude of a sine around sp, 0 for none", "% of span", 0.0, 50.0)
    period: float = parameter(600.0, "period of the sine", "s", 0.0, 1e7, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One act of the operator; exactly one of sp, op and mode is set.

    at: ns, from the start of the plant where `from_start`, else since 1970. ramp: ns over which sp or op gets
    there.
    """

    at: int
    from_start: bool = True
    sp: float | None = None
    op: float | None = None
    mode: str | None = None
    ramp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault of a loop: its kind, a key of FAULTS, and the parameters that are given; the others are the default.

    start: ns, from the start of the plant where `from_start`, else since 1970; in [start, start + duration) it is
    present. duration: ns, None for ever. repeat: ns from start to next start, None for once. ramp: ns over which it
    grows from nothing to full.
    """

    kind: str
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    start: int = 0
    from_start: bool = True
    duration: int | None = None
    repeat: int | None = None
    ramp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSpec:
    """One control loop; with `laws` it moves by those, learned from a record, in place of process and controller."""

    id: str
    type: str = parameter("flow", "loop type", choices=("flow", "pressure", "level", "temperature", "composition"))
    range: tuple[float, float] = parameter((0.0, 100.0), "transmitter range", "engineering units")
    sp: float = parameter(50.0, "set point at rest", "engineering units", shown="mid-range")
    op: float = parameter(50.0, "where OP rests at that sp", "%", 0.0, 100.0)
    pv: float | None = parameter(None, "process variable at the start", "engineering units", shown="sp")
    mode: str = parameter("AUT", "mode at the start", choices=("MAN", "AUT", "CAS"), shown="AUT; CAS with cascade")
    cascade: str | None = parameter(None, "id of the master whose OP this SP follows in CAS")
    process: ProcessSpec = field(default_factory=ProcessSpec)
    controller: ControllerSpec = field(default_factory=ControllerSpec)
    valve: ValveSpec = field(default_factory=ValveSpec)
    sensor: SensorSpec = field(default_factory=SensorSpec)
    disturbance: DisturbanceSpec = field(default_factory=DisturbanceSpec)
    recording: RecordingSpec = field(default_factory=RecordingSpec)
    operator: OperatorSpec = field(default_factory=OperatorSpec)
    moves: tuple[Move, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    laws: Laws | None = None
