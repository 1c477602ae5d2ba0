"""Records slower than the controller's scan: what it did between two samples is inferred, and how surely is told.

With CLPM_LONG=1 the population is large and the shares are printed; otherwise it is a loop or two.
"""

from __future__ import annotations

import numpy as np
import pytest
from recorded import record_of, run
from test_recovery import LONG, drawn, share

from clpm_execd.history.closed_loop import closed_loop
from clpm_execd.history.controller_law import pid_law
from clpm_execd.history.learned import Learned, learn
from clpm_execd.history.signals import signals_of
from clpm_execd.plant.loop import LoopSpec

KINDS = ("flow", "pressure", "level", "temperature")
INTERVAL, SAMPLES = 10.0, 1440  # four hours
SEEDS = range(50, 60) if LONG else range(50, 51)


@pytest.fixture(scope="module")
def learned() -> list[tuple[LoopSpec, Learned]]:
    """Loops that scan each second, of which each tenth sample is in the record."""
    truths = [drawn(kind, seed) for kind in KINDS for seed in SEEDS]
    return [(truth, learn(record_of(run(truth, SAMPLES, interval=INTERVAL, seed=k)), span=(0.0, 100.0)))
            for k, truth in enumerate(truths)]


def test_gain_and_reset_are_those_of_the_scans(learned: list[tuple[LoopSpec, Learned]]) -> None:
    for key in ("gain", "reset"):
        known = [(getattr(truth.controller, key), found.estimates[f"controller.{key}"]) for truth, found in learned
                 if f"controller.{key}" in found.estimates]
        known = [(value, estimate) for value, estimate in known if estimate.source == "identified"]
        share(f"{key} within 5 %", [abs(estimate.value / value - 1.0) < 0.05 for value, estimate in known])
        near = [abs(estimate.value / value - 1.0) < 0.05 or estimate.high - estimate.low > 0.1 * value
                for value, estimate in known]
        assert len(known) >= 0.6 * len(learned)
        assert share(f"{key} within 5 %, or said to be less sure", near) >= 0.9
        held = [estimate.low <= value <= estimate.high for value, estimate in known]
        assert share(f"interval of {key} holds", held) >= 0.7


def test_a_record_of_every_scan_is_known_as_one() -> None:
    truth = drawn("pressure", 60)
    block = run(truth, SAMPLES, interval=INTERVAL, scan=INTERVAL)
    found = learn(record_of(block), span=(0.0, 100.0)).estimates
    for key in ("gain", "reset"):
        assert found[f"controller.{key}"].value == pytest.approx(getattr(truth.controller, key), rel=0.03)


def test_what_is_between_two_samples_is_asked_only_where_it_matters() -> None:
    truth = drawn("pressure", 61)
    fast = signals_of(record_of(run(truth, 3600)), 0, (0.0, 100.0))
    law = pid_law(fast, (0.02, 0.01))
    assert law is not None
    assert law.exact
    assert closed_loop(fast, law, truth.process, (0.02, 0.01)) is None
    slow = signals_of(record_of(run(truth, SAMPLES, interval=INTERVAL)), 0, (0.0, 100.0))
    seen = pid_law(slow, (0.02, 0.01))
    assert seen is not None
    found = closed_loop(slow, seen, truth.process, (0.02, 0.01))
    assert found is not None
    assert found.process.gain[0] == pytest.approx(truth.process.gain, rel=0.2)
    assert np.sign(found.law.gain[0]) == 1.0
