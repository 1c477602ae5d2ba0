"""Whatever its parameters, within their limits, no loop raises and none gives a value that is not a number.

Every parameter is at a limit, at its default or anywhere between; a number is 0 or not below 1e-12.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from still import START, ns
from tiers import examples

from clpm_execd.plant.block import MODES
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    LoopSpec,
    Move,
    OperatorSpec,
    Parameter,
    ProcessSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
    ValveSpec,
)

pytestmark = pytest.mark.slow

SMALLEST = 1e-12
OPTIONAL = {"action", "gain", "reset", "derivative"}


def numbers(about: Parameter) -> st.SearchStrategy[float]:
    low, high = about.low, min(about.high, 1e9)
    edges = [edge for edge in (low, high) if edge > low or not about.is_low_excluded]
    positive = st.floats(max(low, SMALLEST), high)
    mirrored = [positive.map(lambda x: -x)] if low < 0 else []
    return st.one_of(st.sampled_from(edges), positive, st.floats(max(low, 0.01), min(high, 100.0)), *mirrored)


def parts(of: type, **own_strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any legal instance of a part of a loop."""
    strategies: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields(of):
        about: Parameter | None = field.metadata.get("parameter")
        if field.name in own_strategies or about is None:
            continue
        if about.choices:
            strategy: st.SearchStrategy[Any] = st.sampled_from(about.choices)
        elif isinstance(field.default, bool):
            strategy = st.booleans()
        else:
            strategy = numbers(about)
        if of is ControllerSpec and field.name in OPTIONAL:
            strategy = st.none() | strategy
        strategies[field.name] = strategy
    return st.builds(of, **strategies, **own_strategies)


op_ranges = st.sampled_from([(0.0, 100.0), (0.0, 1.0), (-1e9, 1e9)])
lag = st.sampled_from([0.0, SMALLEST, 1e6]) | st.floats(SMALLEST, 1e6)


@st.composite
def processes(draw: st.DrawFn) -> ProcessSpec:
    model = draw(st.sampled_from(["fopdt", "sopdt", "integrator"]))
    first = draw(lag)
    second = draw(lag | st.sampled_from([first, first * (1 + 1e-9), first * 0.995]))
    tau = {"fopdt": (first,), "sopdt": (first, second), "integrator": ()}[model]
    return draw(parts(ProcessSpec, model=st.just(model), tau=st.just(tau)))


def moves(span: tuple[float, float]) -> st.SearchStrategy[Move]:
    when: dict[str, Any] = {"at": st.integers(0, ns(500)), "ramp": st.sampled_from([0, ns(3.3), ns(100)])}
    return st.one_of(
        st.builds(Move, **when, sp=st.floats(*span)),
        st.builds(Move, **when, op=st.floats(0.0, 100.0)),
        st.builds(Move, at=when["at"], mode=st.sampled_from(MODES[:2])),
    )


@st.composite
def loops(draw: st.DrawFn, name: str) -> LoopSpec:
    low = draw(st.sampled_from([0.0, -1e6, 300.0]))
    span = (low, low + draw(st.sampled_from([1e-6, 1.0, 100.0, 1e9])))
    inside = st.sampled_from(span) | st.floats(*span)
    return LoopSpec(
        id=name, range=span, sp=draw(inside), pv=draw(st.none() | inside), op=draw(st.floats(0.0, 100.0)),
        mode=draw(st.sampled_from(MODES[:2])), process=draw(processes()), controller=draw(parts(ControllerSpec)),
        valve=draw(parts(ValveSpec)), sensor=draw(parts(SensorSpec)), disturbance=draw(parts(DisturbanceSpec)),
        recording=draw(parts(RecordingSpec, resolution=parts(Resolution), op_range=op_ranges)),
        operator=draw(parts(OperatorSpec, day=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=96).map(tuple))),
        moves=tuple(draw(st.lists(moves(span), max_size=3))))


@st.composite
def plants(draw: st.DrawFn) -> list[LoopSpec]:
    specs = [draw(loops(f"L{i}")) for i in range(draw(st.integers(1, 3)))]
    if len(specs) > 1 and draw(st.booleans()):
        specs[1] = replace(specs[1], cascade="L0", mode=draw(st.sampled_from(MODES)))
    return specs


@settings(max_examples=examples(80), suppress_health_check=list(HealthCheck))
@given(plant=plants(), scan=st.sampled_from([0.1, 1.0, 5.0, 3600.0]), seed=st.integers(0, 2**32))
def test_any_legal_loop_gives_numbers(plant: list[LoopSpec], scan: float, seed: int) -> None:
    block = Plant(plant, seed=seed, start=START, interval=ns(scan), scan=ns(scan)).advance(500)
    for values in (block.pv, block.op, block.sp, block.valve_position, block.true_pv):
        assert np.isfinite(values).all()
    if all(loop.recording.resolution.op == 0 for loop in plant):
        assert block.op.min() >= min(loop.recording.op_range[0] for loop in plant)
        assert block.op.max() <= max(loop.recording.op_range[1] for loop in plant)
