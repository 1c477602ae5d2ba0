"""The loop sheet stands among the samples: before the first one, at each change and at each full hour."""

from __future__ import annotations

from itertools import pairwise

from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.encoding.sheet_formats import SheetPoints
from clpm_execd.plant.loop_sheet import make_loop_sheet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
T0 = 1_736_503_500 * SECOND  # five minutes past the hour
LOOP = LoopSpec(id="F1")


def encoder(loop: LoopSpec = LOOP) -> LineProtocol:
    sheet = SheetPoints(make_loop_sheet([loop], 10 * MINUTE), "sheet", {"site": "x"})
    return LineProtocol(["F1"], tags={"site": "x"}, sheet=sheet)


def plant() -> Plant:
    return Plant([LOOP], seed=1, start=T0, interval=10 * MINUTE)


def minutes_of_sheets(lines: bytes) -> list[int]:
    """Minutes after T0 of the sheets; each stands before the sample of its time."""
    points = [(line.split(b",")[0], int(line.split()[-1])) for line in lines.splitlines()]
    sheets = []
    for (measurement, time), following in pairwise(points):
        if measurement == b"sheet":
            assert following == (b"control_loops", time)
            sheets.append((time - T0) // MINUTE)
    return sheets


def test_the_sheet_comes_before_the_first_sample_and_at_the_first_sample_of_each_hour() -> None:
    assert minutes_of_sheets(encoder().encode(plant().advance(15))) == [0, 60, 120]


def test_the_sheet_comes_at_the_same_times_however_the_stream_is_cut() -> None:
    source, lines = plant(), encoder()
    assert b"".join(lines.encode(source.advance(n)) for n in (1, 3, 1, 1, 9)) == encoder().encode(plant().advance(15))


def test_a_changed_sheet_comes_before_the_next_sample() -> None:
    source, lines = plant(), encoder()
    lines.encode(source.advance(2))
    assert lines.sheet is not None
    lines.sheet.update(make_loop_sheet([LoopSpec(id="F1", description="Feed")], 10 * MINUTE))
    text = lines.encode(source.advance(2))
    assert minutes_of_sheets(text) == [20]
    assert b'description="Feed"' in text


def test_a_resumed_stream_writes_its_sheet_again_only_if_it_has_changed() -> None:
    source, first = plant(), encoder()
    first.encode(source.advance(2))
    same, other = encoder(), encoder(LoopSpec(id="F1", description="Feed"))
    for resumed in (same, other):
        resumed.restore(first.snapshot(), ["F1"])
    block = source.advance(2)
    assert minutes_of_sheets(same.encode(block)) == []
    assert minutes_of_sheets(other.encode(block)) == [20]


def test_a_tag_of_a_loop_replaces_that_of_the_plant_and_its_own_type() -> None:
    text = encoder(LoopSpec(id="F1", tags={"site": "y", "type": "spare"})).encode(plant().advance(1))
    assert text.startswith(b"sheet,loop_id=F1,site=y,type=spare ")
