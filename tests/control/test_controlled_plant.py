"""A plant is a function of configuration, seed and journal, however its samples are cut and wherever it resumes."""

from __future__ import annotations

import numpy as np
import pytest

from clpm_execd.cli.assembly import build_encoder
from clpm_execd.config.loops import parse_configuration
from clpm_execd.control.changes import apply_journal
from clpm_execd.control.controlled_plant import ControlledPlant
from clpm_execd.control.journal import JournalEntry
from clpm_execd.encoding.encoder import Encoder
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.snapshot import Snapshot

START, SAMPLES = 1_736_503_500 * SECOND, 210
LOOPS = LoopSet.of(parse_configuration({"loop": [
    {"id": "TIC100", "type": "temperature"}, {"id": "FIC101", "cascade": "TIC100"},
    {"id": "FIC102", "fault": [{"kind": "manual", "start": "20s", "duration": "30s", "repeat": "60s"}]},
]}).loops)
ENTRIES = [JournalEntry(START + at * SECOND, request) for at, request in (
    (0, {"set": {"loop": "FIC102", "sp": 60.0}}),
    (31, {"inject": {"loop": "FIC101", "kind": "stiction", "S": 6.0, "duration": "2m"}}),
    (31, {"inject": {"loop": "FIC102", "kind": "late", "share": 0.5, "delay": 7.0, "ramp": "20s"}}),
    (75, {"set": {"loop": "FIC101", "gain": 1.5, "reset": 2.0}}),
    (95, {"clear": {"loop": "FIC102", "kind": "manual"}}),
    (120, {"inject": {"loop": "FIC102", "kind": "mode-hopping", "dwell": 10.0}}),
    (121, {"set": {"loop": "FIC101", "mode": "AUT", "sp": 40.0}}),
    (200, {"clear": {"loop": "FIC102"}}),
)]


def build(interval: int, snapshot: Snapshot | None = None) -> ControlledPlant:
    next_scan = START if snapshot is None else snapshot.next_tick * SECOND
    loops, pending = apply_journal(ENTRIES, LOOPS, next_scan, 1.0)
    plant = Plant(loops, start=START if snapshot is None else snapshot.next_time, interval=interval, scan=SECOND,
                  snapshot=snapshot)
    assert snapshot is None or plant.resumed_loops == set(LOOPS.ids)
    return ControlledPlant(plant, loops, pending)


def blocks(source: ControlledPlant, samples: int, most: int) -> list[Block]:
    result = []
    while samples:
        result.append(source.advance(min(most, samples)))
        samples -= len(result[-1])
    return result


def signals(parts: list[Block]) -> list[bytes]:
    return [np.concatenate([getattr(block, name) for block in parts]).tobytes() for name in ("pv", "op", "sp", "mode")]


def encoder() -> LineProtocol:
    return LineProtocol(LOOPS.ids, truth="truth")


@pytest.mark.parametrize("interval", [SECOND, 7 * SECOND])
def test_the_samples_are_the_same_however_they_are_cut(interval: int) -> None:
    whole = blocks(build(interval), SAMPLES, SAMPLES)
    assert signals(blocks(build(interval), SAMPLES, 1)) == signals(blocks(build(interval), SAMPLES, 13)) == \
        signals(whole)
    texts = []
    for parts in (whole, blocks(build(interval), SAMPLES, 1)):
        encode = encoder().encode
        texts.append(b"".join(encode(block) for block in parts))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("stop", "interval"), [
    *((stop, SECOND) for stop in (1, 31, 32, 76, 110, 125, 205)), (4, 7 * SECOND), (12, 7 * SECOND)])
def test_a_stream_that_resumes_gives_the_lines_of_one_that_was_not_stopped(stop: int, interval: int) -> None:
    encode = encoder().encode
    expected = b"".join(encode(block) for block in blocks(build(interval), SAMPLES, 50))
    source, first = build(interval), encoder()
    before = b"".join(first.encode(block) for block in blocks(source, stop, 50))
    resumed, second = build(interval, source.snapshot()), encoder()
    second.restore(first.snapshot(), resumed.resumed_loops)
    after = b"".join(second.encode(block) for block in blocks(resumed, SAMPLES - stop, 50))
    assert before + after == expected


def test_the_ground_truth_begins_and_ends_with_the_scan_of_the_request() -> None:
    parts = blocks(build(SECOND), SAMPLES, SAMPLES)
    present = {}
    for block in parts:
        for k, loop, kind in zip(range(99), block.truth.loops if block.truth else (),
                                 block.truth.kinds if block.truth else (), strict=False):
            assert block.truth is not None
            times = block.times[block.truth.present[:, k]]
            present.setdefault((loop, kind), []).extend((times - START) // SECOND)
    assert (present["FIC101", "stiction"][0], present["FIC101", "stiction"][-1]) == (31, 150)
    assert present["FIC102", "manual"] == [*range(20, 50), *range(80, 95)]
    assert (present["FIC102", "mode-hopping"][0], present["FIC102", "mode-hopping"][-1]) == (120, 199)
    assert (present["FIC102", "late"][0], present["FIC102", "late"][-1]) == (31, 199)


def test_the_loop_sheet_follows_the_settings_and_a_resumed_stream_does_not_repeat_it() -> None:
    configuration = parse_configuration({"output": {"info": True}, "loop": [{"id": "FIC1"}, {"id": "FIC2"}]})
    entries = [JournalEntry(START + 30 * SECOND, {"set": {"loop": "FIC2", "gain": 1.5, "reset": 2.0}}),
               JournalEntry(START + 40 * SECOND, {"inject": {"loop": "FIC1", "kind": "bias"}})]

    def source(next_scan: int, snapshot: Snapshot | None = None) -> ControlledPlant:
        loops, pending = apply_journal(entries, LoopSet.of(configuration.loops), next_scan, 1.0)
        return ControlledPlant(Plant(loops, start=next_scan, snapshot=snapshot), loops, pending)

    def stream(plant: ControlledPlant, encoder: Encoder, samples: int) -> bytes:
        """The lines, each Block's before the next is simulated."""
        text = b""
        while samples:
            block = plant.advance(min(samples, 50))
            text, samples = text + encoder.encode(block), samples - len(block)
        return text

    whole = source(START)
    text = stream(whole, build_encoder("lp", whole, configuration), 60)
    sheets = [line.decode() for line in text.splitlines() if line.startswith(b"control_loops_info")]
    assert [(line.split(",")[1].split(" ")[0], int(line.split()[-1]) - START, ",gain=1.5," in line)
            for line in sheets] == [("loop_id=FIC1", 0, False), ("loop_id=FIC2", 0, False),
                                    ("loop_id=FIC1", 30 * SECOND, False), ("loop_id=FIC2", 30 * SECOND, True)]
    first = source(START)
    encoder = build_encoder("lp", first, configuration)
    before = stream(first, encoder, 45)
    resumed = source(START + 45 * SECOND, first.snapshot())
    second = build_encoder("lp", resumed, configuration)
    second.restore(encoder.snapshot(), resumed.resumed_loops)
    assert before + stream(resumed, second, 15) == text


def test_a_request_acts_at_the_first_scan_that_is_not_before_it() -> None:
    source = build(SECOND)
    for now, at in ((10 * SECOND, 10), (10 * SECOND + 1, 11), (11 * SECOND - 1, 11)):
        assert ControlledPlant(source.plant, LOOPS).read_request({"set": {"loop": "FIC102", "sp": 50.0}}, START + now
                                                                 ).at == START + at * SECOND


def test_requests_act_in_their_order_also_when_the_clock_is_set_back() -> None:
    source = ControlledPlant(build(SECOND).plant, LOOPS)
    first = source.read_request({"set": {"loop": "FIC102", "sp": 50.0}}, START + 60 * SECOND)
    source.add(first)
    assert source.read_request({"set": {"loop": "FIC102", "sp": 55.0}}, START + 20 * SECOND).at == first.at
