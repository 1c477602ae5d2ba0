"""A limit cycle of a sticking valve is distinguished from one from outside, from ringing, and from a healthy loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated_records import record_of, run
from test_recovery import KINDS, drawn
from tiers import CAMPAIGNS

from clpm_execd.identification.estimates import Findings
from clpm_execd.identification.hypotheses import Fitted, LoopData, choose
from clpm_execd.identification.loop_data import Signals, extract_signals
from clpm_execd.identification.oscillation import find_external_oscillation
from clpm_execd.identification.process.typical_process import other_model
from clpm_execd.identification.valve.stiction import find_stiction
from clpm_execd.identification.valve.valve_hypotheses import DrivenValve, FollowingValve, StickingValve
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import FaultSpec, LoopSpec

pytestmark = pytest.mark.slow

SAMPLES = {1.0: 5400, 5.0: 2000, 10.0: 1000, 30.0: 720}
LEAST_SLIPS = 8  # of the stem in the record: fewer cycles show no wave
LEAST_SAMPLES_A_SLIP = 4.0  # between slips: of a faster cycle the record does not show the wave


def signals(loops: list[LoopSpec], interval: float, seed: int) -> Signals:
    return extract_signals(record_of(run(loops, SAMPLES[interval], interval=interval, scan=1.0, seed=seed)), 0,
                           (0.0, 100.0))


def with_fault(loop: LoopSpec, kind: str, **parameters: float | str) -> LoopSpec:
    return replace(loop, faults=(FaultSpec(kind=kind, parameters=parameters),))


def sticky(kind: str, seed: int) -> LoopSpec:
    chance = np.random.default_rng([seed, KINDS.index(kind)])
    s = float(chance.uniform(2.0, 6.0))
    return with_fault(drawn(kind, seed), "stiction", S=s, J=float(chance.choice([0.2, 0.5, 0.8, 1.0])) * s)


VISIBLE = with_fault(drawn("pressure", 203), "stiction", S=4.0, J=3.0)


def driven(kind: str, seed: int) -> list[LoopSpec]:
    """Return a healthy loop that another one's limit cycle reaches through its valve, and the other loop."""
    chance = np.random.default_rng([seed, KINDS.index(kind), 1])
    other = replace(sticky(str(chance.choice(KINDS)), seed + 5000), id="OTHER", moves=())
    return [with_fault(drawn(kind, seed), "interaction", gain=float(chance.uniform(0.5, 1.5)), **{"with": "OTHER"}),
            other]


def is_sticky(loops: list[LoopSpec], interval: float, seed: int) -> bool:
    return shows_stiction(signals(loops, interval, seed), loops[0])


def shows_stiction(record: Signals, loop: LoopSpec, sense: float = 1.0) -> bool:
    typical = template(loop.type, "X101", (0.0, 100.0)).process
    test = find_stiction(record, filter(None, (typical, other_model(typical))))
    return test is not None and test.shows_stiction(sense)


def test_a_sticking_valve_is_distinguished_from_an_external_limit_cycle() -> None:
    assert is_sticky([VISIBLE], 5.0, 203)
    assert not is_sticky(driven("pressure", 203), 5.0, 203)
    assert not is_sticky([drawn("pressure", 203)], 5.0, 203)
    assert not is_sticky([with_fault(drawn("pressure", 203), "aggressive")], 5.0, 203)


def test_nothing_of_it_depends_on_units_or_on_the_interval() -> None:
    of, process = signals([VISIBLE], 5.0, 203), template("pressure", "X101", (0.0, 100.0)).process
    scaled = replace(of, pv=-0.07 * of.pv + 3.0, op=0.01 * of.op, sp=-0.07 * of.sp + 3.0, interval=60.0)
    slower = replace(process, tau=tuple(12.0 * tau for tau in process.tau), dead_time=12.0 * process.dead_time)
    plain, other = find_stiction(of, [process]), find_stiction(scaled, [slower])
    assert plain is not None
    assert other is not None
    assert plain.shows_stiction(1.0)
    assert not plain.shows_stiction(-1.0)
    assert other.shows_stiction(-1.0)
    assert other.gain == pytest.approx(plain.gain, rel=1e-6)
    assert other.rest == pytest.approx(plain.rest)


def test_the_table_of_hypotheses_has_one_that_is_chosen() -> None:
    for loops, chosen in (([VISIBLE], 2), ([drawn("pressure", 203)], 0)):
        findings, data = Findings(), LoopData(signals(loops, 5.0, 203), (0.0, 0.0), None)
        choose([(FollowingValve(), DrivenValve(), StickingValve())], data, Fitted("", loops[0]), findings)
        rows = findings.hypotheses
        assert [row.is_chosen for row in rows] == [k == chosen for k in range(3)]
        assert (rows[2].gain > rows[2].threshold) == (chosen == 2)


def test_a_wave_with_a_third_harmonic_has_its_own_period_and_not_the_harmonics() -> None:
    t = np.arange(1000.0)
    noise = np.random.default_rng(1).normal(0.0, 0.3, 1000)
    whitened = 0.3 * np.sin(2.0 * np.pi * t / 90.0) + np.sin(6.0 * np.pi * t / 90.0) + noise
    period = find_external_oscillation(whitened, 1.0, 90.5)
    assert period is not None
    assert period[1] < 90.0 < period[2]


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("interval", [1.0, 5.0, 10.0, 30.0])
def test_at_least_95_of_100_records_that_show_a_wave_are_judged_rightly_whether_the_valve_sticks(
        interval: float) -> None:
    detections, false = [], []
    for seed in range(400, 408 if CAMPAIGNS else 401):
        for kind in KINDS:
            healthy = drawn(kind, seed)
            block = run([sticky(kind, seed)], SAMPLES[interval], interval=interval, scan=1.0, seed=seed)
            moves = np.sign(np.diff(block.valve_position[:, 0]))
            moves = moves[moves != 0]
            slips = 1 + int(np.count_nonzero(moves[1:] != moves[:-1]))
            if slips >= LEAST_SLIPS and SAMPLES[interval] / slips >= LEAST_SAMPLES_A_SLIP:
                detections.append(shows_stiction(extract_signals(record_of(block), 0, (0.0, 100.0)), healthy))
            false += [is_sticky(loops, interval, seed) for loops in (
                [healthy], [with_fault(healthy, "aggressive")], driven(kind, seed),
                [with_fault(healthy, "external-oscillation", amplitude=3.0, period=40.0 * interval + 200.0,
                            harmonic=0.2)])]
    print(f"every {interval:g} s: found {np.mean(detections):.2f} of {len(detections)}, "
          f"false {np.mean(false):.3f} of {len(false)}")
    assert np.mean([*detections, *(not is_found for is_found in false)]) >= 0.95
