"""The verdict on a fitted loop names what a user of its stream would miss, the worst first."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest

from clpm_execd.evaluation.learned_vs_record import Comparison, LoopFit
from clpm_execd.evaluation.similarity import Distances
from clpm_execd.evaluation.verdict import Verdict, judge, measure_figures
from clpm_execd.identification.estimates import Estimate
from clpm_execd.identification.learn import LearnedLoop
from clpm_execd.plant.loop_types import template

ZERO = Distances(0.0, 0.0, 0.0, 0.0)
SAMPLES = 3000


def signals(seed: int, *, size: float = 1.0, wave: float = 0.0, offset: float = 0.0) -> np.ndarray:
    """Return (T, 3) PV, OP and SP of a loop that drifts around SP = 50 and oscillates every 50 samples."""
    noise = np.random.default_rng(seed).standard_normal((SAMPLES, 2))
    for k in range(1, SAMPLES):
        noise[k] += 0.9 * noise[k - 1]
    swing = wave * np.sin(np.arange(SAMPLES) * 2 * np.pi / 50)[:, None]
    pair = 50 + size * noise + swing + [offset, 0.0]
    return np.column_stack([pair, np.full(SAMPLES, 50.0)])


def verdict_of(recorded: np.ndarray, simulated: np.ndarray, *, auc: float = 0.55, novelty: float = 1.0,
               source: str = "identified") -> Verdict:
    estimates = {key: Estimate(1.0, 0.9, 1.1, "%/%", source) for key in ("controller.gain", "process.gain")}
    learned = LearnedLoop(template("flow", "FIC1", (0.0, 100.0)), estimates, (), 10**9, SAMPLES)
    return judge(LoopFit("x.csv", learned, Comparison(recorded, simulated, 1.0, ZERO, ZERO, novelty)), auc)


def test_a_loop_like_its_record_is_good() -> None:
    assert verdict_of(signals(1), signals(2)) == Verdict("good")
    assert str(Verdict("good")) == "good"


@pytest.mark.parametrize(("simulated", "level", "words"), [
    ({"size": 0.55}, "usable with care", "it moves only 0."), ({"size": 0.2}, "do not use", "it moves only 0."),
    ({"size": 4.0}, "do not use", "it moves 4."), ({"offset": 60.0}, "do not use", "times as far from SP"),
])
def test_too_little_or_too_much_movement_and_an_offset_are_reasons(simulated: dict[str, float], level: str,
                                                                   words: str) -> None:
    verdict = verdict_of(signals(1), signals(2, **simulated))
    assert verdict.level == level
    assert any(words in reason for reason in verdict.reasons)


def test_an_oscillation_that_is_gone_is_a_reason() -> None:
    assert verdict_of(signals(1, wave=8.0), signals(2, wave=8.0)).level == "good"
    lost = verdict_of(signals(1, wave=8.0), signals(2, size=1.5))
    assert any("the oscillation has only" in reason for reason in lost.reasons)
    assert np.isnan(measure_figures(Comparison(signals(1), signals(2), 1.0, ZERO, ZERO, 1.0)).wave)


@pytest.mark.parametrize(("auc", "novelty", "level"), [
    (0.8, 1.0, "usable with care"), (0.97, 1.0, "do not use"), (0.5, 0.7, "usable with care"), (0.5, 0.3, "do not use"),
    (nan, nan, "good"),
])
def test_distinguishable_or_replayed_windows_are_reasons(auc: float, novelty: float, level: str) -> None:
    assert verdict_of(signals(1), signals(2), auc=auc, novelty=novelty).level == level


def test_the_worst_reason_comes_first() -> None:
    verdict = verdict_of(signals(1), signals(2), auc=0.8, novelty=0.3)
    assert verdict.level == "do not use"
    assert str(verdict).startswith("do not use: it replays parts of the record (novelty ratio 0.30); simulated and ")


def test_defaults_short_records_and_a_pv_at_rest_are_reasons() -> None:
    default = verdict_of(signals(1), signals(2), source="prior")
    assert default.level == "do not use"  # the loop of these tests has no model either
    still = signals(1)
    still[:, 0] = 50.0
    assert verdict_of(still, signals(2)).reasons[0].startswith("PV never moves in the record")
    learned = LearnedLoop(template("flow", "FIC1", (0.0, 100.0)), {}, (), 10**9, 90)
    short = Comparison(signals(1)[:90], signals(2)[:90], 1.0, None, None, nan)
    one = LoopFit("x.csv", replace(learned), short)
    assert any("90 samples, too few to compare (at least 256 are needed)" in reason for reason in judge(one).reasons)
