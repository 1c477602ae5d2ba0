"""Many loops are looked at once for what they have alike, and are what they would be one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.plant.loop_set import Columns, LoopSet
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec

ALONE = [template(kind, "", (0.0, 100.0)) for kind in ("flow", "level", "temperature")]
KINDS = [*ALONE, *(replace(loop, mode="CAS") for loop in ALONE)]


def of_kinds(kinds: list[int]) -> LoopSet:
    """Those in CAS follow the next, where there is one."""
    ids = [f"LOOP{i}" for i in range(len(kinds))]
    masters = [after if kind >= len(ALONE) else None for kind, after in zip(kinds, [*ids[1:], None], strict=True)]
    return LoopSet(KINDS, np.array(kinds), ids, masters)


loops_of_kinds = st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=12).map(of_kinds)


def one_by_one(loops: LoopSet) -> list[LoopSpec]:
    return [replace(KINDS[kind], id=loop, cascade=master)
            for kind, loop, master in zip(loops.which.tolist(), loops.ids, loops.masters, strict=True)]


@given(loops_of_kinds, st.data())
def test_loops_that_are_alike_are_a_sequence_of_their_specifications(loops: LoopSet, data: st.DataObject) -> None:
    separate_loops = one_by_one(loops)
    assert list(loops) == separate_loops
    assert loops == separate_loops
    assert [loops[i] for i in range(len(loops))] == separate_loops
    at = data.draw(st.permutations(range(len(loops))))
    assert list(loops.select(np.array(at))) == [separate_loops[i] for i in at]
    assert list(loops[1:-1]) == separate_loops[1:-1]
    assert list(LoopSet.concatenate([loops, LoopSet.of(separate_loops)])) == separate_loops + separate_loops


@given(loops_of_kinds)
def test_what_is_computed_once_is_that_of_each_loop(loops: LoopSet) -> None:
    separate_loops = one_by_one(loops)
    assert loops.map(lambda loop: loop.type) == [loop.type for loop in separate_loops]
    assert loops.column(lambda loop: loop.sensor.noise).tolist() == [loop.sensor.noise for loop in separate_loops]
    assert loops.where(lambda loop: loop.type == "flow").tolist() == [loop.type == "flow" for loop in separate_loops]
    assert loops.columns(lambda loop: (loop.sp, loop.op)).tolist() == [
        [loop.sp for loop in separate_loops], [loop.op for loop in separate_loops]]


@pytest.mark.parametrize(("indices", "follow_each_other"), [
    ([3], True), ([2, 3, 4], True), ([4, 3, 2], False), ([1, 3], False)])
def test_columns_that_follow_each_other_are_not_copied(indices: list[int], follow_each_other: bool) -> None:
    values = np.arange(24).reshape(2, 12)
    columns = Columns(np.array(indices)).of(values)
    assert columns.tolist() == values[:, indices].tolist()
    assert np.shares_memory(columns, values) == follow_each_other


def test_labels_of_a_loop_change_neither_its_values_nor_what_a_checkpoint_knows_it_by() -> None:
    labels = {"description": "Feed", "area": "Unit 2", "unit": "m3/h", "tags": {"zone": "north"}}
    plain = Plant([replace(ALONE[0], id="FIC1")], start=0)
    labelled = Plant([replace(ALONE[0], id="FIC1", **labels)], start=0)
    first, second = plain.advance(300), labelled.advance(300)
    assert (first.pv == second.pv).all()
    snapshot = plain.snapshot()
    assert (snapshot.fingerprints == labelled.snapshot().fingerprints).all()
    resumed = Plant([replace(ALONE[0], id="FIC1", **labels)], start=snapshot.next_time, snapshot=snapshot)
    assert (resumed.advance(300).pv == plain.advance(300).pv).all()


def test_only_loops_with_tags_of_their_own_have_them_by_id() -> None:
    assert of_kinds([0, 1]).tags_by_id() == {}
    tagged = replace(ALONE[0], id="FIC1", tags={"zone": "north"})
    assert LoopSet.concatenate([of_kinds([0, 1]), LoopSet.of([tagged])]).tags_by_id() == {"FIC1": {"zone": "north"}}


@pytest.mark.slow
@given(loops_of_kinds)
def test_a_plant_of_many_alike_is_the_plant_of_its_loops(loops: LoopSet) -> None:
    by_kind, by_loop = Plant(loops, start=0), Plant(one_by_one(loops), start=0)
    assert by_kind.advance(30).pv.tobytes() == by_loop.advance(30).pv.tobytes()
    assert (by_kind.snapshot().fingerprints == by_loop.snapshot().fingerprints).all()
