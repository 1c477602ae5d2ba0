"""Ground truth is read back as it was simulated, from every format; errors in a file of alarms name their line."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd import read_truth
from clpm_execd.config.loops import parse_configuration
from clpm_execd.encoding.csv import LongCsv, WideCsv
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.paths import load_zstd
from clpm_execd.plant.plant import SECOND, Plant
from clpm_execd.plant.truth.episodes import Episode, find_episodes
from clpm_execd.problems import BadInput
from clpm_execd.score import Alarm, GroundTruth, read_alarms
from clpm_execd.score.ground_truth import _MAX_LINE, HEARTBEAT

START = 1_736_503_500 * SECOND
SAMPLES = 700
LOOPS = [
    {"id": "FIC 1,=", "fault": [{"kind": "stiction", "S": 6.0, "J": 3.0, "start": "1m", "duration": "5m", "ramp": "3m"},
                                {"kind": "grade-change", "start": "7m", "duration": "2m"}]},
    {"id": "FIC2", "fault": [{"kind": "windup", "start": "2m"}, {"kind": "manual", "start": "5m", "duration": "1m",
                                                                 "repeat": "2m"}]},
    {"id": "FIC3"},
]


def plant() -> Plant:
    return Plant(parse_configuration({"loop": LOOPS}).loops, seed=1, start=START)


def simulated_episodes() -> list[Episode]:
    """The episodes of the plant, until the last sample."""
    return find_episodes([plant().advance(SAMPLES)], 0)


def encoded(form: str, samples: bool = True) -> bytes:
    source = plant()
    if form == "lp":
        text = LineProtocol(source.loops, truth="t").encode(source.advance(SAMPLES))
        return text if samples else b"".join(line + b"\n" for line in text.splitlines() if line.startswith(b"t,"))
    encoder = LongCsv(source.loops, truth="t") if form == "csv" else WideCsv(source.loops, truth=True)
    return encoder.header() + encoder.encode(source.advance(SAMPLES))


def has_simulated_episodes(truth: GroundTruth) -> bool:
    end = START + (SAMPLES - 1) * SECOND
    cut = [(e.loop, e.fault, e.start, min(e.end, end), e.control, tuple((a, min(b, end)) for a, b in e.visible))
           for e in truth.episodes]
    return cut == [(e.loop, e.fault, e.start, e.end, e.control, e.visible) for e in simulated_episodes()]


@pytest.mark.parametrize("form", ["lp", "csv"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, load_zstd().compress], ids=["plain", "gzip", "zstd"])
def test_a_stream_is_read_back(form: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "day"
    path.write_bytes(compress(encoded(form)))
    truth = read_truth(path)
    assert has_simulated_episodes(truth)
    assert truth.has_samples
    assert truth.observation == dict.fromkeys(["FIC 1,=", "FIC2", "FIC3"], ((START, START + (SAMPLES - 1) * SECOND),))


def test_wide_csv_is_read_where_one_fault_at_a_time_is_present() -> None:
    """It has neither negative controls nor severities, and one visibility for all faults of a loop."""
    source = Plant(parse_configuration({"loop": [LOOPS[0], LOOPS[2]]}).loops, seed=1, start=START)
    encoder = WideCsv(source.loops, truth=True)
    header, *rows = (encoder.header() + encoder.encode(source.advance(SAMPLES))).decode().splitlines(keepends=True)
    truth = read_truth([header, *random.Random(1).sample(rows, len(rows)), *rows[:50]])
    expected = [episode for episode in simulated_episodes() if episode.loop == LOOPS[0]["id"] and not episode.control]
    assert [replace(episode, severity=1.0) for episode in expected] == list(truth.episodes)
    assert truth.observation == dict.fromkeys(["FIC 1,=", "FIC3"], ((START, START + (SAMPLES - 1) * SECOND),))
    with pytest.raises(BadInput, match=r"line 3: does not say which of stiction\+bias is visible"):
        read_truth([header, rows[0], "2025-01-10T10:05:00Z,X,AUT,1,2,3,stiction+bias,true\n"])


def test_order_and_repetitions_do_not_matter() -> None:
    """As after `sort -u`, or where a delivery at least once writes a line again, late."""
    lines = encoded("lp").decode().splitlines(keepends=True)
    truth = read_truth(lines)
    shuffled = random.Random(1).sample(lines, len(lines))
    for other in (sorted(set(lines)), lines[::-1], shuffled, [*lines, *shuffled[:500]]):
        assert read_truth(other) == truth
    header, *rows = encoded("csv").decode().splitlines(keepends=True)
    assert read_truth([header, *random.Random(1).sample(rows, len(rows)), *rows[:50]]) == truth


def test_the_output_of_telegraf_is_read() -> None:
    """Telegraf adds tags of its own and sorts fields differently."""
    lines = []
    for line in encoded("lp").decode().splitlines():
        head, fields, time = line.replace("\\ ", "\x01").split(" ")
        lines.append(f"{head},host=h {','.join(reversed(fields.split(',')))} {time}\n".replace("\x01", "\\ "))
    assert has_simulated_episodes(read_truth(lines))


def test_the_answer_to_a_query_is_read() -> None:
    """One table per series and field, with columns of Flux, ordered by series rather than by time."""
    rows = [line.split(",") for line in encoded("csv").decode().replace('"FIC 1,="', "X").splitlines()[1:]]
    tables: dict[tuple[str, str, str], list[str]] = {}
    for time, loop, field, value, _, _, fault in rows:
        tables.setdefault((fault, field, loop), []).append(f",_result,0,{time},{value},{field},{fault},{loop}\r\n")
    header = ",result,table,_time,_value,_field,fault,loop_id\r\n"
    text = "\r\n".join(header + "".join(each) for each in tables.values())
    truth = read_truth(text.replace("X", '"FIC 1,="').splitlines(keepends=True))
    assert has_simulated_episodes(truth)


def test_without_samples_only_loops_with_a_fault_are_known(tmp_path: Path) -> None:
    (tmp_path / "t.lp").write_bytes(encoded("lp", samples=False))
    truth = read_truth(tmp_path / "t.lp")
    assert not truth.has_samples
    assert list(truth.observation) == ["FIC 1,=", "FIC2"]
    assert truth.with_healthy_loops(["FIC9"]).observation["FIC9"] == truth.observation["FIC2"]


def test_time_without_a_stream_is_not_observed() -> None:
    def row(seconds: int, present: bool) -> str:
        return f"t,fault=stuck,loop_id=A present={present},visible={present},severity=1 {START + seconds * SECOND}\n"

    truth = read_truth([row(0, True), row(60, True), row(1000, True), row(1060, False)])
    assert [(e.start - START, e.end - START) for e in truth.episodes] == \
        [(0, 60 * SECOND + HEARTBEAT), (1000 * SECOND, 1060 * SECOND)]
    assert [(a - START, b - START) for a, b in truth.observation["A"]] == \
        [(0, 60 * SECOND + HEARTBEAT), (1000 * SECOND, 1060 * SECOND)]


def test_one_row_that_was_lost_is_not_a_gap() -> None:
    rows = [f"t,fault=stuck,loop_id=A present=true,visible=true,severity=1 {START + k * HEARTBEAT}\n"
            for k in (0, 1, 3, 4)]
    episode, = read_truth(rows).episodes
    assert episode.end - episode.start == 5 * HEARTBEAT


def test_an_interval_of_minutes_is_not_a_gap() -> None:
    rows = [f"t,fault=stuck,loop_id=A present=true,visible=true,severity=1 {START + k * 600 * SECOND}\n"
            for k in range(6)]
    episode, = read_truth(rows).episodes
    assert episode.end - episode.start == 3600 * SECOND


@pytest.mark.parametrize(("text", "message"), [
    ("", "holds no ground truth"),
    ("a,loop_id=A PV=1 1736503500000000000\n", "holds samples without ground truth"),
    ("time,loop_id,Mode,PV\n", "wide CSV does not say which fault is visible"),
    ("hello\n", "holds no ground truth"),
    ("t,fault=stuck,loop_id=A present=true\n", "line 1: invalid line 't,fault=stuck,loop_id=A present=true'"),
    ("t,fault=stuckk,loop_id=A present=true 1\n", "unknown fault 'stuckk'"),
    ("t,fault=stuck,loop_id=A severity=x 1\n", "line 1: invalid line 't,fault=stuck,loop_id=A severity=x 1'"),
    ("_time,_field,_value\n", "has no column loop_id"),
    ("_time,loop_id,_field,_value,fault\nx,A,present,true,stuck\n", "line 2: invalid row 'x,A,present,true,stuck'"),
])
def test_an_invalid_ground_truth_is_one_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_truth(tmp_path / "t")
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "t.gz").write_bytes(gzip.compress(encoded("lp"))[:-20])
    for name, message in (("t.gz", "the compressed file is damaged"), ("none", "cannot be read: No such file"),
                          (".", "cannot be read: Is a directory"), ("/dev/zero", "is a device")):
        with pytest.raises(BadInput, match=message):
            read_truth(tmp_path / name)


def test_a_line_that_does_not_end_is_not_read_into_memory(tmp_path: Path) -> None:
    endless = "x" * _MAX_LINE
    for text, line in ((endless, 1), (f"loop_id=A PV=1 1\n{endless}\n", 2)):
        (tmp_path / "t").write_text(text)
        with pytest.raises(BadInput, match=f"line {line}: has 1,000,000 characters or more"):
            read_truth(tmp_path / "t")
    (tmp_path / "t").write_text(f'time,loop_id,fault,visible\n2025-01-10T00:00:00Z,"{endless[:200_000]}",,\n')
    with pytest.raises(BadInput, match="is not CSV"):
        read_truth(tmp_path / "t")


def test_a_pipe_is_read_from_its_first_byte_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as writer:
        writer.submit((tmp_path / "pipe").write_bytes, encoded("csv"))
        assert has_simulated_episodes(read_truth(tmp_path / "pipe"))


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_bad_input(text: str) -> None:
    for begin in ("", "_time,loop_id,_field,_value,fault\n", "t,fault=stuck,loop_id=A "):
        with suppress(BadInput):
            read_truth((begin + text).splitlines(keepends=True))


TRUTH = GroundTruth((), {"FIC101": ((0, 10**18),), "FIC102": ((0, 10**18),)})


def read_text(tmp_path: Path, text: str, by: str = "kind", truth: GroundTruth = TRUTH) -> list[Alarm]:
    (tmp_path / "v.csv").write_text(text)
    return read_alarms(tmp_path / "v.csv", truth, by)


def errors_of(tmp_path: Path, text: str, by: str = "kind") -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_text(tmp_path, text, by)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_an_alarm_is_read_with_its_time_zone_and_other_columns_are_ignored(tmp_path: Path) -> None:
    alarms = read_text(tmp_path, "note,Fault,loop_id,start,end,detected\n"
                       '"a, b",stiction,FIC101,2025-01-10T12:00:00+02:00,2025-01-10T10:30:00.5Z,\n\n'
                       "x,bias,FIC102,2025-01-10T10:00:00Z,,2025-01-10T10:00:05Z\n")
    start = 1_736_503_200 * SECOND
    assert alarms == [Alarm("FIC101", start, start + 1_800_500_000_000, "stiction"),
                      Alarm("FIC102", start, 2**63 - 1, "bias", start + 5 * SECOND)]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_alarms_with_another_delimiter_are_one_error_that_names_it(tmp_path: Path, delimiter: str) -> None:
    text = "loop,start,end,fault\nFIC101,2025-01-10T10:00:00Z,,stiction\n".replace(",", delimiter)
    assert errors_of(tmp_path, text) == [
        f"v.csv: line 1: the columns are separated by {delimiter!r}; separate them by commas"]


def test_every_error_of_a_file_of_alarms_names_its_line(tmp_path: Path) -> None:
    assert errors_of(tmp_path, "loop,start,end,fault\n"
                     "FIC11,2025-01-10T10:00:00Z,2025-01-10T11:00:00Z,stikcion\n"
                     "FIC101,10:00,2025-01-10T11:00:00Z,valve\n"
                     "FIC101,2025-01-10T10:00:00Z,2025-01-10T10:00:00Z,Stiction\n"
                     ",now,2025-01-10T11:00:00Z,\n") == [
        "v.csv: line 2: unknown loop 'FIC11'; did you mean 'FIC101'?",
        "v.csv: line 2: unknown fault 'stikcion'; did you mean 'stiction'?",
        "v.csv: line 3: unknown fault 'valve'; score with --by group",
        "v.csv: line 3: start: invalid time '10:00'; write it as 2025-01-10T09:11:40Z or "
        "2025-01-10T10:11:40+01:00, with at most nine decimals",
        "v.csv: line 4: unknown fault 'Stiction'; did you mean 'stiction'?",
        "v.csv: line 4: ends at 2025-01-10T10:00:00Z, which is not after its start; give a later end",
        "v.csv: line 5: has no loop; give its id",
        "v.csv: line 5: has no fault; give a kind, see clpm-execd faults",
        "v.csv: line 5: start: an alarm has no time 'now'; write it as 2025-01-10T09:11:40Z or "
        "2025-01-10T10:11:40+01:00, with at most nine decimals"]


def test_a_score_is_a_number_from_0_to_1_or_empty(tmp_path: Path) -> None:
    row = "loop,start,end,fault,score\nFIC101,2025-01-10T10:00:00Z,,bias,{}\n"
    assert [read_text(tmp_path, row.format(text))[0].score for text in ("0.25", "")] == [0.25, None]
    for text in ("1.5", "nan", "high"):
        assert errors_of(tmp_path, row.format(text)) == \
            [f"v.csv: line 2: invalid score {text!r}; give 0 to 1, or leave it empty"]


def test_a_header_is_needed(tmp_path: Path) -> None:
    assert errors_of(tmp_path, "") == ["v.csv: is empty; begin with the line loop,start,end,fault"]
    assert errors_of(tmp_path, "FIC101,2025-01-10T10:00:00Z,,stiction\n") == \
        ["v.csv: line 1: no column 'loop', 'start', 'end' and 'fault'; begin with the line loop,start,end,fault"]
    assert errors_of(tmp_path, "loop,begin,end,fault\n") == \
        ["v.csv: line 1: no column 'start'; the columns are loop, begin, end, fault; rename one of them start"]


def test_cells_that_belong_to_no_column_or_to_two_are_errors(tmp_path: Path) -> None:
    row = "FIC101,2025-01-10T10:00:00Z,,bias"
    assert errors_of(tmp_path, f"loop,start,end,fault\n{row},sure, very\n{row},,\n") == \
        ["v.csv: line 2: has 6 cells, the header 4; quote a cell that has a comma"]
    assert errors_of(tmp_path, f"loop_id,start,end,fault,loop\n{row},FIC102\n") == \
        ["v.csv: line 1: two columns are called 'loop'; rename one of them"]


def test_an_alarm_is_not_detected_before_its_start(tmp_path: Path) -> None:
    row = "loop,start,end,fault,detected\nFIC101,2025-01-10T10:00:00Z,,bias,{}\n"
    assert errors_of(tmp_path, row.format("2025-01-10T09:59:59Z")) == \
        ["v.csv: line 2: is detected at 2025-01-10T09:59:59Z, before its start; give a later time"]
    assert read_text(tmp_path, row.format("2025-01-10T10:00:00Z"))[0].raised_at == 1_736_503_200 * SECOND


@pytest.mark.parametrize("field", ["present=maybe", "visible=2", "control=", "severity=1.5", "severity=nan"])
def test_ground_truth_that_is_neither_true_nor_false_is_an_error(field: str) -> None:
    with pytest.raises(BadInput, match="line 1: invalid line 't,fault=stiction,loop_id=FIC101 "):
        read_truth([f"t,fault=stiction,loop_id=FIC101 {field} 1736503500000000000\n"])


def test_the_errors_of_a_file_that_is_wrong_throughout_are_cut_short(tmp_path: Path) -> None:
    message = errors_of(tmp_path, "loop,start,end,fault\n" + "X,,,\n" * 1000)
    assert len(message) == 51
    assert message[-1] == "v.csv: 2950 more errors; correct these first"
    assert not any("more error" in line for line in errors_of(tmp_path, "loop,start,end,fault\n" + "X,,,\n" * 17))


def test_an_alarm_may_name_a_group_only_in_a_score_by_groups(tmp_path: Path) -> None:
    row = "loop,start,end,fault\nFIC101,2025-01-10T10:00:00Z,,{}\n"
    assert read_text(tmp_path, row.format("valve"), "group")[0].fault == "valve"
    assert read_text(tmp_path, row.format("any"), "any")[0].fault == "any"
    assert errors_of(tmp_path, row.format("any"), "group") == \
        ["v.csv: line 2: unknown fault 'any'; score with --by any"]


def test_without_samples_an_alarm_may_name_any_loop(tmp_path: Path) -> None:
    truth = GroundTruth((), TRUTH.observation, has_samples=False)
    assert read_text(tmp_path, "loop,start,end,fault\nX,2025-01-10T10:00:00Z,,bias\n", truth=truth)[0].loop == "X"
