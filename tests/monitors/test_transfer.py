"""A forest that learns stiction from simulated loops recognises it in the records of real ones.

It learns from two hours of each loop at 10 s: windows in which stiction is visible against all others. The area under
its ROC curve is that over the windows of the real loops, each loop with the same weight: most of the sticky windows
are of one loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import tomli
from plant_records import plant_records

from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.evaluation.similarity import extract_features
from clpm_execd.identification.correlation import cross_correlation
from clpm_execd.plant.block import MAN, SECOND, Floats
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


@dataclass(frozen=True)
class Windows:
    """W windows: (SAMPLES, 3) PV, OP and SP of each, whether its valve visibly sticks, and the loop it is of."""

    signals: Sequence[Floats]
    is_sticky: npt.NDArray[np.bool_]
    loops: npt.NDArray[np.str_]


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
    """The five types: loops with stiction of drawn size, aggressive ones, driven and healthy ones, as many of each."""
    chance = np.random.default_rng(seed)
    loops = []
    for loop_type in list(LOOP_TYPES) * 15:
        s = float(np.exp(chance.uniform(np.log(2.0), np.log(8.0))))
        stiction = FaultSpec(kind="stiction", parameters={"S": s, "J": s * float(chance.uniform(0.1, 1.2))})
        for fault in (stiction, FaultSpec(kind="aggressive"), FaultSpec(kind="external-oscillation"), None):
            loops.append(replace(template(loop_type, f"{loop_type}{len(loops)}", (0.0, 100.0)),
                                 faults=() if fault is None else (fault,)))
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


def compute_aucs(populations: Sequence[Windows], real: Windows) -> dict[str, tuple[float, float]]:
    """Return the AUC of a forest for each set of features, each loop or each window with the same weight."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    weights = np.array([1.0 / np.sum(real.loops == loop) for loop in real.loops])
    result = {}
    for name, features in FEATURES.items():
        x, y = extract(real, features), real.is_sticky
        train = [(extract(windows, features), windows.is_sticky) for windows in populations]
        scores = [RandomForestClassifier(TREES, min_samples_leaf=3, random_state=seed).fit(*one).predict_proba(x)[:, 1]
                  for seed, one in zip(SEEDS, train, strict=True)]
        by_loop = [float(roc_auc_score(y, score, sample_weight=weights)) for score in scores]
        by_window = [float(roc_auc_score(y, score)) for score in scores]
        print(f"{name}: by loop {np.round(by_loop, 2)}, by window {np.round(by_window, 2)}")
        result[name] = float(np.mean(by_loop)), float(np.mean(by_window))
    return result


# Over seeds the AUC varies by 0.05: few valves of a refinery stick. That of a forest that learns from the real loops,
# each left out in turn, is 0.87 to 0.91. Where sticky valves cycled quickly and quiet loops moved slowly, it was 0.45.
@pytest.mark.parametrize("population", [default_types, refinery])
def test_a_forest_that_learns_from_simulated_loops_finds_stiction_in_real_ones(
        population: Callable[[int], list[LoopSpec]]) -> None:
    aucs = compute_aucs([simulate(population(seed), seed) for seed in SEEDS], real_windows())
    assert np.mean([by_loop for by_loop, _ in aucs.values()]) > 0.78
