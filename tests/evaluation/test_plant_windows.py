"""Two hours of refinery loops each: every one learns, lives on, and is hard to tell from its record.

The campaign over all of them, with the table of likeness, is run with CLPM_LONG=1.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
from plant_records import plant_records
from simulated_records import START

from clpm_execd.config.refinery_statistics import VARIABILITY
from clpm_execd.evaluation import similarity as fidelity
from clpm_execd.identification.learn import Learned, learn
from clpm_execd.plant.block import Floats
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.records.record import Record, read_record

ODD = ("*PIC10201_0903*", "*FIC10112_0630*", "*LIC63001*", "*FIC20102_1024*")
TIMES = 10
SEEDS = (1, 2, 3)


def halves(record: Record) -> tuple[Record, Floats, Floats]:
    """The record's first half, and PV and OP of both."""
    half = len(record.times) // 2
    first = Record(record.loops, record.times[:half], record.pv[:half], record.op[:half], record.sp[:half],
                   record.mode[:half], record.interval, ())
    pair = np.column_stack([record.pv[:, 0], record.op[:, 0]])
    return first, pair[:half], pair[half:]


def lived(learned: Learned, samples: int, seed: int = 1) -> Floats:
    """PV and OP of the learned loop, free-running."""
    block = Plant([learned.loop], seed=seed, start=START, interval=learned.interval).advance(samples)
    return np.column_stack([block.pv[:, 0], block.op[:, 0]])


def free_running(loops: Sequence[LoopSpec], samples: int, seed: int) -> list[Floats]:
    """PV and OP of the loops, 10 s a sample."""
    block = Plant(loops, seed=seed, start=START, interval=10 * 10**9).advance(samples)
    return [np.column_stack([block.pv[:, i], block.op[:, i]]) for i in range(len(loops))]


def told_apart(real: Sequence[Floats], runs: Sequence[Sequence[Floats]], tags: Sequence[str], length: int = 64
               ) -> float:
    """The AUC on the average of the runs: a hundred windows alone leave it open by some hundredths."""
    return float(np.mean([fidelity.discrimination(real, others, tags, length) for others in runs]))


@pytest.mark.parametrize("odd", ODD)
def test_a_window_learns_and_lives_on_near_its_record(odd: str) -> None:
    record = read_record(plant_records(f"plant_windows/*/{odd}")[0])
    learned = learn(record)
    pair = lived(learned, 500)
    assert np.isfinite(pair).all()
    level, size = np.nanmean(record.op), max(float(np.nanstd(record.op)), 1e-3)
    assert abs(pair[:, 1].mean() - level) < 3.0 * size


@pytest.mark.parametrize("day", ["1024_0004", "1107_0006", "1117_1652"])
def test_a_controller_is_told_one_weight_of_the_set_point_whatever_the_day(day: str) -> None:
    learned = learn(read_record(plant_records(f"plant_windows/*/*FIC20102_{day}*")[0]))
    assert learned.estimates["controller.setpoint_weight"].value == pytest.approx(0.0, abs=0.05)


@pytest.mark.campaign
def test_the_learned_windows_are_as_hard_to_tell_from_their_records_as_their_second_halves() -> None:
    real, loops, unseen, tags, took = [], [], [], [], []
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        begun = time.process_time()
        first, ours, later = halves(record)
        learned = learn(first, loop_id=path.stem)
        took.append(time.process_time() - begun)
        if record.interval != 10 * 10**9:
            continue
        real.append(ours)
        unseen.append(later)
        loops.append(learned.loop)
        tags.append(re.split(r"_(?:\d{4}|\d{8})_", path.name)[0])
    lives = [free_running(loops, TIMES * max(map(len, real)), seed) for seed in SEEDS]
    print(f"\n{len(real)} windows of {len(set(tags))} loops; learning took {np.median(took):.2f} s of a processor "
          f"in the median, {max(took):.2f} at the most")
    print("generator | W1 | ACF-L1(60) | log PSD | CCF-L1(30) | AUC(64) | copy")
    rows = {}
    for name, runs in (("real second half", [unseen]), ("learned, free-running", lives)):
        apart = fidelity.Distances.median([fidelity.distances(a, b) for others in runs
                                           for a, b in zip(real, others, strict=True)])
        ratio = np.nanmedian([fidelity.copy_ratio(a, b, c) for others in runs
                              for a, b, c in zip(real, others, unseen, strict=True)])
        rows[name] = apart, told_apart(real, runs, tags), float(ratio)
        print(f"{name} | {apart.w1:.2f} | {apart.acf:.2f} | {apart.psd:.2f} | {apart.ccf:.2f} | {rows[name][1]:.3f} | "
              f"{ratio:.2f}")
    floor, (apart, auc, ratio) = rows["real second half"], rows["learned, free-running"]
    long = [told_apart(real, runs, tags, 256) for runs in ([unseen], lives)]
    print(f"AUC(256): real second half {long[0]:.3f}, learned {long[1]:.3f}")
    assert auc <= 0.57
    assert ratio >= 0.9
    assert long[1] <= long[0] + 0.05
    for measure in ("w1", "acf", "psd", "ccf"):
        assert getattr(apart, measure) <= 2.0 * getattr(floor[0], measure)


@pytest.mark.campaign
def test_the_refinery_of_init_is_as_restless_as_its_records() -> None:
    found_of: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        one = learn(record, loop_id=path.stem)
        loop = one.loop
        if np.ptp(record.pv) == 0 or one.estimates["process.gain"].source != "identified":
            continue
        correlation = one.estimates["disturbance.correlation"]
        if correlation.high < 10.0 * correlation.low:
            tag = re.split(r"_(?:\d{4}|\d{8})_", path.name)[0]
            found_of.setdefault((loop.type, tag), []).append(
                (loop.sensor.noise, loop.disturbance.sigma, loop.disturbance.correlation))
    for kind, shipped in VARIABILITY.items():
        loops = [np.median(windows, axis=0) for (type_, _), windows in found_of.items() if type_ == kind]
        quartiles = np.quantile(loops, [0.25, 0.75], axis=0).T
        print(kind, len(loops), quartiles.round(4).tolist())
        for (low, high), (least, most) in zip((shipped.noise, shipped.sigma, shipped.correlation), quartiles,
                                              strict=True):
            assert low < most, "the ranges overlap, and neither is much the wider"
            assert high > least
            assert 0.4 < np.log(high / low) / np.log(most / max(least, 1e-3)) < 2.5


@pytest.mark.campaign
def test_a_week_a_minute_a_sample_learns_and_lives_on() -> None:
    for path in plant_records("plant_week/*.csv", least=2):
        record = read_record(path)
        begun = time.process_time()
        learned = learn(record)
        print(f"{path.name}: {time.process_time() - begun:.1f} s of a processor, {len(record.times)} samples")
        assert np.isfinite(lived(learned, 500)).all()
