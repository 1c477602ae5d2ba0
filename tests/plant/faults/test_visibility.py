"""A fault is visible where the record differs from that of the same plant without it, and only there.

The judge here knows nothing of the twin and its meter: it compares two records of two plants, window by window, after
the whole of both is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from faulty_loops import START, fault, loop, run

from clpm_execd.plant.block import AFFECTED, MAN, Floats
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import LoopSpec, Move

# The size of each kind in three sizes, from one that nobody can see to one that nobody can overlook. A kind without a
# size lasts for three times instead.
SIZES: dict[str, tuple[str, tuple[float, float, float]]] = {
    "stiction": ("S", (0.3, 2.0, 8.0)), "deadband": ("width", (0.3, 3.0, 8.0)),
    "undersized": ("capacity", (0.95, 0.7, 0.45)), "oversized": ("capacity", (1.05, 1.5, 4.0)),
    "leak": ("flow", (1.0, 10.0, 40.0)),
    "slow-actuator": ("lag", (1.0, 20.0, 100.0)), "sluggish": ("closed_loop", (1.5, 5.0, 20.0)),
    "aggressive": ("gain_margin", (2.0, 1.3, 1.08)), "external-oscillation": ("amplitude", (0.1, 1.0, 4.0)),
    "load-step": ("size", (0.3, 5.0, 20.0)), "interaction": ("gain", (0.05, 0.6, 2.0)),
    "gain-change": ("factor", (1.05, 2.0, 0.4)), "lag-change": ("factor", (1.1, 3.0, 0.3)),
    "fouling": ("loss", (0.05, 0.4, 0.8)),
    "bias": ("size", (0.02, 0.5, 5.0)), "drift": ("size", (0.05, 1.0, 10.0)), "noise": ("sigma", (0.02, 0.2, 2.0)),
    "spikes": ("size", (0.2, 3.0, 15.0)), "quantization": ("step", (0.05, 0.5, 2.0)),
    "range-clip": ("limit", (70.0, 50.3, 45.0)),
    "mode-hopping": ("dwell", (100.0, 600.0, 2400.0)), "setpoint-moves": ("size", (0.03, 0.5, 4.0)),
    "stuck": ("", (0.25, 0.5, 1.0)), "windup": ("", (0.25, 0.5, 1.0)), "freeze": ("", (0.25, 0.5, 1.0)),
    "drop-out": ("", (0.25, 0.5, 1.0)), "manual": ("", (0.25, 0.5, 1.0)), "cascade-broken": ("", (0.25, 0.5, 1.0)),
}
PERIODS_S = {"flow": 60.0, "pressure": 150.0, "level": 400.0, "temperature": 900.0, "composition": 3600.0}
GROWING = ("drift", "fouling")
# Of the valve in a loop whose valve leaks, %: the larger the leak, the further it is open without it.
LEAKING_OP = (5.0, 10.0, 30.0)

# The judge: the root mean square of the distance in a window, in standard deviations of the healthy record.
PLAIN = 0.7
LEAST_PV, LEAST_OP = 0.05, 0.1  # % of span, %: what nobody reads off a trend


@dataclass(frozen=True)
class Case:
    """A loop with a fault of one kind, type and size; when it has it and is taken to MAN, s from the start."""

    kind: str
    type: str
    size: int
    start: float
    end: float
    to_manual: float | None = None

    @property
    def id(self) -> str:
        return f"{self.kind} {self.type} {self.size}"


@dataclass(frozen=True)
class Judgement:
    """Of each window of each case, (W, C): the distance of the records, what the truth says, and whether it counts."""

    distance: Floats
    is_visible: npt.NDArray[np.bool_]
    is_present: npt.NDArray[np.bool_]

    def agreement(self, which: npt.NDArray[np.bool_] | slice = slice(None), *, only_clear: bool = False) -> float:
        """Return the fraction of windows of these cases in which the truth is what the distance is.

        only_clear: leave out windows in which the distance is within a factor of 2 of the threshold.
        """
        distance, is_present = self.distance[:, which], self.is_present[:, which]
        counts = is_present & ((distance <= PLAIN / 2) | (distance >= 2 * PLAIN)) if only_clear else is_present
        return float(np.mean((self.is_visible[:, which] == (distance >= PLAIN))[counts]))


def cases(types: Sequence[str], sizes: Sequence[int], start: float, duration: float) -> list[Case]:
    result = []
    for kind, (name, values) in SIZES.items():
        for loop_type in types:
            for size in sizes:
                share = 1.0 if name else values[size]
                result.append(Case(kind, loop_type, size, start, start + share * duration))
    return result


def loops_of(case: Case) -> Iterator[LoopSpec]:
    """Yield the loop with the fault, behind the other one that it needs."""
    name, values = SIZES[case.kind]
    parameters: dict[str, float | str] = {name: values[case.size]} if name else {}
    loop = template(case.type, case.id, (0.0, 100.0))
    if case.kind == "stiction":
        parameters["J"] = values[case.size] / 2
    elif case.kind in GROWING:
        parameters["over"] = 0.7 * (case.end - case.start)
    elif case.kind == "external-oscillation":
        parameters["period"] = PERIODS_S[case.type]
    elif case.kind == "leak":
        loop = replace(loop, op=LEAKING_OP[case.size])
    elif case.kind == "windup":
        down, up = (round((case.start + part * (case.end - case.start)) * SECOND) for part in (0.2, 0.4))
        loop = replace(loop, op=95.0, moves=(Move(at=down, sp=60.0), Move(at=up, sp=50.0)))
    elif case.kind == "interaction":
        parameters["with"] = f"neighbour of {case.id}"
        yield template("flow", f"neighbour of {case.id}", (0.0, 100.0))
    elif case.kind == "cascade-broken":
        yield template(case.type, f"master of {case.id}", (0.0, 100.0))
        loop = replace(template("flow", case.id, (0.0, 100.0)), cascade=f"master of {case.id}", mode="CAS")
    if case.to_manual is not None:
        loop = replace(loop, moves=(*loop.moves, Move(at=round(case.to_manual * SECOND), mode="MAN")))
    yield replace(loop, faults=(fault(case.kind, case.start, case.end - case.start, **parameters),))


def judge(those: Sequence[Case], seconds: int, window: int, *, interval: int = 1, seed: int = 7) -> Judgement:
    """Return the judgement of all cases in one plant; seconds, window and interval: s."""
    loops = [loop for case in those for loop in loops_of(case)]
    ids = [loop.id for loop in loops]
    at = np.array([ids.index(case.id) for case in those])
    plants = [Plant(each, seed=seed, start=START, interval=interval * SECOND, measures_truth=truth)
              for each, truth in ((loops, True), ([replace(loop, faults=()) for loop in loops], False))]
    rows = []  # of each window and signal: squared distances, mean and squares of the healthy record, other modes
    labels, manual, rests, differences = [], [], [], []
    for _ in range(seconds // window):
        block, healthy = (plant.advance(window // interval) for plant in plants)
        assert block.truth is not None
        labels.append(visible_samples(block.truth.visible, block.truth.kinds, block.truth.column, at))
        pairs = [(getattr(block, name)[:, at], getattr(healthy, name)[:, at]) for name in ("pv", "op", "sp")]
        manual.append((healthy.mode == MAN)[:, at].all(axis=0))
        in_manual = ((block.mode == MAN) & (healthy.mode == MAN))[:, at].all(axis=0)
        rests.append(in_manual & (pairs[1][0] != pairs[1][1]).any(axis=0))
        differences.append([np.mean(x - y, axis=0) for x, y in pairs])
        rows.append([[np.mean((x - y) ** 2, axis=0), np.mean(y, axis=0), np.mean(y * y, axis=0)] for x, y in pairs]
                    + [[np.mean(block.mode[:, at] != healthy.mode[:, at], axis=0)] * 3])
    distance, mean, square = np.moveaxis(np.array(rows), 2, 0)  # (W, 4, C) each
    movement = np.zeros_like(distance[:, :3])
    for is_manual in (np.array(manual), ~np.array(manual)):  # in MAN a loop moves otherwise than in AUT
        n = np.maximum(is_manual.sum(axis=0), 1)
        mean_of, square_of = ((values[:, :3] * is_manual[:, None]).sum(axis=0) / n for values in (mean, square))
        movement += np.sqrt(np.maximum(square_of - mean_of ** 2, 0.0)) * is_manual[:, None]
    movement = np.maximum(movement, [[LEAST_PV], [LEAST_OP], [LEAST_PV]])
    # SP rests: what PV does is what its moves are seen beside.
    movement[:, 2] = np.maximum(movement[:, 2], movement[:, 0])
    distance[:, :3] -= _resting_distance(np.array(differences), np.array(rests), -(-1800 // window))
    relative = np.sqrt(np.maximum(distance[:, :3], 0.0)) / movement
    relative = np.concatenate([relative, 3.0 * np.sqrt(distance[:, 3:])], axis=1).max(axis=1)
    begin = window * np.arange(len(rows))[:, np.newaxis]
    starts, ends = (np.array([getattr(case, name) for case in those]) for name in ("start", "end"))
    return Judgement(relative, np.array(labels), (begin >= starts) & (begin + window <= ends))


def _resting_distance(difference: Floats, rests: npt.NDArray[np.bool_], windows: int) -> Floats:
    """Return of the squared distance, (W, 3, C), what is none in MAN: each loop may rest at a level of its own.

    difference: (W, 3, C) mean distance. rests: (W, C) whether both are in MAN, with another OP. windows: of which the
    level is the mean.
    """
    resting = np.zeros_like(difference)
    for w, c in zip(*np.nonzero(rests), strict=True):
        first = w
        while first > 0 and w - first < windows - 1 and rests[first - 1, c]:
            first -= 1
        level = difference[first:w + 1, :, c].mean(axis=0)
        resting[w, :, c] = level * (2.0 * difference[w, :, c] - level)
    return resting


def visible_samples(visible: npt.NDArray[np.bool_], kinds: Sequence[str], columns: npt.NDArray[np.intp],
                    at: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return of the fault of each case whether it is visible in at least half of the samples."""
    shares = {int(column): visible[:, k].mean() for k, (kind, column) in enumerate(zip(kinds, columns, strict=True))
              if kind != AFFECTED}
    return np.array([shares[column] >= 0.5 for column in at.tolist()])


def test_every_kind_of_fault_of_the_plant_is_judged() -> None:
    assert set(SIZES) == {name for name, kind in FAULTS.items() if kind.acts_on_plant}


def test_a_sticky_valve_is_not_visible_while_op_rests_in_manual() -> None:
    to_manual = (Move(at=3600 * SECOND, mode="MAN"),)
    sticky = fault("stiction", 0.0, S=6.0, J=4.0)
    loops = [replace(template(loop_type, loop_type, (0.0, 100.0)), moves=to_manual, faults=(sticky,))
             for loop_type in ("flow", "pressure")]  # a level would run away from that of the healthy loop
    plant = Plant(loops, start=START)
    visible, op = [], []
    for _ in range(9):
        block = plant.advance(600)
        assert block.truth is not None
        assert block.truth.present.all()
        visible.append(block.truth.visible.mean(axis=0))
        op.append(np.ptp(block.op, axis=0))
    assert np.min(visible[1:6]) > 0.9
    assert np.max(op[7:]) == 0.0
    assert np.max(visible[7:]) == 0.0  # from ten minutes in manual on


def test_a_sensor_that_freezes_in_manual_is_visible_though_op_rests_elsewhere() -> None:
    sticky, frozen = fault("stiction", 0.0, 3600, S=6.0, J=4.0), fault("freeze", 5400, 1800)
    loop = replace(template("pressure", "PIC101", (0.0, 100.0)), moves=(Move(at=3600 * SECOND, mode="MAN"),),
                   faults=(sticky, frozen))
    plant = Plant([loop], start=START)
    plant.advance(6000)
    truth = plant.advance(1200).truth
    assert truth is not None
    assert truth.kinds[1] == "freeze"
    assert truth.visible[:, 1].mean() > 0.8


def test_beside_a_limit_cycle_a_tiny_fault_is_not_visible_though_it_shifts_the_phase_and_a_large_one_is() -> None:
    kinds, sticky = ("bias", "noise", "setpoint-moves", "external-oscillation", "spikes"), fault("stiction", 0.0, S=5.0)
    loops = [replace(template("flow", f"{kind} {size}", (0.0, 100.0)), faults=(
        sticky, fault(kind, 1800.0, **{SIZES[kind][0]: SIZES[kind][1][size]}))) for size in (0, 2) for kind in kinds]
    plant, twin = (Plant(each, seed=5, start=START, measures_truth=truth) for each, truth in (
        (loops, True), ([replace(loop, faults=(sticky,)) for loop in loops], False)))
    for each in (plant, twin):
        each.advance(3600)
    block, healthy = plant.advance(3600), twin.advance(3600)
    assert block.truth is not None
    # The cycles are out of phase: the distance alone would have most of them visible.
    assert np.median((block.op - healthy.op).std(axis=0) / healthy.op.std(axis=0)) > PLAIN
    visible = block.truth.visible[:, [i for i, kind in enumerate(block.truth.kinds) if kind != "stiction"]].mean(axis=0)
    assert visible[:len(kinds)].mean() < 0.2
    assert visible[len(kinds):].mean() > 0.8


@pytest.mark.parametrize("kind", ["bad-quality", "gaps", "late", "duplicates"])
def test_a_fault_that_acts_on_one_sample_in_a_thousand_is_present_and_not_visible(kind: str) -> None:
    parameters = {"length": 0.0} if "length" in FAULTS[kind].defaults else {}
    truth = run(loop(fault(kind, share=0.001, **parameters)), samples=7200).truth
    assert truth is not None
    assert truth.present.all()
    assert not truth.visible.any()


def test_rare_gaps_are_visible_for_the_ten_minutes_after_each() -> None:
    block = run(loop(fault("gaps", share=0.02, length=60.0)), samples=4 * 3600)
    assert block.truth is not None
    assert block.arrivals is not None
    lost_times = np.setdiff1d(block.times, block.arrivals.times)
    latest = np.searchsorted(lost_times, block.times, side="right") - 1
    is_near = (latest >= 0) & (block.times - lost_times[latest] < 630 * SECOND)  # known half a minute later at most
    assert 0.05 < is_near.mean() < 0.95
    assert not block.truth.visible[~is_near].any()
    assert block.truth.visible[is_near].mean() > 0.85


@pytest.mark.slow
def test_a_fault_is_visible_where_the_record_differs_from_that_without_it() -> None:
    those = cases(("flow", "temperature"), (0, 2), start=1800.0, duration=5400.0)
    judgement = judge(those, seconds=7200, window=600)
    assert judgement.agreement() >= 0.95
    assert judgement.agreement(only_clear=True) >= 0.98
    is_small = np.array([case.size == 0 and bool(SIZES[case.kind][0]) for case in those])
    assert judgement.is_visible[:, is_small].mean() < 0.2 < 0.6 < judgement.is_visible[3:, ~is_small].mean()


@pytest.mark.campaign
@pytest.mark.parametrize("window", [600, 1200])
def test_what_a_loop_shows_of_its_faults_after_it_is_taken_to_manual_is_visible(window: int) -> None:
    # Levels run away in MAN, and a composition has not settled by the end.
    types, to_manual = ("flow", "pressure", "temperature"), 3600.0
    those = [replace(case, to_manual=to_manual) for case in cases(types, (0, 1, 2), 0.0, duration=4 * 3600.0)
             if FAULTS[case.kind].group != "operation"]
    judgement = judge(those, 4 * 3600, window)
    is_in_manual = window * np.arange(len(judgement.is_present)) >= to_manual + 600.0  # an effect ends within minutes
    judgement = replace(judgement, is_present=judgement.is_present & is_in_manual[:, np.newaxis])
    print(f"\nwindows of {window} s in MAN: agreement in {judgement.agreement():.3f}, of clear ones "
          f"{judgement.agreement(only_clear=True):.3f}")
    assert judgement.agreement() >= 0.95
    assert judgement.agreement(only_clear=True) >= 0.98


@pytest.mark.campaign
@pytest.mark.parametrize(("window", "interval"), [(300, 1), (600, 1), (1200, 1), (600, 10)])
@pytest.mark.parametrize("start", [0.0, 3600.0])
def test_every_kind_type_and_size_is_visible_in_the_windows_that_differ(
        window: int, interval: int, start: float) -> None:
    those = cases(tuple(LOOP_TYPES), (0, 1, 2), start, duration=3 * 3600.0)
    judgement = judge(those, int(start) + 3 * 3600, window, interval=interval, seed=window + interval)
    print(f"\nwindows of {window} s, samples of {interval} s, faults from {start:g} s on: agreement in "
          f"{judgement.agreement():.3f}, of clear ones {judgement.agreement(only_clear=True):.3f}")
    # Where an effect lasts for minutes, as a spike does, windows that it does not fill are split more often.
    for attribute, least in (("type", 0.98), ("size", 0.98), ("kind", 0.88)):
        values = np.array([getattr(case, attribute) for case in those])
        shares = {value: (judgement.agreement(values == value), judgement.agreement(values == value, only_clear=True))
                  for value in dict.fromkeys(values.tolist())}
        print("  " + ", ".join(f"{value} {share:.2f} ({clear:.2f})" for value, (share, clear) in shares.items()))
        assert min(clear for _, clear in shares.values()) >= least
    assert judgement.agreement() >= 0.95
    assert judgement.agreement(only_clear=True) >= 0.98
