"""Whichever engine simulates a plant, arrays, plain Python or compiled, the values are the same to the last bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from still import START, move, ns
from tiers import examples

from clpm_execd.plant.block import Block
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.kernel import single_loop
from clpm_execd.plant.kernel.equations import equal_percentage
from clpm_execd.plant.kernel.single_loop import SingleLoopEngine
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import ControllerSpec, LoopSpec, OperatorSpec, ProcessSpec, ValveSpec

pytestmark = pytest.mark.slow

SIGNALS = ("times", "pv", "op", "sp", "mode", "valve_position", "true_pv")
# What makes the plant choose each engine: up to so many loops in plain Python, after so much work compiled.
ENGINES = {"arrays": (0, 10**18), "interpreted": (99, 10**18), "compiled": (0, 0)}
METHODS = {"interpreted": "_simulate_in_python", "compiled": "_simulate_compiled"}

processes = st.builds(
    ProcessSpec, model=st.just("fopdt"), gain=st.floats(-3.0, 3.0).filter(bool), tau=st.tuples(st.floats(0.0, 500.0)),
    dead_time=st.floats(0.0, 60.0),
) | st.builds(
    ProcessSpec, model=st.just("sopdt"), gain=st.floats(0.1, 3.0), tau=st.tuples(*[st.floats(0.0, 500.0)] * 2),
    dead_time=st.sampled_from([0.0, 7.0, 12.3]),
) | st.builds(
    ProcessSpec, model=st.just("integrator"), gain=st.floats(0.001, 0.5), tau=st.just(()),
    dead_time=st.sampled_from([0.0, 3.0, 4.7]))
moves = st.builds(
    move, st.integers(0, 400), sp=st.floats(0.0, 100.0)) | st.builds(
    move, st.integers(0, 400), st.integers(1, 90), sp=st.floats(0.0, 100.0)) | st.builds(
    move, st.integers(0, 400), op=st.floats(0.0, 100.0)) | st.builds(
    move, st.integers(0, 400), mode=st.sampled_from(["MAN", "AUT"]))


@st.composite
def plants(draw: st.DrawFn) -> list[LoopSpec]:
    loops = []
    for n in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["flow", "pressure", "level", "temperature", "composition"]))
        parts: dict[str, Any] = {
            "controller": ControllerSpec(
                form=draw(st.sampled_from(["ideal", "series"])), derivative=draw(st.sampled_from([0.0, 2.0])),
                setpoint_weight=draw(st.sampled_from([1.0, 0.3])), setpoint_tracking=draw(st.booleans())),
            "valve": ValveSpec(
                characteristic=draw(st.sampled_from(["linear", "equal-percentage", "quick-opening"])),
                lag=draw(st.sampled_from([0.0, 2.5]))),
            "operator": OperatorSpec(interval=draw(st.sampled_from([0.0, 1000.0])), manual=30.0,
                                     automatic=draw(st.sampled_from([0.0, 0.0, 90.0]))),
            "moves": tuple(draw(st.lists(moves, max_size=3)))}
        if draw(st.booleans()):
            parts["process"] = draw(processes)
        loops.append(replace(template(kind, f"LOOP{n}", (0.0, 100.0)), **parts))
    return loops


def use(engine: str, patched: pytest.MonkeyPatch) -> None:
    for name, value in zip(("MAX_LOOPS_INTERPRETED", "MIN_LOOP_SCANS_TO_COMPILE"), ENGINES[engine], strict=True):
        patched.setattr(single_loop, name, value)


def simulate(engine: str, loops: Sequence[LoopSpec], cuts: Sequence[int], interval: float, scan: float) -> list[Block]:
    with pytest.MonkeyPatch.context() as patched:
        use(engine, patched)
        one = Plant(loops, seed=3, start=START, interval=ns(interval), scan=ns(scan))
        return [one.advance(n) for n in cuts]


def concatenate(blocks: Sequence[Block], signal: str) -> Any:
    return np.concatenate([getattr(block, signal) for block in blocks])


@settings(max_examples=examples(60))
@given(loops=plants(), cuts=st.lists(st.integers(1, 150), min_size=1, max_size=3),
       times=st.sampled_from([(1.0, 1.0), (0.5, 0.5), (5.0, 1.0), (20.0, 0.5)]))
def test_single_loops_give_the_bits_of_the_arrays(
        loops: list[LoopSpec], cuts: list[int], times: tuple[float, float]) -> None:
    of_arrays = simulate("arrays", loops, cuts, *times)
    for engine in METHODS if find_spec("numba") else ["interpreted"]:
        of_single_loops = simulate(engine, loops, cuts, *times)
        for signal in SIGNALS:
            np.testing.assert_array_equal(concatenate(of_arrays, signal), concatenate(of_single_loops, signal),
                                          err_msg=f"{signal}, {engine}")


@pytest.mark.parametrize("engine", ["interpreted", "compiled"])
def test_each_engine_is_really_used(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    for name in METHODS.values():
        real = getattr(SingleLoopEngine, name)
        monkeypatch.setattr(
            SingleLoopEngine, name, lambda self, *args, real=real: used.append(real) or real(self, *args))
    simulate(engine, default_loops(), [300], 1.0, 1.0)
    assert {real.__name__ for real in used} == {METHODS[engine]}


@pytest.mark.parametrize("engine", ["interpreted", "compiled"])
def test_a_plant_resumes_from_the_snapshot_of_any_engine(engine: str) -> None:
    loops, snapshots = default_loops(), {}
    for way in ("arrays", engine):
        with pytest.MonkeyPatch.context() as patched:
            use(way, patched)
            one = Plant(loops, seed=3, start=START)
            one.advance(5000)
            snapshots[way] = one.snapshot()
    assert snapshots["arrays"].tables.keys() == snapshots[engine].tables.keys()
    for name, rows in snapshots["arrays"].tables.items():
        np.testing.assert_array_equal(rows.values, snapshots[engine].tables[name].values, err_msg=name)


@pytest.mark.process
def test_only_bulk_work_loads_the_compiler() -> None:
    program = (
        "import sys\n"
        "from clpm_execd.plant.defaults import default_loops\n"
        "from clpm_execd.plant.kernel import single_loop\n"
        "from clpm_execd.plant.plant import Plant\n"
        "single_loop.MIN_LOOP_SCANS_TO_COMPILE //= 20\n"
        "plant = Plant(default_loops(), start=0, interval=60 * 10**9)\n"
        "for _ in range(350): plant.advance(1)\n"  # as a live stream asks
        "assert 'numba' not in sys.modules\n"
        "plant.advance(350)\n"
        "assert 'numba' in sys.modules\n")
    pytest.importorskip("numba")
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_large_plant_is_simulated_in_arrays() -> None:
    crowd = [template("flow", f"FIC{n}", (0.0, 100.0)) for n in range(single_loop.MAX_ENGINE_LOOPS + 1)]
    assert Plant(crowd, start=START)._single_loop is None


@given(st.floats(-100.0, 100.0), st.floats(2.0, 1000.0))
def test_the_flow_of_equal_percentage_is_that_of_the_exponential(travel: float, rangeability: float) -> None:
    log_r = np.log(rangeability) / 100.0
    exact = np.expm1(np.longdouble(travel) * np.longdouble(log_r)) / np.longdouble(log_r)
    assert equal_percentage(travel, float(log_r)) == pytest.approx(float(exact), rel=1e-12, abs=1e-300)
