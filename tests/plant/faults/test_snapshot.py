"""A plant that resumes from the snapshot of another one, taken at any scan, continues it to the last bit."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from faulty_loops import START, fault, loop
from hypothesis import given, settings
from hypothesis import strategies as st
from still import move
from tiers import CAMPAIGNS, examples

from clpm_execd.plant.block import AFFECTED, Arrivals, Block, Truth
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import Fault
from clpm_execd.plant.learned.model import LearnedModel
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import (
    ControllerSpec,
    FaultSpec,
    LoopSpec,
    OperatorSpec,
    RecordingSpec,
    Resolution,
    ValveSpec,
)

PARAMETERS = {"mode-hopping": {"dwell": 20.0}, "setpoint-moves": {"interval": 15.0}, "manual-stroking": {"dwell": 10.0},
              "spikes": {"rate": 500.0}, "late": {"share": 0.5, "delay": 9.0}, "compression": {"longest": 40.0},
              "interaction": {"with": "FIC102", "lag": 30.0}, "drift": {"over": 100.0}, "fouling": {"over": 100.0}}
KINDS = sorted(FAULTS)
SLAVE_FAULT, VALVE_FAULTS = "cascade-broken", [name for name, kind in FAULTS.items() if kind.group == "valve"]


def model(order: int, interval: float, **parts: Any) -> LearnedModel:
    """A model of a record of noise."""
    chance = np.random.default_rng(order)
    signals, residuals, held = (chance.normal(0.0, 0.5, (200, 3)) for _ in range(3))
    settings = np.array([0.6, 4.0, 0.0, 1.5, 5.0, 0.0])
    process, controller = np.zeros((2, order)), np.zeros((3, order + 1))
    process[:, 0], controller[:, 0], controller[:, 1] = (0.8, 0.3), (1.0, -0.75, 0.75), (0.0, 0.6, -0.6)
    return LearnedModel(**{
        "interval": interval, "offset": 0.0, "process_pv": process[0], "process_op": process[1],
        "controller_op": controller[0][:-1], "controller_pv": controller[1], "controller_sp": controller[2],
        "innovation": np.empty(0), "controller_noise": np.empty(0), "setpoint": np.empty(0),
        "drift": np.array([0.9, 0.5, 0.2, 0.1]), "signals": signals, "residuals": residuals,
        "is_repeat": held[:, :2] > 0, "settings": settings, **parts})


OF_A_PROCESS = {"process_pv": np.empty(0), "process_op": np.empty(0), "innovation": np.array([0.9, 0.1, 0.2, 0.1]),
                "controller_op": np.empty(0), "controller_pv": np.empty(0), "controller_sp": np.empty(0),
                "controller_noise": np.array([0.5])}
MODELS = [model(2, 1.0), model(6, 3.0, setpoint=np.full(6, 0.15)), model(2, 5.0, **OF_A_PROCESS)]


def quick(kind: str, start: float = 0.0, duration: float | None = None, repeat: float | None = None,
          ramp: float = 0.0) -> FaultSpec:
    """Return a fault that acts within a minute."""
    return fault(kind, start, duration, repeat, ramp, **PARAMETERS.get(kind, {}))


def busy_loop(loop_id: str, kind: str, *faults: FaultSpec, **parts: Any) -> LoopSpec:
    """Return a loop with an operator, a slow valve, an exception deviation, and moves at any time."""
    moves = (move(5, ramp=120, sp=55.0), move(40, mode="MAN"), move(45, ramp=100, op=40.0), move(170, mode="AUT"))
    process = template(kind, loop_id, (0.0, 100.0)).process
    default_parts: dict[str, Any] = {
        "process": replace(process, dead_time=process.dead_time + 0.3), "controller": ControllerSpec(derivative=1.0),
        "moves": moves, "operator": OperatorSpec(interval=1800.0, automatic=40.0, manual=15.0),
        "valve": ValveSpec(lag=2.0),
        "recording": RecordingSpec(resolution=Resolution(pv=0.01), exception=0.2)}
    return loop(*faults, loop_id=loop_id, kind=kind, **{**default_parts, **parts})


@st.composite
def faults_of(draw: st.DrawFn, kinds: Sequence[str]) -> tuple[FaultSpec, ...]:
    times = st.integers(0, 250)
    return tuple(
        quick(kind, draw(times), draw(st.none() | st.integers(1, 120)), draw(st.none() | st.integers(121, 200)),
              draw(st.sampled_from([0, 0, 7, 90])))
        for kind in draw(st.lists(st.sampled_from(kinds), max_size=3)))


@st.composite
def plants(draw: st.DrawFn) -> list[LoopSpec]:
    """Draw a cascade and single loops, of all types and with any faults."""
    single_kinds = [kind for kind in KINDS if kind != SLAVE_FAULT]
    master_kinds = [kind for kind in single_kinds if kind not in VALVE_FAULTS]
    slave_kinds = [kind for kind in KINDS if kind != "interaction"]
    types = st.sampled_from(["flow", "pressure", "level", "temperature", "composition"])
    loops = [loop(*draw(faults_of(slave_kinds)), loop_id="FIC102", cascade="TIC101", mode="CAS"),
             loop(*draw(faults_of(master_kinds)), loop_id="TIC101", kind="temperature")]
    for n in range(draw(st.integers(1, 3))):
        make = draw(st.sampled_from([loop, busy_loop]))
        loops.append(make(*draw(faults_of(single_kinds)), loop_id=f"LOOP{n}", kind=draw(types))
                     if make is loop else busy_loop(f"LOOP{n}", draw(types), *draw(faults_of(single_kinds))))
    for n, of in enumerate(draw(st.lists(st.sampled_from(MODELS), max_size=2))):
        loops.append(loop(*draw(faults_of(single_kinds)), loop_id=f"LEARNED{n}", learned_model=of))
    return draw(st.permutations(loops))


def select(block: Block, loop_id: str) -> dict[str, Any]:
    """Return everything in a block about one loop, whatever its column."""
    i = block.loops.index(loop_id)
    result: dict[str, Any] = {name: getattr(block, name)[:, i] for name in (
        "pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")}
    result["times"] = block.times
    if (truth := block.truth) is not None and i in truth.column:
        is_own = np.array([kind != AFFECTED for kind in truth.kinds])  # whether others affect it depends on the others
        mine = np.flatnonzero((truth.column == i) & is_own)
        result |= {f"truth {f.name}": getattr(truth, f.name)[:, mine] for f in fields(Truth)
                   if f.name in ("present", "visible", "severity")}
        result["kinds"] = [truth.kinds[k] for k in mine]
    if (sent := block.arrivals) is not None and sent.has_data_path_fault[i]:
        here, n = sent.loop == i, len(result.get("kinds", ()))
        result |= {f"arrived {f.name}": getattr(sent, f.name)[here] for f in fields(Arrivals)
                   if f.name not in ("has_data_path_fault", "loop")}
        result |= {f"arrived {name}": result[f"arrived {name}"][:, :n] for name in ("present", "visible")}
    return result


def assert_alike(block: Block, other: Block, loops: Sequence[str]) -> None:
    for loop_id in loops:
        one, two = select(block, loop_id), select(other, loop_id)
        assert one.keys() == two.keys()
        for name, values in one.items():
            np.testing.assert_array_equal(values, two[name], err_msg=f"{loop_id} {name}")


def simulate(loops: list[LoopSpec], samples: int, interval: int, scan: int) -> Plant:
    plant = Plant(loops, seed=7, start=START, interval=interval, scan=scan)
    if samples:
        plant.advance(samples)
    return plant


@pytest.mark.slow
@settings(max_examples=examples(60))
@given(plants(), st.integers(0, 300), st.integers(1, 100), st.sampled_from([(1, 1), (1, 0.5), (5, 1)]), st.data())
def test_a_plant_resumes_at_any_scan_as_if_it_had_never_stopped(
        loops: list[LoopSpec], at: int, then: int, times: tuple[int, float], data: st.DataObject) -> None:
    interval, scan = (round(t * SECOND) for t in times)
    original = simulate(loops, at, interval, scan)
    snapshot = original.snapshot()
    resumed_loops = data.draw(st.permutations(loops))
    removed = data.draw(st.sets(st.sampled_from(["LOOP0", "LOOP1", "LOOP2", "LEARNED0", "LEARNED1"])))
    new = [busy_loop("NEW", "flow", quick("stiction", 3), quick("late"), quick("bias", ramp=50), quick("manual", 9))]
    resumed_loops = [one for one in resumed_loops if one.id not in removed] + data.draw(st.sampled_from([[], new]))
    plant = Plant(resumed_loops, seed=7, start=snapshot.next_time, interval=interval, scan=scan, snapshot=snapshot)
    remaining = [one.id for one in resumed_loops if one.id != "NEW"]
    for n in (1, then):
        assert_alike(plant.advance(n), original.advance(n), remaining)


@pytest.mark.parametrize("model_of", MODELS)
@pytest.mark.parametrize("at", range(1, 7))
def test_a_learned_loop_resumes_between_two_instants_of_its_record(model_of: LearnedModel, at: int) -> None:
    loops = [loop(loop_id="LEARNED", learned_model=model_of)]
    original = simulate(loops, at, SECOND, SECOND)
    snapshot = original.snapshot()
    resumed = Plant(loops, seed=7, start=snapshot.next_time, snapshot=snapshot)
    assert_alike(resumed.advance(20), original.advance(20), ["LEARNED"])


def all_faults() -> list[LoopSpec]:
    """Return loops with every kind of fault, each in a loop of its own, that starts and ends repeatedly."""
    single_kinds = [kind for kind in KINDS if kind != SLAVE_FAULT]
    loops = [busy_loop(f"L{n}", "flow", quick(kind, 5, 20, 45, ramp=4.0)) for n, kind in enumerate(single_kinds)]
    loops += [loop(quick(SLAVE_FAULT, 5, 20, 45), loop_id="FIC102", cascade="TIC101", mode="CAS"),
              loop(loop_id="TIC101", kind="temperature")]
    return [*loops, *(loop(quick("bias", 5, 20, 45), loop_id=f"LEARNED{n}", learned_model=of)
                      for n, of in enumerate(MODELS))]


@pytest.mark.parametrize("kind", ["stiction", "leak"])
def test_a_valve_without_lag_does_not_depend_on_the_lags_of_other_valves(kind: str) -> None:
    far = (move(1, mode="MAN"), *(move(at, op=op) for at, op in ((5, 61.7), (10, 8.3), (15, 97.1), (20, 15.1))))
    prompt, lagging = (loop(quick(kind), loop_id=name, moves=far, valve=ValveSpec(lag=lag))
                       for name, lag in (("PROMPT", 0.0), ("LAGGING", 2.0)))
    alone, together = (Plant(loops, seed=7, start=START) for loops in ([prompt], [prompt, lagging]))
    assert_alike(together.advance(30), alone.advance(30), ["PROMPT"])


@pytest.mark.slow
def test_every_kind_of_fault_resumes_at_any_scan() -> None:
    loops = all_faults()
    for at in range(1, 80, 3 if CAMPAIGNS else 7):
        original = simulate(loops, at, SECOND, SECOND)
        again = Plant(loops, seed=7, start=original.next_time, snapshot=original.snapshot())
        assert_alike(again.advance(40), original.advance(40), original.loops)


def test_a_snapshot_does_not_change_when_the_plant_continues() -> None:
    faults = (quick(kind) for kind in ("stiction", "late", "compression"))
    plant = simulate([busy_loop("A", "flow", *faults)], 50, SECOND, SECOND)
    snapshot = plant.snapshot()
    before = pickle.dumps(snapshot)
    plant.advance(100)
    assert pickle.dumps(snapshot) == before


def resume(plant: Plant, *loops: LoopSpec, **other: Any) -> Plant:
    snapshot = plant.snapshot()
    return Plant(loops, start=snapshot.next_time, snapshot=snapshot, **{"seed": 7, **other})


def test_a_new_loop_starts_at_steady_state_and_its_times_count_from_there() -> None:
    old, new = busy_loop("OLD", "flow"), busy_loop("NEW", "pressure", quick("stiction", 10), quick("late", 20), pv=40.0)
    plant = resume(simulate([old], 333, SECOND, SECOND), old, new)
    alone = Plant([new], seed=7, start=plant.next_time)
    for n in (1, 200):
        assert_alike(plant.advance(n), alone.advance(n), ["NEW"])


def test_a_new_loop_keeps_its_start_when_the_plant_resumes_again() -> None:
    old, new = busy_loop("OLD", "flow"), busy_loop("NEW", "pressure", quick("stiction", 10), quick("leak", 200))
    plant = resume(simulate([old], 333, SECOND, SECOND), old, new)
    plant.advance(77)
    again = resume(plant, new, old)
    assert_alike(again.advance(300), plant.advance(300), ["OLD", "NEW"])


@pytest.mark.parametrize("change", [
    {"sp": 60.0}, {"faults": (quick("leak"),)}, {"moves": ()}, {"operator": OperatorSpec(interval=1801.0)}])
def test_a_changed_loop_starts_at_steady_state(change: dict[str, Any]) -> None:
    same, changed = busy_loop("SAME", "flow"), busy_loop("CHANGED", "flow")
    before = simulate([same, changed], 120, SECOND, SECOND)
    changed = replace(changed, **change)
    plant = resume(before, same, changed)
    block = plant.advance(50)
    assert_alike(block, before.advance(50), ["SAME"])
    assert_alike(block, Plant([changed], seed=7, start=START + 120 * SECOND).advance(50), ["CHANGED"])


def test_a_whole_cascade_starts_at_steady_state_when_one_of_its_loops_has_changed() -> None:
    slave = loop(loop_id="FIC102", cascade="TIC101", mode="CAS")
    master = loop(loop_id="TIC101", kind="temperature")
    before = simulate([slave, master], 120, SECOND, SECOND)
    changed = replace(slave, sp=60.0)
    fresh = Plant([changed, master], seed=7, start=before.next_time)
    assert_alike(resume(before, changed, master).advance(50), fresh.advance(50), ["FIC102", "TIC101"])


@pytest.mark.parametrize("other", [{"seed": 8}, {"interval": 2 * SECOND, "scan": SECOND}, {"scan": SECOND // 2}])
def test_a_plant_with_another_seed_interval_or_scan_does_not_resume(other: dict[str, Any]) -> None:
    loops = default_loops()
    before = Plant(loops, seed=7, start=START)
    before.advance(100)
    fresh = Plant(loops, start=before.next_time, **{"seed": 7, **other})
    assert_alike(resume(before, *loops, **other).advance(50), fresh.advance(50), fresh.loops)


def test_a_snapshot_that_does_not_end_where_the_plant_starts_is_refused() -> None:
    snapshot = simulate([loop()], 10, SECOND, SECOND).snapshot()
    with pytest.raises(ValueError, match="does not start where the snapshot ends"):
        Plant([loop()], seed=7, start=START, snapshot=snapshot)


def test_a_snapshot_without_one_of_the_stages_is_refused() -> None:
    snapshot = simulate([loop(quick("stiction"))], 10, SECOND, SECOND).snapshot()
    for name in snapshot.tables:
        lacking = replace(snapshot, tables={n: rows for n, rows in snapshot.tables.items() if n != name})
        with pytest.raises(ValueError, match="of another plant"):
            Plant([loop(quick("stiction"))], seed=7, start=snapshot.next_time, snapshot=lacking)


# What changes from scan to scan and is not in `stored_arrays`: what its stage stores in another form,
STORED_OTHERWISE = {
    "Operator": {"_plan", "_ramps"}, "DeadTime": {"_values", "_head"}, "Late": {"_delayed"},
    "OperationFaults": {"_operator_mode", "_forcing_manual", "_changes", "_next_tick", "_action_count",
                        "_op_before", "_sp_change", "shift"},
    "Compression": {"_pending", "_reported", "_unreported", "_archived", "_candidate", "_doors"},
    "Plant": {"next_time", "_next_tick"}, "CoupledLoads": {"_passed"}, "Couplings": {"_own_load"},
}
# or what the next scan computes again from what is stored, before it reads it.
RECOMPUTED = {
    "State": {"true_pv", "effective_mode", "signals"}, "Valve": {"flow"},
    "Process": {"_old_flow", "_coefficients", "_a11", "_a21", "_a22", "_b1_new", "_b2_new", "_b1_old", "_b2_old",
                "_b1_load", "_b2_load"},
    "Controller": {"_is_manual", "_modes_without_manual", "_none_was_manual", "kp", "ki", "anti_windup_gain",
                   *("_sp", "_op", "_pv", "_mode", "_effective_mode")},
    "DeadTime": {"_is_at_end"}, "Operator": {"_next_quarter_tick"}, "BlockDraws": {"_first", "_block"},
    "Schedule": {"tick", "severity", "_block", "_block_first", "_changes", "_changing"},
    "RepeatedSchedule": {"tick", "severity", "_severity_there"},
    "ParameterEffects": {"_severity", "_array"},
    "OperationFaults": {"_severity", "_present", "_sp_effect"}, "LoadFaults": {"_load_step"},
    "DistantCycles": {"_knot", "_at_knots"},
    "SensorFaults": {"_sigma", "_parameters", "_offset", "_ceiling", "_spike", "_step", "_spike_probability",
                     "_has_spikes", "_is_frozen", "_lost_columns", "_quantization_columns", "_are_healthy"},
    "EffectMeter": {"_latest_bin"}, "TruthObserver": {"_shares", "_latest_causes"},
    "DataPath": {"_block_loops", "_block_column"},
    "ProcessFaults": {"gain", "lag", "_lags", "_coefficients"},
    "LearnedLoops": {"_is_due", "_residual", "_deviations", "gain", "lag"},
    "Stiction": {"_half_band", "_half_slack", "_is_free", "_any_free", "_all_free"}, "CoupledLoads": {"_signals"},
    "ValveFaults": {"_s", "_j", "_leak_flow", "_stuck", "_capacity", "_extra_capacity", "_leaking", "_is_stuck",
                    "_any_stuck", "_fraction", "_is_instant", "_any_instant", "_all_instant", "_changes_flow"},
}


def find_parts(value: object, visited: dict[int, object]) -> Iterator[object]:
    """Every object of the plant's own classes that can be reached from a value."""
    if id(value) in visited:
        return
    visited[id(value)] = value
    if isinstance(value, (list, tuple, set)):
        inner: list[Any] = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    elif type(value).__module__.startswith("clpm_execd.plant") and not is_dataclass(value):
        yield value
        inner = list(vars(value).values())
    else:
        return
    for one in inner:
        yield from find_parts(one, visited)


def state_of(part: object) -> dict[str, bytes]:
    """Each attribute of a part as it is now, but for parts of its own."""
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return sorted((repr(k), plain(v)) for k, v in value.items())
        if isinstance(value, (list, tuple, set)):
            return [plain(v) for v in value]
        if isinstance(value, np.ndarray):
            return value.tobytes()
        own = type(value).__module__.startswith("clpm_execd.plant") and not is_dataclass(value)
        return None if own or callable(value) or isinstance(value, (LoopSpec, LearnedModel, Fault)) else repr(value)

    return {name: pickle.dumps(plain(value)) for name, value in vars(part).items()}


@pytest.mark.slow
def test_all_state_that_changes_from_scan_to_scan_is_stored_or_recomputed() -> None:
    plant = Plant(all_faults(), seed=7, start=START)
    parts = list(find_parts(plant, {}))
    unlisted, last = set(), [state_of(part) for part in parts]
    for _ in range(250):
        plant.advance(1)
        now = [state_of(part) for part in parts]
        for part, old, new in zip(parts, last, now, strict=True):
            kind = type(part).__name__
            listed = {*getattr(part, "stored_arrays", {}).values(), *STORED_OTHERWISE.get(kind, ()),
                      *RECOMPUTED.get(kind, ())}
            unlisted |= {f"{kind}.{name}" for name in new if new[name] != old.get(name) and name not in listed}
        last = now
    assert not unlisted, "name it in `stored_arrays` of its class, or here if the next scan does not need it"
