"""Three judges of fitted loops, and loops of the plant for them: sticky, driven and ringing.

Each judge says how well windows of a stream are distinguished from windows of the record, with whole loops held out:
a random forest and gradient boosting on features, and ROCKET (Dempster, Petitjean and Webb, 2020), which sees the
windows themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from simulated_records import run

from clpm_execd.evaluation.similarity import cut_windows, extract_features
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.plant.tuning import tune_controller

JUDGES = ("forest", "boosting", "ROCKET")
WINDOWS_OF_A_LOOP = 12
KERNELS = 500
FOLDS = 5
TYPES = ("flow", "pressure", "level", "temperature", "composition")
SAMPLES = 1200
WARM_UP = 200


@dataclass(frozen=True)
class Case:
    """A record's two halves, (T, 3) PV, OP and SP each, the interval in s, and the name of its loop."""

    first: Floats
    second: Floats
    interval: float
    loop: str


def swinging_loops(count: int = 30) -> Iterator[Case]:
    """Yield records of loops whose valve sticks, which a wave drives, or which ring, all drawn, a third each."""
    chance = np.random.default_rng(7)
    number = 0
    while number < count:
        loop, kind = _draw(chance, number), ("stiction", "external-oscillation", "aggressive")[number % 3]
        pv = run(loop, 8000, seed=number).pv[2000:, 0]
        power = np.abs(np.fft.rfft((pv - pv.mean()) * np.hanning(len(pv)))) ** 2
        period = len(pv) / max(int(np.argmax(power)), 1)
        if pv.std() < 2.0 * loop.sensor.noise or period > 1000.0:
            continue  # nothing swings, or too slowly for the record
        interval = float(max(1, round(period / float(chance.choice([10, 20, 40])))))
        block = run(loop, SAMPLES + WARM_UP, interval=interval, scan=1.0, seed=100 + number)
        signals = np.column_stack([block.pv, block.op, block.sp])[WARM_UP:]
        yield Case(signals[:SAMPLES // 2], signals[SAMPLES // 2:], interval, f"{kind}-{number}")
        number += 1


def _draw(chance: np.random.Generator, number: int) -> LoopSpec:
    loop = template(str(chance.choice(TYPES)), f"X{number}", (0.0, 100.0))
    loop = replace(loop, sensor=replace(loop.sensor, noise=float(chance.choice([0.02, 0.05, 0.15]))),
                   disturbance=replace(loop.disturbance, sigma=float(chance.choice([0.1, 0.3, 0.8]))))
    rule = tune_controller(loop, 1.0)
    gain, reset = rule.gain or 1.0, rule.reset or 1.0
    if number % 3 == 0:
        s = float(chance.uniform(2.0, 8.0))
        faults = FaultSpec(kind="stiction", parameters={"S": s, "J": s * float(chance.uniform(0.2, 1.0))}),
    elif number % 3 == 1:
        lag = sum(loop.process.tau or (60.0,)) + loop.process.dead_time
        faults = FaultSpec(kind="external-oscillation", parameters={
            "amplitude": float(chance.uniform(1.0, 5.0)), "period": lag * float(chance.uniform(4.0, 20.0)),
            "harmonic": float(chance.uniform(0.0, 0.3))}),
    else:
        faults = ()
        gain, reset = gain * float(chance.uniform(2.0, 4.0)), reset * float(chance.uniform(0.4, 1.0))
    return replace(loop, controller=replace(rule, gain=gain, reset=reset), faults=faults)


def evaluate(records: Sequence[Floats], others: Sequence[Floats], loops: Sequence[str], length: int) -> list[float]:
    """Return the AUC of each judge between windows of (T, 2 or more) records and of others; 0.5 is by chance."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    windows, labels, groups = [], [], []
    for record, other, loop in zip(records, others, loops, strict=True):
        scale = np.maximum(record[:, :2].std(axis=0), 1e-9)
        for label, signals in enumerate((record, other)):
            cut = cut_windows(np.clip((signals[:, :2] - record[:, :2].mean(axis=0)) / scale, -50.0, 50.0), length, 1)
            rows = np.unique(np.linspace(0, len(cut) - 1, WINDOWS_OF_A_LOOP).astype(int))
            windows.append(cut[rows])
            labels += [label] * len(rows)
            groups += [loop] * len(rows)
    every, y = np.concatenate(windows), np.array(labels)
    features, kernels = extract_features(every), _apply_kernels(every)
    result = []
    for make, x in ((lambda: RandomForestClassifier(300, min_samples_leaf=3, random_state=0), features),
                    (lambda: HistGradientBoostingClassifier(random_state=0), features),
                    (lambda: make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 5, 10))), kernels)):
        aucs = []
        for train, test in GroupKFold(FOLDS).split(x, y, groups):
            judge = make().fit(x[train], y[train])
            scores = judge.predict_proba(x[test])[:, 1] if hasattr(judge, "predict_proba") else \
                judge.decision_function(x[test])
            aucs.append(float(roc_auc_score(y[test], scores)))
        result.append(float(np.mean(aucs)))
    return result


def _apply_kernels(windows: Floats) -> Floats:
    """Return (W, 2 x kernels) the maximum, and the share that is positive, of random dilated convolutions."""
    chance, (count, length, channels) = np.random.default_rng(0), windows.shape
    features = np.empty((count, 2 * KERNELS))
    for k in range(KERNELS):
        taps = int(chance.choice([7, 9, 11]))
        weights = chance.normal(size=(taps, channels))
        weights -= weights.mean(axis=0)
        weights[:, chance.random(channels) < 0.25] = 0.0
        dilation = int(2 ** chance.uniform(0.0, np.log2((length - 1) / (taps - 1))))
        padding = (taps - 1) * dilation // 2 if chance.random() < 0.5 else 0
        padded = np.pad(windows, ((0, 0), (padding, padding), (0, 0)))
        size = padded.shape[1] - (taps - 1) * dilation
        answer = chance.uniform(-1.0, 1.0) + sum(
            padded[:, i * dilation:i * dilation + size] @ weight for i, weight in enumerate(weights))
        features[:, 2 * k], features[:, 2 * k + 1] = answer.max(axis=1), (answer > 0.0).mean(axis=1)
    return features
