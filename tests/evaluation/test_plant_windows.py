"""Loops fitted to two hours of refinery loops stay near their records and are hard to distinguish from them.

The campaign over all records prints the table of similarity.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
from plant_records import plant_records
from simulated_records import START

from clpm_execd.config.plants.refinery_statistics import VARIABILITY
from clpm_execd.evaluation.similarity import Distances, discriminator_auc, measure_distances, novelty_ratio
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.block import Floats
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.records.record import Record, read_record

pytestmark = pytest.mark.slow

UNUSUAL = ("*PIC10201_0903*", "*FIC10112_0630*", "*LIC63001*", "*FIC20102_1024*")
TIMES = 10
SEEDS = (1, 2, 3)


def halves(record: Record) -> tuple[Record, Floats, Floats]:
    """Return the record's first half, and PV and OP of both halves."""
    half = len(record.times) // 2
    first = Record(record.loops, record.times[:half], record.pv[:half], record.op[:half], record.sp[:half],
                   record.mode[:half], record.interval, ())
    pair = np.column_stack([record.pv[:, 0], record.op[:, 0]])
    return first, pair[:half], pair[half:]


def simulate(learned: LearnedLoop, samples: int, seed: int = 1) -> Floats:
    """Return PV and OP of the fitted loop, free-running."""
    block = Plant([learned.loop], seed=seed, start=START, interval=learned.interval).advance(samples)
    return np.column_stack([block.pv[:, 0], block.op[:, 0]])


def simulate_all(loops: Sequence[LoopSpec], samples: int, seed: int) -> list[Floats]:
    """Return PV and OP of the loops, 10 s a sample, free-running."""
    block = Plant(loops, seed=seed, start=START, interval=10 * 10**9).advance(samples)
    return [np.column_stack([block.pv[:, i], block.op[:, i]]) for i in range(len(loops))]


def mean_auc(real: Sequence[Floats], runs: Sequence[Sequence[Floats]], tags: Sequence[str], length: int = 64
             ) -> float:
    """Return the mean AUC of the runs: that of a single hundred windows has an error of some hundredths."""
    return float(np.mean([discriminator_auc(real, others, tags, length) for others in runs]))


@pytest.mark.parametrize("pattern", UNUSUAL)
def test_a_loop_fitted_to_a_window_runs_on_near_its_record(pattern: str) -> None:
    record = read_record(plant_records(f"plant_windows/*/{pattern}")[0])
    learned = learn(record)
    pair = simulate(learned, 500)
    assert np.isfinite(pair).all()
    level, size = np.nanmean(record.op), max(float(np.nanstd(record.op)), 1e-3)
    assert abs(pair[:, 1].mean() - level) < 3.0 * size


def test_the_controller_of_a_loop_is_the_same_on_every_day() -> None:
    fitted = [learn(read_record(plant_records(f"plant_windows/*/*FIC20102_{day}*")[0])).estimates
              for day in ("1024_0004", "1107_0006", "1117_1652")]
    first = fitted[0]
    for other in fitted:
        assert other["controller.setpoint_weight"].value == pytest.approx(0.0, abs=0.05)
        assert other["controller.gain"].value == pytest.approx(first["controller.gain"].value, rel=0.2)
        assert other["controller.reset"].value == pytest.approx(first["controller.reset"].value, rel=0.2)


@pytest.mark.campaign
def test_fitted_windows_are_as_hard_to_distinguish_from_their_records_as_their_second_halves() -> None:
    real, loops, second_halves, tags, seconds = [], [], [], [], []
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        start = time.process_time()
        first, first_pair, second_pair = halves(record)
        learned = learn(first, loop_id=path.stem)
        seconds.append(time.process_time() - start)
        if record.interval != 10 * 10**9:
            continue
        real.append(first_pair)
        second_halves.append(second_pair)
        loops.append(learned.loop)
        tags.append(re.split(r"_(?:\d{4}|\d{8})_", path.name)[0])
    simulations = [simulate_all(loops, TIMES * max(map(len, real)), seed) for seed in SEEDS]
    print(f"\n{len(real)} windows of {len(set(tags))} loops; fitting took {np.median(seconds):.2f} s of processor "
          f"time in the median, {max(seconds):.2f} s at most")
    print("generator | W1 | ACF-L1(60) | log PSD | CCF-L1(30) | AUC(64) | novelty")
    rows = {}
    for name, runs in (("real second half", [second_halves]), ("fitted, free-running", simulations)):
        distances = Distances.median([measure_distances(a, b) for others in runs
                                      for a, b in zip(real, others, strict=True)])
        novelty = np.nanmedian([novelty_ratio(a, b, c) for others in runs
                                for a, b, c in zip(real, others, second_halves, strict=True)])
        rows[name] = distances, mean_auc(real, runs, tags), float(novelty)
        print(f"{name} | {distances.w1:.2f} | {distances.acf:.2f} | {distances.psd:.2f} | {distances.ccf:.2f} | "
              f"{rows[name][1]:.3f} | {novelty:.2f}")
    baseline, (distances, auc, novelty) = rows["real second half"], rows["fitted, free-running"]
    baseline_256, auc_256 = (mean_auc(real, runs, tags, 256) for runs in ([second_halves], simulations))
    print(f"AUC(256): real second half {baseline_256:.3f}, fitted {auc_256:.3f}")
    assert auc <= 0.57
    assert novelty >= 0.9
    assert auc_256 <= baseline_256 + 0.05
    for metric in ("w1", "acf", "psd", "ccf"):
        assert getattr(distances, metric) <= 2.0 * getattr(baseline[0], metric)


@pytest.mark.campaign
def test_the_noise_and_load_of_the_refinery_example_are_like_those_of_its_records() -> None:
    windows_of: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        one = learn(record, loop_id=path.stem)
        loop = one.loop
        if np.ptp(record.pv) == 0 or one.estimates["process.gain"].source != "identified":
            continue
        correlation = one.estimates["disturbance.correlation"]
        if correlation.high < 10.0 * correlation.low:
            tag = re.split(r"_(?:\d{4}|\d{8})_", path.name)[0]
            windows_of.setdefault((loop.type, tag), []).append(
                (loop.sensor.noise, loop.disturbance.sigma, loop.disturbance.correlation))
    for kind, shipped in VARIABILITY.items():
        loops = [np.median(windows, axis=0) for (type_, _), windows in windows_of.items() if type_ == kind]
        quartiles = np.quantile(loops, [0.25, 0.75], axis=0).T
        print(kind, len(loops), quartiles.round(4).tolist())
        for (low, high), (least, most) in zip((shipped.noise, shipped.sigma, shipped.correlation), quartiles,
                                              strict=True):
            assert low < most, "the ranges overlap, and neither is much the wider"
            assert high > least
            assert 0.4 < np.log(high / low) / np.log(most / max(least, 1e-3)) < 2.5


@pytest.mark.campaign
def test_a_loop_is_fitted_to_a_week_of_samples_a_minute_apart() -> None:
    for path in plant_records("plant_week/*.csv", least=2):
        record = read_record(path)
        start = time.process_time()
        learned = learn(record)
        print(f"{path.name}: {time.process_time() - start:.1f} s of processor time, {len(record.times)} samples")
        assert np.isfinite(simulate(learned, 500)).all()
