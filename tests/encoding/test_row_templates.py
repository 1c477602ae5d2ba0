"""Rows are the same text however they are assembled, and whatever was written before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.encoding import byte_rows, float_format, line_protocol
from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.block import Block, Floats

LOOPS = ("A", "TIC208030", "a much longer id, with spaces", "B")
FORMS = {"lp": LineProtocol, "csv": LongCsv, "wide": WideCsv}
hundredths = st.integers(0, 10**5 - 1).map(lambda n: n / 100.0)
number = (st.sampled_from([0.0, -0.0, 50.0, 405.41, -1.234567891e-105, 1e300, float("nan"), float("inf"), 1234567.891])
          | st.floats(-1e3, 1e3) | hundredths)


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    """Consecutive Blocks, in which some numbers and modes stay what they were."""
    stream: list[Block] = []
    ticks = draw(st.integers(1, 4))
    time = draw(st.sampled_from([0, 10**9, 1_736_503_500 * 10**9, 10**15 - 1]))
    for _ in range(draw(st.integers(1, 4))):
        shape = (ticks, len(LOOPS))

        def values(previous: Floats | None, shape: tuple[int, int] = shape) -> Floats:
            if previous is not None and draw(st.booleans()):
                return previous
            elements = draw(st.sampled_from([number, hundredths]))
            return np.array(draw(st.lists(elements, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
                            ).reshape(shape)

        last = stream[-1] if stream else None
        pv, op, sp = (values(getattr(last, name) if last else None) for name in ("pv", "op", "sp"))
        mode = last.mode if last and draw(st.booleans()) else np.array(
            draw(st.lists(st.integers(0, 2), min_size=ticks * len(LOOPS), max_size=ticks * len(LOOPS))), dtype=np.int8
        ).reshape(shape)
        times = time + 10**9 * np.arange(len(stream) * ticks, (len(stream) + 1) * ticks)
        stream.append(Block(LOOPS, times, pv, op, sp, mode, pv, pv, np.full(shape, 192, dtype=np.int16)))
    return stream


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=examples(150))
@given(stream=blocks())
def test_rows_copied_by_column_are_the_rows_without_padding(form: str, stream: list[Block]) -> None:
    by_column: Encoder = FORMS[form](LOOPS)
    for block in stream:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(line_protocol, "FEW_LINES", 0)
            patched.setattr(byte_rows, "_FEW_ROWS", 0)
            patched.setattr(byte_rows, "_TILE_ROWS", 3)
            patched.setattr(float_format, "_MANY_NUMBERS", 0)
            text = by_column.encode(block)
            patched.setattr(byte_rows, "_FEW_ROWS", 10**9)
            patched.setattr(float_format, "_MANY_NUMBERS", 10**9)
            assert text == FORMS[form](LOOPS).encode(block)


def test_many_rows_are_copied_column_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_rows.RowBuffer, "_remove_padding", None)
    values = np.full((600, len(LOOPS)), 50.25)
    times = 1_736_503_500 * 10**9 + 10**9 * np.arange(len(values))
    ones = np.ones(values.shape, dtype=np.int16)
    lines = LineProtocol(LOOPS).encode(
        Block(LOOPS, times, values, values, values, ones.astype(np.int8), values, values, ones))
    assert lines.count(b"\n") == values.size
    assert b"\xff" not in lines
