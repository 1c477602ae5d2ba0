"""Every kind of fault changes nothing before its start, something while it is present, and nothing after it is over."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from faulty_loops import SIGNALS, fault, loop, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import CAMPAIGNS, examples

from clpm_execd.plant.block import Arrivals, Block, Floats
from clpm_execd.plant.faults import FAULTS, GROUPS
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import DisturbanceSpec, FaultSpec, LoopSpec, SensorSpec

BEGIN, END, SAMPLES = 300, 1500, 3600
DATA_PATH = [name for name, kind in FAULTS.items() if kind.group == "data path"]
ACTS_ON_PLANT = [name for name in FAULTS if name not in DATA_PATH]
# Parameters with which a fault acts within the minutes of a test.
STRONG: dict[str, dict[str, float | str]] = {
    "interaction": {"with": "FIC102"}, "fouling": {"over": 600.0}, "drift": {"over": 600.0},
    "setpoint-ramp": {"over": 600.0}, "leak": {"flow": 60.0}, "mode-hopping": {"dwell": 100.0},
    "spikes": {"rate": 200.0}}


def trio(name: str, spec: FaultSpec | None) -> list[LoopSpec]:
    """Return a loop and a cascade; the loop has the fault, or the slave where the cascade is broken."""
    faults = () if spec is None else (spec,)
    alone, slave = ((), faults) if name == "cascade-broken" else (faults, ())
    if name == "windup":  # shows where OP is at its limit
        faults = (*faults, fault("load-step", 600, 300, size=-70.0))
        alone = faults
    return [loop(*alone), loop(*slave, loop_id="FIC102", cascade="TIC101", mode="CAS"),
            loop(loop_id="TIC101", kind="temperature")]


@cache
def healthy_twin(name: str) -> Block:
    return run(*trio(name, None), samples=SAMPLES)


@cache
def twins(name: str) -> tuple[Block, Block]:
    """Return the plant with the fault for twenty minutes, and without it."""
    strong = fault(name, BEGIN, END - BEGIN, **STRONG.get(name, {}))
    return run(*trio(name, strong), samples=SAMPLES), healthy_twin("windup" if name == "windup" else "")


def differs(faulty: Block, healthy: Block, rows: slice) -> bool:
    return any(not np.array_equal(getattr(faulty, signal)[rows], getattr(healthy, signal)[rows])
               for signal in ("pv", "op", "sp", "mode"))


@pytest.mark.parametrize("name", ACTS_ON_PLANT)
def test_a_fault_changes_nothing_before_its_start_and_its_effect_ends(name: str) -> None:
    faulty, healthy = twins(name)
    assert not differs(faulty, healthy, slice(0, BEGIN))
    assert differs(faulty, healthy, slice(BEGIN, END))
    late = slice(SAMPLES - 600, SAMPLES)
    for signal in ("pv", "op", "sp"):
        deviation = np.abs(getattr(faulty, signal)[late] - getattr(healthy, signal)[late])
        assert deviation.max() < 0.1, f"{signal} is still {deviation.max()} off"
    assert np.array_equal(faulty.mode[late], healthy.mode[late])


def test_a_leak_acts_only_on_a_loop_that_needs_less_flow() -> None:
    def of(sp: float, *faults: FaultSpec) -> Block:
        return run(loop(*faults, sp=sp, op=sp / 2.0 + 5.0), samples=900)

    leak = fault("leak", flow=20.0)
    assert not differs(of(50.0, leak), of(50.0), slice(None))
    low = of(20.0, leak)
    nominal_op, gain = 15.0, 1.1  # OP where PV is 20, %/%
    assert low.op[-300:].max() == 0.0
    assert low.truth is not None
    assert low.truth.visible[-300:].all()
    assert low.true_pv[-300:].mean() == pytest.approx(20.0 + gain * (20.0 - nominal_op), abs=0.5)


def test_a_load_that_takes_its_time_does_so_at_its_end_as_well_and_one_with_a_ramp_ends_at_once() -> None:
    calm = {"disturbance": DisturbanceSpec(sigma=0.0), "sensor": SensorSpec(noise=0.0)}

    def op(**times: float) -> Floats:
        return run(loop(fault("load-step", BEGIN, END - BEGIN, size=8.0, **times), **calm), samples=SAMPLES).op[:, 0]

    gradual, abrupt = op(over=400.0), op(ramp=400.0)
    assert abs(gradual[BEGIN + 200] - gradual[END - 200]) < 0.5, "half of the way up, and half of the way down"
    assert gradual[END - 200] > gradual[(BEGIN + END) // 2] + 3.0
    assert abrupt[END - 200] < gradual[END - 200] - 3.0


@pytest.mark.parametrize("name", DATA_PATH)
def test_a_fault_of_the_data_path_does_not_act_on_the_plant(name: str) -> None:
    faulty, healthy = twins(name)
    for signal in SIGNALS:
        assert np.array_equal(getattr(faulty, signal), getattr(healthy, signal))
    assert faulty.arrivals is not None
    assert list(faulty.arrivals.has_data_path_fault) == [True, False, False]


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("cascade-broken", "interaction")])
def test_a_fault_changes_no_other_loop(name: str) -> None:
    faulty, healthy = twins(name)
    for signal in SIGNALS:
        assert np.array_equal(getattr(faulty, signal)[:, 1:], getattr(healthy, signal)[:, 1:])


def test_the_catalogue_is_in_the_order_of_its_groups() -> None:
    groups = [GROUPS.index(kind.group) for kind in FAULTS.values()]
    assert groups == sorted(groups)
    assert set(groups) == set(range(len(GROUPS)))
    for kind in FAULTS.values():
        assert kind.parameters.keys() == kind.defaults.keys()
        for key, default in kind.defaults.items():
            if isinstance(default, float):
                assert kind.parameters[key].low <= default <= kind.parameters[key].high


def parameters(name: str) -> st.SearchStrategy[dict[str, float | str]]:
    """Return any valid values of the parameters, their limits above all."""
    kind = FAULTS[name]
    each: dict[str, st.SearchStrategy[float | str]] = {}
    for key, about in kind.parameters.items():
        if isinstance(kind.defaults[key], str):
            each[key] = st.just("FIC102")
        else:
            each[key] = st.one_of(st.sampled_from([about.low, about.high]), st.floats(about.low, about.high)).filter(
                lambda value, about=about: not (about.is_low_excluded and value <= about.low))
    return st.fixed_dictionaries(each)


@st.composite
def faults(draw: st.DrawFn) -> FaultSpec:
    name = draw(st.sampled_from(sorted(FAULTS)))
    duration = draw(st.sampled_from([None, 1.0, 60.0, 400.0]))
    return fault(name, draw(st.integers(-50, 300)), duration, draw(st.sampled_from([None, 60.0, 500.0])),
                 draw(st.sampled_from([0.0, 10.0, 500.0])), **draw(parameters(name)))


@st.composite
def plants(draw: st.DrawFn) -> list[LoopSpec]:
    kinds = st.sampled_from(["flow", "pressure", "level", "temperature", "composition"])
    some = st.lists(faults(), max_size=5)
    master = loop(*draw(some), loop_id="TIC101", kind=draw(kinds))
    slave = loop(*draw(some), loop_id="FIC102", kind=draw(kinds), cascade="TIC101", mode="CAS")
    third = loop(*draw(some), fault("stiction"), loop_id="FIC101", kind=draw(kinds))
    valve = replace(third.valve, characteristic=draw(st.sampled_from(["linear", "equal-percentage", "quick-opening"])))
    return [slave, replace(third, valve=valve), master]


@pytest.mark.slow
@settings(max_examples=examples(20))
@given(plants())
def test_any_combination_of_faults_gives_finite_numbers(loops: list[LoopSpec]) -> None:
    block = run(*loops, samples=10_000 if CAMPAIGNS else 2_000)
    for signal in SIGNALS:
        assert np.isfinite(getattr(block, signal)).all(), signal
    assert block.truth is not None
    assert ((block.truth.severity >= 0) & (block.truth.severity <= 1)).all()
    assert (block.truth.visible <= block.truth.present).all()


def concatenate_arrivals(parts: list[Block], signal: str) -> np.ndarray:
    return np.concatenate([getattr(part.arrivals, signal) for part in parts if isinstance(part.arrivals, Arrivals)])


@pytest.mark.slow
@settings(max_examples=examples(25))
@given(plants(), st.lists(st.integers(1, 150), min_size=2, max_size=5))
def test_samples_simulated_in_parts_are_those_simulated_at_once(loops: list[LoopSpec], lengths: list[int]) -> None:
    at_once = run(*loops, samples=sum(lengths))
    plant = Plant(loops, seed=7, start=int(at_once.times[0]))
    parts = [plant.advance(n) for n in lengths]
    for signal in SIGNALS:
        assert np.array_equal(np.concatenate([getattr(part, signal) for part in parts]), getattr(at_once, signal))
    for signal in ("present", "visible", "severity"):
        assert np.array_equal(np.concatenate([getattr(p.truth, signal) for p in parts]), getattr(at_once.truth, signal))
    if at_once.arrivals is not None:
        for signal in ("loop", "times", "pv", "op", "quality", "present"):
            values = concatenate_arrivals(parts, signal)
            assert np.array_equal(values, getattr(at_once.arrivals, signal), equal_nan=signal == "pv")


@pytest.mark.slow
@settings(max_examples=examples(15))
@given(plants())
def test_a_further_loop_with_faults_changes_no_other_loop(loops: list[LoopSpec]) -> None:
    further = loop(fault("gaps"), fault("stuck"), fault("bias"), fault("aggressive"), loop_id="ZIC900")
    alone, together = run(*loops, samples=300), run(further, *loops, samples=300)
    for signal in SIGNALS:
        assert np.array_equal(getattr(alone, signal), getattr(together, signal)[:, 1:]), signal
