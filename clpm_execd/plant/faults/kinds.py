"""What a kind of fault is: its name and parameters, the stage it touches, what it changes there, when it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clpm_execd.plant.specs import FaultSpec, LoopSpec, Parameter

GROUPS = ("valve", "tuning", "process", "sensor", "data path", "operation", "negative control")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a loop with all its parameters, and what its effects may depend on. scan in s."""

    kind: FaultKind
    spec: FaultSpec
    loop: LoopSpec
    scan: float

    def __getitem__(self, name: str) -> float:
        return float(self.spec.parameters.get(name, self.kind.defaults[name]))

    def text(self, name: str) -> str:
        """A parameter that is no number."""
        return str(self.spec.parameters.get(name, self.kind.defaults[name]))


@dataclass(frozen=True, slots=True)
class Effect:
    """One parameter of a stage that a fault changes, in proportion to its severity.

    target: its name in the stage. amount: at full severity, added to the parameter, or where `scales` the factor
    between the parameter and what it becomes.
    """

    target: str
    amount: Callable[[Fault], float]
    scales: bool = False


def _always(fault: Fault) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A kind of fault.

    stage: of the tick, which it touches by `effects`. parameters and defaults have the same keys; a default that is a
    string belongs to a parameter that is text, and the empty one to a parameter that must be given.
    seen_from: the least severity at which a perfect observer of PV, OP and SP sees it. seen_while: a state of the loop
    without which it does not show: "" any, "controlled" not in MAN, "open", "closed" or "saturated" OP at that limit,
    "clipped" PV beyond `limit`.
    returns: whether it also fades before its end, as it grew. A parameter `over` is its ramp where none is given.
    """

    name: str
    group: str
    stage: int
    meaning: str
    parameters: Mapping[str, Parameter]
    defaults: Mapping[str, float | str]
    example: str
    effects: tuple[Effect, ...] = ()
    seen_from: Callable[[Fault], float] = _always
    seen_while: str = ""
    returns: bool = False

    @property
    def control(self) -> bool:
        """Whether it is a negative control: no fault, and must not read as one."""
        return self.group == "negative control"
