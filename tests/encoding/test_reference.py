"""The encoder of many rows at once writes the bytes of the reference encoder, which writes one sample after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiers import examples

from clpm_execd.encoding import block_encoder, byte_rows, float_format, line_protocol
from clpm_execd.encoding.escaping import find_defect
from clpm_execd.encoding.line_protocol import FEW_LINES, LineProtocol
from clpm_execd.encoding.reference import ReferenceEncoder, encode_truth
from clpm_execd.encoding.truth_rows import TruthRows
from clpm_execd.plant.block import BAD, FIELD_SIGNALS, GOOD, MODES, Arrivals, Block, Truth

SECOND = 10**9
START = 1_736_503_500 * SECOND
TRUTH = "control_loops_truth"

floats = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, -1e-300, 1e-5, 405.2694502, 63.5, 9999999999.5, 1e10, -1.234567891e-105,
                     1.797693134e308, 1.7976931348623157e308, np.inf, -np.inf, np.nan]),
    st.floats(), st.integers(-10**5, 10**5).map(lambda hundredths: hundredths / 100.0))
characters = st.one_of(st.sampled_from(',= "\\%#\'sde{}é漢🙂'), st.characters(exclude_categories=["Cc", "Cs"]))
RESERVED = ("loop_id", "Mode", "time", "host", "fault", TRUTH)
names = st.text(characters, min_size=1, max_size=6).filter(
    lambda text: find_defect(text) is None and not text.startswith("#") and text not in RESERVED)
settings_of_encoder = st.fixed_dictionaries({
    "measurement": names,
    "fields": st.dictionaries(names, st.sampled_from(FIELD_SIGNALS), min_size=1),
    "mode_tag": st.sampled_from(["Mode", None]),
    "modes": st.sampled_from([MODES, ("Man", "Auto", "Cas"), ("Manual", "Automatic", "Automatic")]),
    "tags": st.dictionaries(names, names, max_size=2),
    "loop_tags": st.lists(st.dictionaries(names, names, max_size=2), min_size=1, max_size=2),  # the loops take turns
})


def samples(draw: st.DrawFn, shape: int | tuple[int, int]) -> dict[str, Any]:
    """Every signal and the mode."""
    elements: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
        **dict.fromkeys(("pv", "op", "sp", "valve_position", "true_pv"), ("f8", floats)),
        "quality": ("i2", st.sampled_from([GOOD, BAD])), "mode": ("i1", st.integers(0, 2))}
    return {name: draw(arrays(kind, shape, elements=of)) for name, (kind, of) in elements.items()}


def truth(draw: st.DrawFn, loops: tuple[str, ...], columns: list[int], ticks: int) -> Truth:
    """The faults of these columns; each is at times present, visible and severe."""
    shape = (ticks, len(columns))
    return Truth(
        loops=tuple(loops[i] for i in columns), kinds=tuple("stiction" if i % 2 else "bias" for i in columns),
        control=tuple(i == 0 for i in columns), column=np.array(columns, dtype=np.intp),
        present=draw(arrays("?", shape)), visible=draw(arrays("?", shape)),
        severity=draw(arrays("f8", shape, elements=st.floats(0.0, 1.0))),
        effect=draw(arrays("f8", shape, elements=st.floats(0.0, 3.0))),
        cause=draw(arrays("i8", shape, elements=st.integers(-1, len(columns) - 1))))


def arrivals(draw: st.DrawFn, loops: int, ticks: int) -> Arrivals:
    """Late, doubled and misdated samples of some loops."""
    apart = draw(arrays("?", loops))
    places = [(t, int(i)) for t in range(ticks) for i in np.flatnonzero(apart) for _ in range(draw(st.integers(0, 2)))]
    row, loop = np.array(places, dtype=np.intp).reshape(-1, 2).T
    rows = len(places)
    times = draw(arrays("i8", rows, elements=st.integers(START - 60 * SECOND, START + 60 * SECOND)))
    none = np.zeros((rows, 1), dtype=np.bool_)
    return Arrivals(has_data_path_fault=apart, row=row, loop=loop, times=times, seq=times // SECOND % 10**9,
                    **samples(draw, rows), present=none, visible=none)


@st.composite
def streams(draw: st.DrawFn) -> list[Block]:
    """Consecutive Blocks of the same loops and faults, 20 s from sample to sample."""
    loops = tuple(draw(st.lists(names, min_size=1, max_size=4, unique=True)))
    columns = sorted(draw(st.lists(st.integers(0, len(loops) - 1), max_size=3)))
    with_arrivals = draw(st.booleans())
    times = iter(range(START + SECOND, START + 10**6 * SECOND, 20 * SECOND))
    return [
        Block(loops=loops, times=np.array([next(times) for _ in range(ticks)]), **samples(draw, (ticks, len(loops))),
              truth=truth(draw, loops, columns, ticks) if columns else None,
              arrivals=arrivals(draw, len(loops), ticks) if with_arrivals else None)
        for ticks in draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))]


def lines_by_reference(blocks: list[Block], options: dict[str, Any]) -> Iterator[bytes]:
    reference, truth_rows = ReferenceEncoder(blocks[0].loops, **options), TruthRows()
    for block in blocks:
        rows_at = dict(truth_rows.take_due(block))
        for t, time in enumerate(block.times.tolist()):
            yield reference.encode(block, t, t + 1)
            for row in rows_at.get(t, []):
                yield encode_truth(TRUTH, {**options["tags"], **options["loop_tags"][row.loop]}, row, b"%d" % time)


@pytest.mark.slow
@pytest.mark.parametrize("few_lines", [0, 5, FEW_LINES])
@pytest.mark.parametrize("rows_a_table", [1, 3, 20_480])
@settings(max_examples=examples(60))
@given(streams(), settings_of_encoder)
def test_every_block_is_encoded_as_the_reference_encodes_it(
    few_lines: int, rows_a_table: int, blocks: list[Block], options: dict[str, Any]
) -> None:
    turns = itertools.cycle(options["loop_tags"])
    options = {**options, "loop_tags": dict(zip(blocks[0].loops, turns, strict=False))}
    expected = b"".join(lines_by_reference(blocks, options))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(line_protocol, "FEW_LINES", few_lines)
        patched.setattr(block_encoder, "_TABLE_ROWS", rows_a_table)
        patched.setattr(byte_rows, "_FEW_ROWS", 0 if rows_a_table == 3 else 1000)
        patched.setattr(float_format, "_MANY_NUMBERS", 0 if rows_a_table == 3 else 1000)
        encoder = LineProtocol(blocks[0].loops, **options, truth=TRUTH)
        assert b"".join(encoder.encode(block) for block in blocks) == expected


def test_the_reference_writes_the_documented_line() -> None:
    reference = ReferenceEncoder(("TIC208030",), measurement="control_loops", mode_tag="Mode", tags={}, loop_tags={},
                                 fields={"PV": "pv", "OP": "op", "SP": "sp"})
    one = np.ones((1, 1))
    block = Block(("TIC208030",), np.array([1_736_503_500_000_000_000]), 405.2694502 * one, 63.5 * one, 405.41 * one,
                  one.astype(np.int8), one, one, one.astype(np.int16))
    assert reference.encode(block, 0, 1) == (
        b"control_loops,Mode=AUT,loop_id=TIC208030 OP=63.5,PV=405.2694502,SP=405.41 1736503500000000000\n")
