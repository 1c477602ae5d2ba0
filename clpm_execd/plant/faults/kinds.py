"""What defines a kind of fault: its name and parameters, the stage it acts in, and what it changes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from clpm_execd.plant.specs import FaultSpec, LoopSpec, Parameter

NO_LOOP = "none"  # the default of a parameter that may name another loop


class Stage(IntEnum):
    """The stages of a scan in which faults act, with their numbers in docs/architecture.md."""

    OPERATOR = 1
    LOAD = 2
    SENSOR = 4
    CONTROLLER = 5
    VALVE = 6
    PROCESS = 7
    DATA_PATH = 9  # on samples on their way, after the scan


NEGATIVE_CONTROL, OUT_OF_SERVICE = "negative control", "out of service"
GROUPS = ("valve", "tuning", "process", "sensor", "data path", "operation", NEGATIVE_CONTROL, OUT_OF_SERVICE)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a loop, with what its effects may depend on; `fault[name]` is the value of a parameter.

    scan: s.
    """

    kind: FaultKind
    spec: FaultSpec
    loop: LoopSpec
    scan: float

    def __getitem__(self, name: str) -> float:
        return float(self.spec.parameters.get(name, self.kind.defaults[name]))

    def other_loops(self) -> list[str]:
        """Return the ids of the other loops that act on this one by the fault."""
        return self.kind.other_loops(self.spec)


@dataclass(frozen=True, slots=True)
class Effect:
    """The change of one parameter of a stage, in proportion to the severity of the fault.

    target: the name of the parameter in the stage. amount: at full severity, what is added to the parameter, or where
    `is_factor` what it is multiplied by.
    """

    target: str
    amount: Callable[[Fault], float]
    is_factor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A kind of fault.

    Parameters
    ----------
    name : str
        What loops.toml and the ground truth call it.
    group : str
        One of GROUPS.
    stage : Stage
        The stage of a scan in which it acts.
    description : str
        What it does, in a few words.
    parameters : mapping of str to Parameter
    defaults : mapping of str to float or str
        Has the same keys. A text is the default of a parameter that is the id of another loop: an empty one means that
        it must be given, NO_LOOP that it may be.
    example : str
        TOML of a loop with this fault.
    effects : tuple of Effect
        What it changes in its stage.
    fades_out : bool
        Whether its severity also falls by the ramp before its end. A parameter `over` is the ramp where none is given.
    """

    name: str
    group: str
    stage: Stage
    description: str
    parameters: Mapping[str, Parameter]
    defaults: Mapping[str, float | str]
    example: str
    effects: tuple[Effect, ...]
    fades_out: bool

    def other_loops(self, spec: FaultSpec) -> list[str]:
        """Return the ids of the other loops that act on a loop by this fault of it, in the order of the parameters."""
        return [str(spec.parameters[key]) for key, default in self.defaults.items()
                if isinstance(default, str) and key in spec.parameters]

    @property
    def is_control(self) -> bool:
        """Whether it is no fault: a negative control, which a detector must not flag, or a time out of service."""
        return self.group in (NEGATIVE_CONTROL, OUT_OF_SERVICE)

    @property
    def acts_on_plant(self) -> bool:
        """Whether it is a fault of the plant itself, so that only a twin can tell what it does."""
        return self.stage is not Stage.DATA_PATH and not self.is_control
