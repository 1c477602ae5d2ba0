"""All shards together are the plant: each loop is in exactly one, and loops that act on each other are in the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from command import run_command
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.config.loops import parse_configuration, read_configuration
from clpm_execd.config.shard import Shard, assign_shard, parse_shard, select_shard
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput

START = 1_736_503_500 * SECOND


def shards(loops: tuple[LoopSpec, ...], count: int) -> list[tuple[LoopSpec, ...]]:
    return [select_shard(loops, Shard(i, count)) for i in range(count)]


def flows(n: int) -> tuple[LoopSpec, ...]:
    return parse_configuration({"loop": [{"id": "FIC{:04d}", "count": n}]}).loops


def refinery(folder: Path, loops: int) -> tuple[LoopSpec, ...]:
    """Return a plant with cascades, neighbours and faults of every group."""
    path = folder / "loops.toml"
    path.write_text(run_command("init", "--plant", "refinery", "--loops", str(loops), folder=folder).stdout)
    return read_configuration(path).loops


def test_shards_have_about_the_same_number_of_loops() -> None:
    loops = flows(3000)
    parts = shards(loops, 3)
    assert sorted(loop.id for part in parts for loop in part) == [loop.id for loop in loops]
    assert all(900 < len(part) < 1100 for part in parts)


def test_the_shard_of_a_loop_depends_only_on_its_id() -> None:
    loops = flows(300)
    half = {loop.id for loop in select_shard(loops[::-2], Shard(1, 4))}
    assert half == {loop.id for loop in select_shard(loops, Shard(1, 4))} & {loop.id for loop in loops[::-2]}


def test_a_loop_keeps_its_shard_from_version_to_version() -> None:
    # Processes of two versions may run at once while a fleet is upgraded: no loop may have two streams, or none.
    assert [assign_shard(f"FIC{n}", 7) for n in range(101, 113)] == [1, 1, 1, 5, 0, 4, 6, 0, 1, 1, 0, 5]


@given(st.text(min_size=1), st.integers(1, 200))
def test_a_further_shard_takes_loops_from_the_others_and_moves_none_between_them(loop: str, count: int) -> None:
    assert assign_shard(loop, count + 1) in (assign_shard(loop, count), count)


def test_cascades_and_coupled_loops_are_in_one_shard() -> None:
    loops = parse_configuration({"loop": [
        {"id": "MASTER{}", "count": 50, "type": "temperature"},
        {"id": "SLAVE{}", "count": 50, "type": "flow", "cascade": "MASTER{}"},
        *({"id": f"NEIGHBOUR{i}", "fault": [{"kind": "interaction", "with": f"SLAVE{i}"}]} for i in range(1, 21)),
        {"id": "LAST", "fault": [{"kind": "interaction", "with": "NEIGHBOUR1"}]}]}).loops
    for part in shards(loops, 5):
        numbers = Counter(re.sub(r"\D", "", loop.id) for loop in part if loop.id != "LAST")
        assert all(n == (3 if int(number) <= 20 else 2) for number, n in numbers.items())
        assert ("LAST" in {loop.id for loop in part}) == ("MASTER1" in {loop.id for loop in part})


@pytest.mark.slow
def test_all_shards_together_are_the_plant_bit_for_bit(tmp_path: Path) -> None:
    loops = refinery(tmp_path, 150)

    def lines(loops: tuple[LoopSpec, ...]) -> list[bytes]:
        plant = Plant(loops, start=START)
        encoder = LineProtocol(plant.loops, fields={"PV": "true_pv", "OP": "op", "V": "valve_position"}, truth="truth")
        return b"".join(encoder.encode(plant.advance(100)) for _ in range(9)).splitlines()

    whole = sorted(lines(loops))
    for count in (2, 5):
        parts = sorted(line for part in shards(loops, count) for line in lines(part))
        assert len(parts) == len(whole)
        differences = ((one, other) for one, other in zip(parts, whole, strict=True) if one != other)
        assert next(differences, None) is None, "without a comparison of all lines, which takes minutes"


def test_auto_takes_the_number_at_the_end_of_the_host_name() -> None:
    assert parse_shard("auto/3", "clpm-execd-2") == Shard(2, 3)
    assert parse_shard("1/3", "clpm-execd-2") == Shard(1, 3)


@pytest.mark.parametrize(("text", "host", "message"), [
    ("3/3", "a", "0/3 to 2/3"), ("1", "a", "0/3"), ("-1/3", "a", "invalid shard"), ("0/0", "a", "0 shards"),
    ("auto", "a-1", "auto/3"), ("auto/3", "laptop", "does not end in a number"), ("auto/3", "pod-3", "replicas"),
    ("٣/4", "a", "invalid shard"),
])
def test_an_invalid_shard_is_refused_with_a_remedy(text: str, host: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_shard(text, host)


def test_a_shard_without_a_loop_is_an_error() -> None:
    with pytest.raises(BadInput, match="none of the 1 loops"):
        shards(flows(1), 2)
