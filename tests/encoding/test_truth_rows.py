"""The ground truth is written next to the samples: few rows, aligned, and the same however the stream is cut."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tomli

from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.block import AFFECTED, Arrivals, Block, Route, Truth
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.problems import BadInput
from clpm_execd.score import read_truth

SECOND = 1_000_000_000
T0 = 1_736_503_500 * SECOND  # a stream minute
LOOPS = ("A", "B")


def truth_of(present: list[list[bool]], *, loops: tuple[str, ...] = ("A", "B"),
             kinds: tuple[str, ...] = ("stiction", "white-noise"), control: tuple[bool, ...] = (False, True),
             visible: list[list[bool]] | None = None, severity: list[list[float]] | None = None) -> Truth:
    is_present = np.array(present)
    return Truth(loops=loops, kinds=kinds, control=control, column=np.array([LOOPS.index(loop) for loop in loops]),
                 effect=np.zeros(np.shape(present)), cause=np.full(np.shape(present), -1),
                 present=is_present, visible=is_present if visible is None else np.array(visible),
                 severity=is_present.astype(float) if severity is None else np.array(severity))


def block(truth: Truth | None, ticks: int, *, first: int = 0, interval: int = SECOND,
          arrivals: Arrivals | None = None) -> Block:
    shape = (ticks, len(LOOPS))
    numbers = np.arange(first, first + ticks, dtype=np.int64)
    return Block(loops=LOOPS, times=T0 + numbers * interval, pv=np.tile(numbers[:, np.newaxis], (1, 2)).astype(float),
                 op=np.full(shape, 5.0), sp=np.full(shape, 6.0), mode=np.ones(shape, np.int8),
                 valve_position=np.full(shape, 5.0), true_pv=np.full(shape, 5.0),
                 quality=np.full(shape, 192, np.int16), truth=truth, arrivals=arrivals)


def cut(stream: Block, sizes: list[int]) -> list[Block]:
    parts, at = [], 0
    for size in sizes:
        here = slice(at, at + size)
        truth = stream.truth
        assert truth is not None
        truth = replace(truth, present=truth.present[here], visible=truth.visible[here], severity=truth.severity[here],
                        effect=truth.effect[here], cause=truth.cause[here])
        arrays = {name: getattr(stream, name)[here]
                  for name in ("times", "pv", "op", "sp", "mode", "valve_position", "true_pv", "quality")}
        parts.append(replace(stream, **arrays, truth=truth))
        at += size
    return parts


def truth_lines(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if line.startswith("control_loops_truth")]


def encoders() -> dict[str, Any]:
    return {"lp": lambda: LineProtocol(LOOPS, truth="control_loops_truth"),
            "csv": lambda: LongCsv(LOOPS, truth="control_loops_truth"),
            "wide": lambda: WideCsv(LOOPS, truth=True)}


def test_a_row_has_the_truth_about_a_fault() -> None:
    encoder = LineProtocol(LOOPS, tags={"site": "u 1"}, truth="truth, all")
    truth = truth_of([[True, False]], visible=[[False, False]], severity=[[0.25, 1.0]])
    assert encoder.encode(block(truth, 1)).decode().splitlines()[2:] == [
        "truth\\,\\ all,fault=stiction,loop_id=A,site=u\\ 1 control=false,effect=0,present=true,severity=0.25,"
        f"visible=false {T0}",
        "truth\\,\\ all,fault=white-noise,loop_id=B,site=u\\ 1 control=true,effect=0,present=false,severity=1,"
        f"visible=false {T0}",
    ]


def test_a_row_of_the_truth_has_the_tags_of_its_loop() -> None:
    encoder = LineProtocol(LOOPS, tags={"unit": "1"}, loop_tags={"B": {"unit": "2"}}, truth="control_loops_truth")
    lines = truth_lines(encoder.encode(block(truth_of([[True, False]]), 1)))
    assert [line.split()[0].rpartition(",")[2] for line in lines] == ["unit=1", "unit=2"]


def test_there_is_a_row_at_the_start_at_every_change_and_at_each_minute() -> None:
    present = [[40 <= t < 70, False] for t in range(190)]
    lines = truth_lines(LineProtocol(LOOPS, truth="control_loops_truth").encode(block(truth_of(present), 190)))
    seconds = [(line.split(",")[1], (int(line.rsplit(" ", 1)[1]) - T0) // SECOND) for line in lines]
    stiction = [second for fault, second in seconds if fault == "fault=stiction"]
    assert stiction == [0, 40, 60, 70, 120, 180]
    assert [second for fault, second in seconds if fault == "fault=white-noise"] == [0, 60, 120, 180]


def test_the_first_sample_of_a_minute_has_a_row_where_none_is_on_it() -> None:
    present = [[False, False]] * 8
    lines = truth_lines(LineProtocol(LOOPS, truth="control_loops_truth").encode(
        block(truth_of(present), 8, first=1, interval=25 * SECOND)))
    seconds = [(int(line.rsplit(" ", 1)[1]) - T0) // SECOND for line in lines[::2]]
    assert seconds == [25, 75, 125, 200]


def test_a_cause_comes_with_its_path_and_delay_which_score_reads_over() -> None:
    truth = truth_of([[True, True]], kinds=("stiction", AFFECTED), control=(False, False))
    truth = replace(truth, cause=np.array([[-1, 0]]), find_routes=lambda _: {"B": Route(("A", "B 1,2"), 12.5)})
    lines = LineProtocol(LOOPS, truth="control_loops_truth").encode(block(truth, 1)).decode().splitlines()
    assert lines[-1].startswith('control_loops_truth,fault=affected,loop_id=B cause="A:stiction",control=false,'
                                'delay=12.5,effect=0,path="A>B 1,2",present=true,')
    rows = LongCsv(LOOPS, truth="control_loops_truth").encode(block(truth, 1)).decode().splitlines()
    assert {tuple(row[2:4]) for row in csv.reader(rows) if row[-1] == AFFECTED} >= {
        ("cause", "A:stiction"), ("path", "A>B 1,2"), ("delay", "12.5")}
    for text in (lines, ["_time,loop_id,_field,_value,Mode,_measurement,fault", *rows]):
        affected = next(each for each in read_truth(text).episodes if each.fault == AFFECTED)
        assert affected.cause == "A:stiction"


def test_an_affected_loop_has_rows_with_its_cause() -> None:
    truth = truth_of([[True, True]] * 3, kinds=("stiction", "affected"), control=(False, False))
    truth = replace(truth, effect=np.array([[2.5, 1.25]] * 3), cause=np.array([[-1, 0], [-1, 0], [-1, -1]]))
    lines = LineProtocol(LOOPS, truth="truth").encode(block(truth, 3)).decode().splitlines()
    of_b = [line for line in lines if line.startswith("truth,fault=affected,loop_id=B ")]
    assert [line.split()[1] for line in of_b] == [
        'cause="A:stiction",control=false,effect=1.25,present=true,severity=1,visible=true',
        "control=false,effect=1.25,present=true,severity=1,visible=true"]


def test_a_growing_severity_has_a_row_per_hundredth() -> None:
    severity = [[min(1.0, t / 5000), 0.0] for t in range(6000)]
    present = [[True, False]] * 6000
    lines = truth_lines(LineProtocol(LOOPS, truth="control_loops_truth").encode(
        block(truth_of(present, severity=severity), 6000, interval=SECOND // 1000)))
    assert len(lines) == 102


@pytest.mark.parametrize("form", ["lp", "csv", "wide"])
@pytest.mark.parametrize("size", [1, 7, 60, 149])
def test_any_cut_of_the_stream_gives_the_same_bytes(form: str, size: int) -> None:
    present = [[t % 50 < 20, False] for t in range(150)]
    severity = [[t % 50 < 20, (t % 30) / 30] for t in range(150)]
    stream = block(truth_of(present, severity=severity), 150)
    sizes = [size] * (150 // size) + ([150 % size] if 150 % size else [])
    at_once, in_parts = encoders()[form](), encoders()[form]()
    assert at_once.encode(stream) == b"".join(in_parts.encode(part) for part in cut(stream, sizes))


@pytest.mark.parametrize("form", ["lp", "csv", "wide"])
def test_a_process_that_resumed_and_wrote_nothing_passes_on_its_state(form: str) -> None:
    stream = block(truth_of([[True, False]] * 20), 20)
    first, second = cut(stream, [10, 10])
    before, between, after = (encoders()[form]() for _ in range(3))
    lines = before.encode(first)
    between.restore(before.snapshot(), LOOPS)
    after.restore(between.snapshot(), LOOPS)
    assert lines + after.encode(second) == encoders()[form]().encode(stream)


def test_a_loop_that_starts_again_has_rows_at_once_and_one_that_resumes_has_none() -> None:
    first, second = cut(block(truth_of([[True, True]] * 20), 20), [10, 10])
    before, after = encoders()["lp"](), encoders()["lp"]()
    before.encode(first)
    after.restore(before.snapshot(), ["A"])
    assert [line.split()[0] for line in truth_lines(after.encode(second))] == \
        ["control_loops_truth,fault=white-noise,loop_id=B"]


@pytest.mark.parametrize("form", ["lp", "csv"])
def test_the_samples_are_those_of_a_stream_without_the_truth(form: str) -> None:
    stream = block(truth_of([[t > 5, False] for t in range(70)]), 70)
    plain: Encoder = {"lp": LineProtocol, "csv": LongCsv}[form](LOOPS)
    samples = [line for line in encoders()[form]().encode(stream).decode().splitlines() if "_truth" not in line]
    assert [line.rstrip(",") for line in samples] == plain.encode(stream).decode().splitlines()


def test_the_truth_is_not_written_unless_it_is_configured() -> None:
    stream = block(truth_of([[True, False]]), 1)
    without_truth = replace(stream, truth=None)
    for encoder in (LineProtocol(LOOPS), LongCsv(LOOPS), WideCsv(LOOPS)):
        assert encoder.encode(stream) == encoder.encode(without_truth)
        assert b"fault" not in encoder.header()


def test_a_source_without_faults_has_no_rows_of_truth() -> None:
    for no_faults in (None, truth_of([[]], loops=(), kinds=(), control=())):
        assert truth_lines(LineProtocol(LOOPS, truth="control_loops_truth").encode(block(no_faults, 1))) == []
        rows = WideCsv(LOOPS, truth=True).encode(block(no_faults, 1)).decode().splitlines()
        assert [row.split(",")[-2:] for row in rows] == [["", "false"]] * 2


def test_the_long_form_has_the_truth_as_rows_of_its_own_measurement() -> None:
    encoder = LongCsv(LOOPS, truth="control_loops_truth")
    text = encoder.header() + encoder.encode(block(truth_of([[True, False]]), 1))
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    lines_of_a = [row for row in rows if row["_measurement"] == "control_loops_truth" and row["loop_id"] == "A"]
    assert {row["fault"] for row in lines_of_a} == {"stiction"}
    assert {row["_field"]: row["_value"] for row in lines_of_a} == {
        "control": "false", "effect": "0", "present": "true", "severity": "1", "visible": "true"}
    assert {row["fault"] for row in rows if row["_measurement"] == "control_loops"} == {""}


def test_the_wide_form_has_the_present_faults_in_a_column() -> None:
    both = truth_of([[False, False], [True, False], [True, True], [True, True]],
                    loops=("A", "A"), kinds=("stiction", "bias"), control=(False, False),
                    visible=[[False, False], [False, False], [False, True], [True, False]])
    encoder = WideCsv(LOOPS, truth=True)
    rows = list(csv.DictReader(io.StringIO((encoder.header() + encoder.encode(block(both, 4))).decode())))
    assert [(row["fault"], row["visible"]) for row in rows if row["loop_id"] == "A"] == [
        ("", "false"), ("stiction", "false"), ("stiction+bias", "true"), ("stiction+bias", "true")]
    assert {(row["fault"], row["visible"]) for row in rows if row["loop_id"] == "B"} == {("", "false")}


def test_two_faults_of_one_kind_are_one_row() -> None:
    twice = truth_of([[True, False], [False, True], [True, True], [False, False]], loops=("A", "A"),
                     kinds=("bias", "bias"), control=(False, False),
                     severity=[[0.5, 0.0], [0.0, 0.5], [0.2, 0.7], [0.0, 0.0]])
    lines = truth_lines(LineProtocol(LOOPS, truth="control_loops_truth").encode(block(twice, 4)))
    assert [line.split()[1] for line in lines] == [
        "control=false,effect=0,present=true,severity=0.5,visible=true",
        "control=false,effect=0,present=true,severity=0.7,visible=true",
        "control=false,effect=0,present=false,severity=0,visible=false"]
    rows = WideCsv(LOOPS, truth=True).encode(block(twice, 3)).decode().splitlines()[::2]
    assert [row.split(",")[-2:] for row in rows] == [["bias", "true"]] * 3


@pytest.mark.parametrize("measurement", ["#x", "a\nb", "control_loops"])
def test_a_measurement_that_the_truth_cannot_have_is_an_error(measurement: str) -> None:
    with pytest.raises(BadInput):
        LineProtocol(LOOPS, truth=measurement)


def arrivals(rows: list[tuple[int, int, int, float]], *, present: bool = True) -> Arrivals:
    """Samples of loop A, as (row, seconds of its time, quality, pv)."""
    n = len(rows)
    row, seconds, quality, pv = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.array([])] * 4
    return Arrivals(
        has_data_path_fault=np.array([True, False]), row=row.astype(np.intp), loop=np.zeros(n, np.intp),
        times=T0 + seconds.astype(np.int64) * SECOND, seq=seconds.astype(np.int64), pv=pv.astype(float),
        op=np.full(n, 1.0), sp=np.full(n, 2.0),
        mode=np.zeros(n, np.int8), valve_position=np.full(n, 5.0), true_pv=np.full(n, 5.0),
        quality=quality.astype(np.int16), present=np.full((n, 1), present), visible=np.full((n, 1), False))


def test_samples_of_a_faulty_data_path_are_written_when_they_leave() -> None:
    late = arrivals([(0, 0, 192, 10), (2, 2, 192, 12), (2, 1, 192, 11), (2, 1, 192, 11), (3, 3, 0, np.nan)])
    lines = LineProtocol(LOOPS).encode(block(None, 4, arrivals=late)).decode().splitlines()
    points = [(line.split(",")[2].split()[0], line.split()[1], (int(line.split()[2]) - T0) // SECOND) for line in lines]
    assert points == [
        ("loop_id=B", "OP=5,PV=0,SP=6", 0), ("loop_id=A", "OP=1,PV=10,SP=2", 0),
        ("loop_id=B", "OP=5,PV=1,SP=6", 1),
        ("loop_id=B", "OP=5,PV=2,SP=6", 2), ("loop_id=A", "OP=1,PV=12,SP=2", 2),
        ("loop_id=A", "OP=1,PV=11,SP=2", 1), ("loop_id=A", "OP=1,PV=11,SP=2", 1),
        ("loop_id=B", "OP=5,PV=3,SP=6", 3), ("loop_id=A", "OP=1,SP=2", 3)]


def test_a_loop_in_a_gap_has_no_samples() -> None:
    assert b"loop_id=A" not in LineProtocol(LOOPS).encode(block(None, 4, arrivals=arrivals([])))


def test_many_blocks_of_arrivals_are_cut_without_a_seam() -> None:
    rows = [(t, t, 192, 100.0 + t) for t in range(2000)]
    lines = LineProtocol(LOOPS).encode(block(None, 2000, arrivals=arrivals(rows))).decode().splitlines()
    lines_of_a = [line for line in lines if "loop_id=A" in line]
    assert [line.split()[1] for line in lines_of_a] == [f"OP=1,PV={100 + t},SP=2" for t in range(2000)]
    assert len(lines) == 4000


def test_a_late_sample_has_the_truth_of_its_own_instant() -> None:
    now = truth_of([[False]] * 3, loops=("A",), kinds=("late",), control=(False,))
    late = arrivals([(2, 0, 192, 10)])
    rows = WideCsv(LOOPS, truth=True).encode(block(now, 3, arrivals=late)).decode().splitlines()
    assert [row.split(",")[1:4] + row.split(",")[-2:] for row in rows if ",A," in row] == [
        ["A", "MAN", "10", "late", "false"]]


def test_names_with_per_cent_signs_survive() -> None:
    stream = replace(block(None, 1, arrivals=arrivals([(0, 0, 192, 10)])), loops=("%s", "B%d"))
    lines = LineProtocol(("%s", "B%d")).encode(stream).decode()
    assert "loop_id=%s " in lines
    assert "loop_id=B%d " in lines


@pytest.mark.parametrize("form", ["lp", "csv", "wide"])
def test_a_plant_with_every_fault_gives_the_same_bytes_in_any_parts(form: str) -> None:
    fields = {"PV": "pv", "OP": "op", "SP": "sp", "quality": "quality", "position": "valve_position"}
    encoders: dict[str, Any] = {"lp": lambda ids: LineProtocol(ids, fields=fields, truth="t"),
                                "csv": lambda ids: LongCsv(ids, fields=fields, truth="t"),
                                "wide": lambda ids: WideCsv(ids, fields=fields, truth=True)}
    loops = faulty_loops()
    texts = []
    for sizes in ([300], [1] * 30 + [270], [77, 77, 77, 69]):
        plant, encoder = Plant(loops, start=T0), encoders[form](tuple(loop.id for loop in loops))
        texts.append(b"".join(encoder.encode(plant.advance(size)) for size in sizes))
    assert texts[0] == texts[1] == texts[2]
    assert not re.search(rb"\b(nan|inf)", texts[0])


def faulty_loops() -> tuple[LoopSpec, ...]:
    """A loop with each kind of fault, and one with all those of the data path."""
    template = ('[[loop]]\nid = "{id}"\ntype = "pressure"\n{cascade}[[loop.fault]]\nkind = "{kind}"\nstart = 60\n'
                'duration = 120\n{more}')
    more = {"interaction": 'with = "stuck"', "late": "share = 0.5\ndelay = 5", "bias": "ramp = 30"}
    text = '[[loop]]\nid = "master"\ntype = "temperature"\n'
    text += "\n".join(template.format(id=kind, kind=kind, more=more.get(kind, ""),
                                      cascade='cascade = "master"\n' if kind == "cascade-broken" else "")
                      for kind in FAULTS)
    text += '\n[[loop]]\nid = "all"\n' + "\n".join(
        f'[[loop.fault]]\nkind = "{kind.name}"' for kind in FAULTS.values() if kind.group == "data path")
    return parse_configuration(tomli.loads(text)).loops
