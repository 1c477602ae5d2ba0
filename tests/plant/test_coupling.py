"""Loops that the plant couples: users of a header feel each other by its pressure, and a heat exchanger joins two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tomli

from clpm_execd.config.loop_groups import find_groups
from clpm_execd.config.loops import parse_configuration
from clpm_execd.config.plants.starter import write_plant
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput

START = 1_736_503_500 * SECOND
QUIET: dict[str, Any] = {"sensor": {"noise": 0.0}, "disturbance": {"sigma": 0.0},
                         "recording": {"resolution": {"pv": 0.0, "op": 0.0}}}
STICKY = {"kind": "stiction", "S": 6.0, "J": 5.0, "start": "10m"}


def header(*, quiet: bool, fault: dict[str, Any] | None = None) -> tuple[LoopSpec, ...]:
    """Return the pressure of a header, two flows that draw on it, the master of the second, and a loop apart."""
    own = QUIET if quiet else {}

    def user(loop_id: str, **parts: Any) -> dict[str, Any]:
        coupling = {"loop": "PIC1", "by": "pv", "gain": 0.6, "lag": 1.0}
        # The controller of a flow as it is installed: slow enough that the header feels its limit cycle.
        return {"id": loop_id, **own, "coupling": [coupling], "controller": {"gain": 0.3, "reset": 30.0}, **parts}

    return parse_configuration({"loop": [
        {"id": "PIC1", "type": "pressure", **own, "controller": {"tuning": "sluggish"},
         "coupling": [{"loop": name, "gain": -0.6, "lag": 2.0} for name in ("FIC2", "FIC3")]},
        user("FIC2", fault=[fault] if fault else []), user("FIC3", cascade="TIC4"),
        {"id": "TIC4", "type": "temperature", **own}, {"id": "FIC5", **own}]}).loops


def simulate(loops: tuple[LoopSpec, ...], samples: int, *cuts: int) -> list[Block]:
    plant = Plant(loops, seed=7, start=START)
    return [plant.advance(n) for n in (*cuts, samples - sum(cuts))]


def test_coupled_loops_in_balance_stay_there() -> None:
    [block] = simulate(header(quiet=True), 300)
    assert np.abs(block.pv - 50.0).max() < 1e-9


def test_a_user_that_opens_lowers_the_pressure_and_the_other_user_opens_against_it() -> None:
    loops = parse_configuration({"loop": [
        {"id": "PIC1", "type": "pressure", **QUIET, "mode": "MAN", "process": {"gain": 2.0},
         "coupling": [{"loop": name, "gain": -0.25} for name in ("FIC2", "FIC3")]},
        {"id": "FIC2", **QUIET, "mode": "MAN", "move": [{"at": 60, "op": 60.0}],
         "coupling": [{"loop": "PIC1", "by": "pv", "gain": 0.5}]},
        {"id": "FIC3", **QUIET, "coupling": [{"loop": "PIC1", "by": "pv", "gain": 0.5}]}]}).loops
    [block] = simulate(loops, 3600)
    assert np.abs(block.pv[:60] - 50.0).max() < 1e-9
    # At steady state the other user's valve makes up for what the pressure takes: p = -0.25 x 2 (10 + v), v = -0.5 p.
    pressure = -5.0 / (1.0 - 0.25)
    assert block.pv[-1, 0] == pytest.approx(50.0 + pressure, abs=1e-3)
    assert block.op[-1, 2] == pytest.approx(50.0 - 0.5 * pressure, abs=1e-3)
    assert block.pv[-1, 2] == pytest.approx(50.0, abs=1e-3)


def test_a_sticky_valve_of_a_user_is_the_cause_in_the_header_and_in_the_others_but_not_beyond() -> None:
    [block] = simulate(header(quiet=False, fault=STICKY), 3600)
    truth = block.truth
    assert truth is not None
    rows = {(loop, kind): i for i, (loop, kind) in enumerate(zip(truth.loops, truth.kinds, strict=True))}
    assert set(rows) == {("FIC2", "stiction"), *((loop, "affected") for loop in ("PIC1", "FIC3", "TIC4"))}
    cause = rows["FIC2", "stiction"]
    for loop, share in (("PIC1", 0.9), ("FIC3", 0.4)):
        row = rows[loop, "affected"]
        assert not truth.visible[:600, row].any()
        assert truth.visible[1800:, row].mean() > share
        assert set(truth.cause[truth.visible[:, row], row].tolist()) == {cause}
    route = truth.find_route(rows["FIC3", "affected"], cause)
    assert (route.path, route.delay) == (("FIC2", "PIC1", "FIC3"), 2 * 2.0 + 33.0 + 2 * 1.0)
    # What the truth says is what the same plant without the fault shows.
    [healthy] = simulate(header(quiet=False), 3600)
    distance = (block.pv - healthy.pv)[1800:].std(axis=0) / healthy.pv[1800:].std(axis=0)
    assert distance[0] > 0.7
    assert distance[2] > 0.7
    assert (block.pv[:, 4] == healthy.pv[:, 4]).all()


def test_coupled_loops_are_the_same_however_they_are_cut_and_after_they_resume() -> None:
    loops = header(quiet=False, fault=STICKY | {"start": 60})
    [whole] = simulate(loops, 400)
    plant = Plant(loops, seed=7, start=START)
    first = plant.advance(131)
    plant = Plant(loops, seed=7, start=plant.next_time, snapshot=plant.snapshot())
    assert set(plant.resumed_loops) == set(plant.loops)
    parts = [first, plant.advance(1), plant.advance(268)]
    for signal in ("pv", "op", "sp"):
        assert np.array_equal(np.concatenate([getattr(part, signal) for part in parts]), getattr(whole, signal))
    effects = [part.truth.effect for part in parts if part.truth is not None]
    assert whole.truth is not None
    assert np.array_equal(np.concatenate(effects), whole.truth.effect)


def test_values_stay_finite_in_rings_that_are_unstable() -> None:
    def coupled(loop_id: str, other: str, **parts: Any) -> dict[str, Any]:
        return {"id": loop_id, "coupling": [{"loop": other, "by": "pv", "gain": 10.0}], **parts}

    loops = parse_configuration({"loop": [
        coupled("FIC1", "FIC2"), coupled("FIC2", "FIC1"), {"id": "TIC3", "type": "temperature"},
        {"id": "FIC4", "cascade": "TIC3", "fault": [{"kind": "interaction", "with": "TIC3", "gain": 10.0}]}]}).loops
    [block] = simulate(loops, 1200)
    assert np.isfinite(block.true_pv).all()
    assert np.isfinite(block.pv).all()
    assert np.isfinite(block.op).all()


def test_coupled_loops_are_never_in_different_shards() -> None:
    assert find_groups(header(quiet=True)) == ["FIC2"] * 4 + ["FIC5"]


@pytest.mark.parametrize(("coupling", "problem"), [
    ({"gain": 1.0}, "FIC1.coupling[1].loop: is missing; give the id of the other loop"),
    ({"loop": "FIC2"}, "FIC1.coupling[1].gain: is missing; give the load for 1 % of its valve or its PV"),
    ({"loop": "FIC1", "gain": 1.0}, "FIC1.coupling[1].loop: 'FIC1' is the loop itself; give another loop of this file"),
    ({"loop": "FIC3", "gain": 1.0}, "FIC1.coupling[1].loop: unknown loop 'FIC3'; did you mean 'FIC2'?"),
    ({"loop": "FIC2", "gain": 1.0, "by": "op"}, "FIC1.coupling[1].by: unknown by 'op'; give one of pv, valve")])
def test_an_invalid_coupling_is_refused(coupling: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_configuration({"loop": [{"id": "FIC1", "coupling": [coupling]}, {"id": "FIC2"}]})
    assert problem in str(error.value)


def test_loops_of_one_table_are_coupled_by_a_pattern() -> None:
    loops = parse_configuration({"loop": [
        {"id": "FIC{}", "count": 3}, {"id": "PIC{}", "count": 3, "coupling": [{"loop": "FIC{}", "gain": -0.5}]}]}).loops
    assert [loop.couplings[0].loop for loop in loops[3:]] == ["FIC1", "FIC2", "FIC3"]


def test_a_plant_of_init_has_headers_whose_users_cannot_make_them_unstable() -> None:
    loops = {loop.id: loop for loop in parse_configuration(tomli.loads(write_plant("refinery", 200, 1, 0.0))).loops}
    headers = [loop for loop in loops.values() if loop.type == "pressure" and loop.couplings]
    assert len(headers) >= 3
    for loop in headers:
        ring_gain = 0.0
        for coupling in loop.couplings:
            [back] = [other for other in loops[coupling.loop].couplings if other.loop == loop.id]
            # An open user draws the pressure down, and more pressure gives it more.
            assert coupling.gain * loop.process.gain < 0 < back.gain
            ring_gain += abs(coupling.gain * loop.process.gain) * back.gain
        assert ring_gain < 0.71
    pairs = [loop for loop in loops.values() if loop.type == "temperature" and loop.couplings
             and loops[loop.couplings[0].loop].type == "temperature"]
    assert len(pairs) >= 6


def test_other_loops_do_not_notice_a_coupling() -> None:
    coupled = header(quiet=False)
    apart = tuple(replace(loop, couplings=()) for loop in coupled)
    [with_couplings], [without] = simulate(coupled, 300), simulate(apart, 300)
    assert (with_couplings.pv[:, 4] == without.pv[:, 4]).all()
    assert not (with_couplings.pv[:, 0] == without.pv[:, 0]).all()
