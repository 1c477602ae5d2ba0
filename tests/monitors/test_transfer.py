"""A forest that learns stiction from simulated loops recognises it in real ones and in plants that are not ours.

It learns from two hours of each loop at 10 s: windows in which stiction is visible against all others. The area under
its ROC curve is that over the windows of the real loops, each loop with the same weight, since most of the sticky
windows are of one loop; and that over the records of five plants with other friction, processes and waves, of which
two had no part in any number of ours. Only six of the 32 real loops stick, so that one of them moves the area by 0.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import tomli
from monitors.further_plants import FURTHER_PLANTS, simulate_further_plant
from monitors.other_plants import KINDS, PLANTS, simulate_plant
from plant_records import plant_records

from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.evaluation.similarity import extract_features
from clpm_execd.identification.signal_statistics import cross_correlation
from clpm_execd.plant.block import MAN, SECOND, Floats
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.loop_types import LOOP_TYPES, template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.records import read_record

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]

START = 1_736_503_500 * SECOND
INTERVAL, SAMPLES = 10 * SECOND, 751  # of the real records
WARM_UP = 360  # samples until a cycle has begun
TREES, SEEDS = 300, (1, 2, 3)
LOOPS = 500  # of a refinery: of fewer, too few valves stick to learn from
INSTALLED = {"flow": ((0.2, 0.65), (6.0, 40.0)), "level": ((0.8, 3.0), (200.0, 1200.0))}  # gain; reset, s
ALL_PLANTS = (*PLANTS, *FURTHER_PLANTS)


@dataclass(frozen=True)
class Windows:
    """W windows: PV, OP and SP of each, (T, 3), whether its valve visibly sticks, and the loop it is of."""

    signals: Sequence[Floats]
    is_sticky: npt.NDArray[np.bool_]
    loops: npt.NDArray[np.str_]

    @property
    def weights(self) -> Floats:
        """Return the weight of each window, (W,), with which all loops weigh the same."""
        return np.array([1.0 / np.sum(self.loops == loop) for loop in self.loops])


def real_windows() -> Windows:
    """Return the windows whose PV moves: one of a closed line has no loop to judge."""
    signals, is_sticky, loops = [], [], []
    for path in plant_records("plant_windows/*/*.txt", least=80):
        record = read_record(path)
        pv, op, sp = (np.asarray(values, dtype=np.float64)[:, 0] for values in (record.pv, record.op, record.sp))
        if record.interval != INTERVAL or np.ptp(pv) < 1e-6 or "FIC10112" in path.name:
            continue
        signals.append(np.column_stack([pv, op, sp]))
        is_sticky.append(path.parent.name == "stiction_data")
        loops.append(re.split(r"_(?:\d{4}|\d{8})_", path.name)[0])
    return Windows(signals, np.array(is_sticky), np.array(loops))


def simulate(loops: Sequence[LoopSpec], seed: int) -> Windows:
    """Return a window of each loop that is in automatic throughout and moves."""
    plant = Plant(loops, seed=seed, start=START, interval=INTERVAL)
    plant.advance(WARM_UP)
    block = plant.advance(SAMPLES)
    visible = np.zeros(len(loops))
    if block.truth is not None:
        for fault, (kind, column) in enumerate(zip(block.truth.kinds, block.truth.column, strict=True)):
            if kind == "stiction":
                visible[column] = block.truth.visible[:, fault].mean()
    columns = [i for i in range(len(loops))
               if (block.mode[:, i] != MAN).mean() > 0.9 and np.ptp(block.pv[:, i]) > 0 and np.ptp(block.op[:, i]) > 0]
    return Windows([np.column_stack([block.pv[:, i], block.op[:, i], block.sp[:, i]]) for i in columns],
                   visible[columns] > 0.5, np.array([f"{seed} {loops[i].id}" for i in columns]))


def refinery(seed: int) -> list[LoopSpec]:
    return list(parse_configuration(tomli.loads(write_plant("refinery", LOOPS, seed))).loops)


def default_types(seed: int) -> list[LoopSpec]:
    """The five types: two loops with stiction, an aggressive one, one with a wave, a quiet one, one with moves of SP.

    Of the others, operators move SP in three of ten. Controllers of flows and levels are as plants have them
    (docs/physics.md), those of other types tuned by two rules: all loops of a type would else have one period.
    """
    chance = np.random.default_rng(seed)

    def draw(low: float, high: float) -> float:
        return float(np.exp(chance.uniform(np.log(low), np.log(high))))

    loops: list[LoopSpec] = []
    for loop_type in list(LOOP_TYPES) * 15:
        process = template(loop_type, "x", (0.0, 100.0)).process
        slow = sum(process.tau) + process.dead_time
        s, s2 = draw(2.0, 8.0), draw(2.0, 8.0)
        faults: tuple[tuple[str, dict[str, float | str]], ...] = (
            ("stiction", {"S": s, "J": s * float(chance.uniform(0.1, 1.2))}),
            ("stiction", {"S": s2, "J": s2 * float(chance.uniform(0.1, 1.2))}),
            ("aggressive", {"gain_margin": draw(1.01, 1.15)}),
            ("external-oscillation", {
                "period": draw(max(40.0, 2.0 * slow), max(2400.0, 8.0 * slow)), "amplitude": draw(1.5, 8.0),
                "harmonic": draw(0.03, 0.33), "wander": draw(0.01, 0.06)}),
            ("", {}), ("moves", {}))
        for kind, parameters in faults:
            loop = template(loop_type, f"{loop_type}{len(loops)}", (0.0, 100.0))
            if kind == "moves" or chance.random() < 0.3:
                loop = replace(loop, operator=replace(loop.operator, interval=draw(600.0, 5000.0), size=draw(0.5, 4.0)))
            controller = loop.controller
            if loop_type in INSTALLED and kind != "aggressive":
                gain, reset = (draw(*limits) for limits in INSTALLED[loop_type])
                loop = replace(loop, controller=replace(controller, gain=gain, reset=reset))
            elif kind != "aggressive":
                tuning = "lambda" if chance.random() < 0.5 else "sluggish"
                loop = replace(loop, controller=replace(controller, tuning=tuning))
            if kind in FAULTS:
                loop = replace(loop, faults=(FaultSpec(kind=kind, parameters=parameters),))
            loops.append(loop)
    return loops


def catch_features(signals: Floats) -> list[float]:
    """Return catch22 of PV, OP and error, and the cross-correlation of OP with PV at lags -5 to 5."""
    import pycatch22

    pv, op, sp = signals.T
    features: list[float] = []
    for x in (pv, op, sp - pv):
        features += pycatch22.catch22_all(_standardise(x).tolist())["values"]
    return features + cross_correlation(signals[:, :2], 5).tolist()


def similarity_features(signals: Floats) -> list[float]:
    """Return what judges the similarity of fitted loops."""
    pair = np.column_stack([_standardise(signals[:, 0]), _standardise(signals[:, 1])])
    return extract_features(pair[None])[0].tolist()


def correlation_features(signals: Floats) -> list[float]:
    """Return autocorrelations, powers in octaves and moments of PV, OP and error, and their cross-correlations."""
    from scipy.signal import welch
    from scipy.stats import kurtosis, skew

    pv, op, sp = signals.T
    features: list[float] = []
    for x in map(_standardise, (pv, op, sp - pv)):
        full = np.correlate(x, x, "full")[len(x) - 1:] / max(float(x @ x), 1e-12)
        power = welch(x, nperseg=256)[1][1:]
        octaves = [power[2**k - 1:2**(k + 1) - 1].sum() / max(power.sum(), 1e-12) for k in range(7)]
        change = np.diff(x)
        features += [*full[[1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180]], *np.log10(np.array(octaves) + 1e-5),
                     skew(x), kurtosis(x), skew(change), kurtosis(change), change.std(), float(np.mean(change == 0.0))]
    correlations = cross_correlation(signals[:, :2], 60)
    return features + [float(correlations[60 + k]) for k in (-60, -30, -12, -5, -2, -1, 0, 1, 2, 5, 12, 30, 60)]


def _standardise(x: Floats) -> Floats:
    deviation = float(x.std())
    return (x - x.mean()) / deviation if deviation > 1e-9 * max(1.0, float(np.abs(x).max())) else np.zeros(len(x))


FEATURES: dict[str, Callable[[Floats], list[float]]] = {
    "catch22 and cross-correlation": catch_features, "those of similarity": similarity_features,
    "correlations, spectrum, moments": correlation_features}


def extract(windows: Windows, features: Callable[[Floats], list[float]]) -> Floats:
    return np.nan_to_num(np.array([features(np.asarray(one, dtype=np.float64)) for one in windows.signals]),
                         posinf=0.0, neginf=0.0)


def other_plants() -> tuple[Windows, npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Return records of plants that are not ours, each of a loop, with the plant and the kind of each."""
    records = [(plant, simulate_plant(plant, seed)) for plant in PLANTS for seed in (1, 2)]
    records += [(plant, simulate_further_plant(plant, seed)) for plant in FURTHER_PLANTS for seed in (1, 2)]
    signals = [signal for _, record in records for signal in record.signals]
    windows = Windows(signals, np.concatenate([record.is_sticky for _, record in records]),
                      np.array([str(i) for i in range(len(signals))]))
    return (windows, np.concatenate([np.full(len(record.signals), plant) for plant, record in records]),
            np.concatenate([record.kinds for _, record in records]))


def compute_aucs(populations: Sequence[Windows]) -> dict[str, Floats]:
    """Return, for the real loops and for each other plant, the AUC by set of features and seed: (features, seeds)."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    real, (other, plants, kinds) = real_windows(), other_plants()
    aucs: dict[str, list[list[float]]] = {name: [] for name in ("real", *ALL_PLANTS)}
    means = np.zeros(len(kinds))
    for name, features in FEATURES.items():
        x, x_other = extract(real, features), extract(other, features)
        forests = [RandomForestClassifier(TREES, min_samples_leaf=3, random_state=seed).fit(
            extract(windows, features), windows.is_sticky) for seed, windows in zip(SEEDS, populations, strict=True)]
        scores = [forest.predict_proba(x)[:, 1] for forest in forests]
        by_window = [roc_auc_score(real.is_sticky, score) for score in scores]
        aucs["real"].append([roc_auc_score(real.is_sticky, score, sample_weight=real.weights) for score in scores])
        scores = [forest.predict_proba(x_other)[:, 1] for forest in forests]
        means += np.sum(scores, axis=0)
        for plant in ALL_PLANTS:
            at = plants == plant
            aucs[plant].append([roc_auc_score(other.is_sticky[at], score[at]) for score in scores])
        print(f"{name}: real loops {np.round(aucs['real'][-1], 2)} (by window {np.round(by_window, 2)}), "
              + ", ".join(f"{plant} {np.round(aucs[plant][-1], 2)}" for plant in ALL_PLANTS))
    for kind in KINDS[1:]:
        at = other.is_sticky | (kinds == kind)
        print(f"other plants, stiction against {kind}: {roc_auc_score(other.is_sticky[at], means[at]):.2f}")
    return {name: np.array(values) for name, values in aucs.items()}


# Over seeds the AUC of real loops varies by up to 0.09: few valves of a refinery stick. That of a forest that learns
# from the real loops, each left out in turn, is 0.87 to 0.91; that of one that learns from two of the other plants and
# judges the third is 0.87 to 0.92. Where all waves were alike, the other plants had 0.55 to 0.64.
@pytest.mark.parametrize(("population", "real_bar", "other_bar"), [(default_types, 0.82, 0.78), (refinery, 0.87, 0.62)])
def test_a_forest_that_learns_from_simulated_loops_finds_stiction_in_real_ones_and_in_other_plants(
        population: Callable[[int], list[LoopSpec]], real_bar: float, other_bar: float) -> None:
    aucs = compute_aucs([simulate(population(seed), seed) for seed in SEEDS])
    assert aucs["real"].mean() > real_bar
    assert np.mean([aucs[plant].mean() for plant in PLANTS]) > other_bar
