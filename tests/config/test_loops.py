"""loops.toml is a Configuration the plant can run, or one BadInput that says all that is wrong with it."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.config.loops import (
    Configuration,
    parse_configuration,
    parse_loop,
    read_configuration,
)
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.loop_types import template
from clpm_execd.plant.specs import Move
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import SECOND

EXAMPLE = """
seed = 7
interval = "1s"            # between samples
scan = "500ms"
start = "now"

[output]
measurement = "loops"
fields = { PV = "pv", OP = "op", SP = "sp", POS = "valve_position" }
mode_tag = "Mode"
tags = { site = "unit-208" }
truth = false

[[loop]]
id = "TIC100"
type = "temperature"
op = 62.5

[[loop]]
id = "FIC101"
type = "flow"
range = [0.0, 120.0]
sp = 75.0
op = 55.0
mode = "AUT"
cascade = "TIC100"

[loop.process]
model = "fopdt"
gain = 1.1
tau = 3.0
dead_time = 1.0

[loop.controller]
form = "ideal"
action = "reverse"
gain = 0.5
reset = 8.0
derivative = 0.0
setpoint_weight = 1.0
derivative_filter = 10.0
setpoint_tracking = false

[loop.valve]
characteristic = "linear"
rangeability = 50.0
lag = 0.0

[loop.sensor]
noise = 0.05

[loop.disturbance]
sigma = 0.5
correlation = 20.0

[loop.recording]
resolution = { pv = 0.01, op = 0.1 }
exception = 0.0

[[loop.move]]
at = "10m"
sp = 80.0
ramp = "5m"

[[loop.move]]
at = 2025-01-10T09:11:40Z
mode = "MAN"
"""


def parse(text: str) -> Configuration:
    return parse_configuration(tomli.loads(text))


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def loop_problem(keys: str) -> str:
    """The one problem of a file with one loop that has these keys."""
    [problem] = problems(f'[[loop]]\nid = "F1"\n{keys}')
    return problem


def test_every_key_of_the_example_is_read() -> None:
    configuration = parse(EXAMPLE)
    assert (configuration.seed, configuration.start) == (7, None)
    assert (configuration.interval, configuration.scan) == (SECOND, SECOND // 2)
    assert configuration.output.measurement == "loops"
    assert dict(configuration.output.fields) == {"PV": "pv", "OP": "op", "SP": "sp", "POS": "valve_position"}
    assert (configuration.output.mode_tag, dict(configuration.output.tags)) == ("Mode", {"site": "unit-208"})
    master, slave = configuration.loops
    assert (master.id, master.type, master.op, master.mode) == ("TIC100", "temperature", 62.5, "AUT")
    assert (slave.range, slave.sp, slave.op, slave.pv, slave.mode) == ((0, 120), 75, 55, None, "AUT")
    assert slave.cascade == "TIC100"
    assert (slave.process.gain, slave.process.tau) == (1.1, (3.0,))
    assert (slave.controller.action, slave.controller.gain) == ("reverse", 0.5)
    assert slave.recording.resolution.op == 0.1
    assert slave.moves == (Move(at=600 * SECOND, sp=80.0, ramp=300 * SECOND),
                           Move(at=1_736_500_300 * SECOND, from_start=False, mode="MAN"))


def test_a_file_without_loops_has_the_default_loops(tmp_path: Path) -> None:
    (tmp_path / "loops.toml").write_text("\ufeffseed = 3\r\n", encoding="utf-8")
    configuration = read_configuration(tmp_path / "loops.toml")
    assert configuration == Configuration(default_loops(), seed=3)
    assert read_configuration(None) == parse("") == Configuration(default_loops())


def test_a_loop_needs_only_an_id() -> None:
    [loop] = parse('[[loop]]\nid = "F1"').loops
    assert loop == template("flow", "F1", (0.0, 100.0))


def test_a_table_changes_only_the_values_that_it_gives() -> None:
    [loop] = parse('[[loop]]\nid = "T1"\ntype = "temperature"\nrange = [-50, 150]\nprocess.dead_time = 2').loops
    typical = template("temperature", "T1", (-50.0, 150.0))
    assert loop.process.dead_time == 2
    assert loop.process.gain == typical.process.gain
    assert loop.controller == typical.controller
    assert loop.sp == 50
    assert loop.recording == typical.recording


def test_every_loop_type_with_every_process_model_is_complete() -> None:
    for kind in ("flow", "pressure", "level", "temperature", "composition"):
        for model, count in (("fopdt", 1), ("sopdt", 2), ("integrator", 0)):
            [loop] = parse(f'[[loop]]\nid = "X"\ntype = "{kind}"\nprocess.model = "{model}"').loops
            assert len(loop.process.tau) == count
            assert loop.process.gain


@pytest.mark.parametrize(("pattern", "second"), [
    ("FIC{}", "FIC2"), ("FIC{:04d}", "FIC0002"), ("FIC{0:3}", "FIC  2"), ("{:02d}FIC{}", "02FIC2"), ("5%d{:}", "5%d2"),
])
def test_a_count_numbers_ids_by_any_pattern(pattern: str, second: str) -> None:
    assert parse(f'[[loop]]\nid = "{pattern}"\ncount = 2\n').loops[1].id == second


def test_a_count_of_one_needs_no_pattern() -> None:
    assert parse('[[loop]]\nid = "FIC101"\ncount = 1\n').loops.ids == ("FIC101",)


def test_a_count_numbers_ids_and_masters_together() -> None:
    loops = parse('[[loop]]\nid = "TIC{}"\ncount = 3\n'
                  '[[loop]]\nid = "FIC{:04d}"\ncount = 3\ncascade = "TIC{}"').loops
    assert [loop.id for loop in loops] == ["TIC1", "TIC2", "TIC3", "FIC0001", "FIC0002", "FIC0003"]
    assert [loop.cascade for loop in loops[3:]] == ["TIC1", "TIC2", "TIC3"]
    assert {loop.mode for loop in loops[3:]} == {"CAS"}


def test_arguments_of_the_reader_override_the_file(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text('seed = 1\ninterval = "3s"\nscan = "1s"\n[output]\nmeasurement = "a"\n')
    configuration = read_configuration(tmp_path / "l.toml", seed=2, interval=5 * SECOND, start=9, measurement="b")
    assert (configuration.seed, configuration.interval, configuration.start) == (2, 5 * SECOND, 9)
    assert configuration.output.measurement == "b"
    with pytest.raises(BadInput, match="scan: 1s does not divide the interval 500ms"):
        read_configuration(tmp_path / "l.toml", interval=SECOND // 2)
    with pytest.raises(BadInput, match=r"^INFLUXDB_MEASUREMENT: '_x' begins with '_'.*$"):
        read_configuration(None, measurement="_x")
    with pytest.raises(BadInput, match="--seed: invalid integer -1"):
        read_configuration(tmp_path / "l.toml", seed=-1)


@pytest.mark.parametrize(("text", "start"), [
    ('"now"', None), ('"2025-01-10T09:11:40.000000001Z"', 1_736_500_300 * SECOND + 1),
    ("2025-01-10T10:11:40+01:00", 1_736_500_300 * SECOND), ("2025-01-10T09:11:40", 1_736_500_300 * SECOND),
    ("2025-01-10", 1_736_467_200 * SECOND), ('"2025-01-10"', 1_736_467_200 * SECOND),
])
def test_a_start_is_now_or_a_time(text: str, start: int | None) -> None:
    assert parse(f"start = {text}").start == start


def test_all_mistakes_in_a_file_are_reported_together() -> None:
    messages = problems("""
        sede = 1
        interval = "10 parsec"
        start = 09:11:40
        [output]
        fields = { PV = "pw", time = "pv" }
        tags = { host = "a", b = "" }
        [[loop]]
        id = "FIC100"
        range = [10, 20]
        sp = 30
        [[loop]]
        id = "FIC101"
        typ = "flow"
        mode = "AUTO"
        [loop.process]
        gain = 2000
        tau = [1, "x"]
        [loop.controller]
        setpoint_tracking = 1
        gain = 0
        [[loop.move]]
        sp = 150
        [[loop.fault]]
        kind = "stition"
    """)
    assert [problem.split("; ")[0] for problem in messages] == [
        "loops.toml: sede: unknown key",
        "loops.toml: start: invalid time 09:11:40",
        "loops.toml: interval: invalid duration '10 parsec'",
        "loops.toml: output.tags.host: 'host' cannot be the name of a tag",
        "loops.toml: output.tags.b: '' cannot be the value of a tag: it is empty",
        "loops.toml: output.fields.PV: unknown signal 'pw'",
        "loops.toml: output.fields.time: 'time' cannot be the name of a field",
        "loops.toml: loop[1] FIC100.sp: 30 is outside the range",
        "loops.toml: loop[2] FIC101.typ: unknown key",
        "loops.toml: loop[2] FIC101.mode: unknown mode 'AUTO'",
        "loops.toml: loop[2] FIC101.process.gain: 2000 is outside the limits",
        "loops.toml: loop[2] FIC101.process.tau: 'x' is not a number",
        "loops.toml: loop[2] FIC101.controller.setpoint_tracking: 1 is not a boolean",
        "loops.toml: loop[2] FIC101.controller.gain: 0 is outside the limits",
        "loops.toml: loop[2] FIC101.move[1].at: is missing",
        "loops.toml: loop[2] FIC101.fault[1].kind: unknown fault kind 'stition'",
        "loops.toml: loop[2] FIC101.move[1].sp: 150 is outside the range",
    ]
    assert "did you mean 'seed'?" in messages[0]
    assert "give -1000 to 1000 (%PV/%OP)" in messages[10]


@pytest.mark.parametrize(("keys", "message"), [
    ("sp = true", "F1.sp: true is not a number; give a finite number (engineering units)"),
    ("sp = nan", "F1.sp: nan is not a finite number"),
    ("op = inf", "F1.op: inf is not a finite number; give 0 to 100 (%)"),
    (f"op = {10 ** 400}", "F1.op: 1000"),
    ('sp = "50"', "F1.sp: '50' is not a number"),
    ("pv = -1", "F1.pv: -1 is outside the range; give 0 to 100, or another range"),
    ("range = [5, 5]", "F1.range: invalid range [5, 5]; low must be less than high"),
    ("range = [100, 0]", "F1.range: invalid range [100, 0]; low must be less than high"),
    ("range = [-1e308, 1e308]", "F1.range: the range [-1e+308, 1e+308] is too wide or too narrow"),
    ("range = [0, 1e-11]", "F1.range: the range [0, 1e-11] is too wide or too narrow"),
    ("range = 5", "F1.range: 5 is not a range"),
    ('type = "flwo"', "F1.type: unknown type 'flwo'; did you mean 'flow'?"),
    ("type = 1", "F1.type: unknown type 1; give one of"),
    ("process = 1", "F1.process: 1 is not a table"),
    ("process.tau = [1, 2]", "F1.process.tau: fopdt has 1 time constant, not 2; give one number (s)"),
    ('process.model = "sopdt"\nprocess.tau = 3', "F1.process.tau: sopdt has 2 time constants, not 1"),
    ('process.model = "integrator"\nprocess.tau = 3',
     "F1.process.tau: integrator has no time constant, not 1; remove tau"),
    ("process.tau = -1", "F1.process.tau: -1 is outside the limits; give 0 to 1e+06 (s)"),
    ("process.gain = 0", "F1.process.gain: with a gain of 0"),
    ("controller.reset = 5e-324",
     "F1.controller.reset: 5e-324 is too close to 0; give 0 to 1e+07 (s), of at least 1e-12 in size unless it is 0"),
    ("disturbance.correlation = 0",
     "F1.disturbance.correlation: 0 is outside the limits; give a number greater than 0 and at most 1e+06"),
    ("recording.resolution.pv = 200", "F1.recording.resolution.pv: 200 is wider than the range"),
    ("recording.resolution = 0.1", "F1.recording.resolution: 0.1 is not a table"),
    ('cascade = "F2"', "F1.cascade: unknown loop 'F2'; give another loop of this file as the master"),
    ('cascade = "F1"', "F1.cascade: a loop cannot be its own master"),
    ('mode = "CAS"', "F1.mode: 'CAS' needs a master"),
    ("count = 0", "F1.count: invalid integer 0; give an integer from 1"),
    ("count = 2", "F1.id: 2 loops would have the same id"),
    ("moves = 1", "F1.moves: unknown key; did you mean 'move'?"),
    ("[loop.move]\nat = 1\nsp = 1", "F1.move: is not an array of tables; begin each entry with [[loop.move]]"),
    ("[[loop.move]]\nat = 1", "F1.move[1]: a move changes exactly one value, not none"),
    ("[[loop.move]]\nat = 1\nsp = 1\nop = 1", "F1.move[1]: a move changes exactly one value, not sp and op"),
    ('[[loop.move]]\nat = 1\nmode = "MAN"\nramp = 1', "F1.move[1].ramp: a mode cannot be ramped"),
    ('[[loop.move]]\nat = 1\nmode = "CAS"', "F1.move[1].mode: 'CAS' needs a master"),
    ('[[loop.move]]\nat = "-5m"\nsp = 1', "F1.move[1].at: invalid time '-5m'"),
    ('[[loop.move]]\nat = "soon"\nsp = 1', "F1.move[1].at: invalid duration 'soon'"),
    ("[[loop.move]]\nat = 1\nop = 101", "F1.move[1].op: 101 is outside the limits; give 0 to 100 (%)"),
])
def test_a_mistake_in_a_loop_is_reported_with_a_remedy(keys: str, message: str) -> None:
    assert message in loop_problem(keys)


def test_a_loop_has_labels_that_all_loops_of_a_count_share() -> None:
    [alone, *alike] = parse("""
        [[loop]]
        id = "TIC100"
        [[loop]]
        id = "FIC{:03d}"
        count = 3
        description = "Feed to the column"
        area = "Unit 2"
        unit = "m3/h"
        tags = { zone = "north" }
    """).loops
    assert (alone.description, alone.area, alone.unit, alone.tags) == ("", "", "", {})
    assert {(loop.description, loop.area, loop.unit) for loop in alike} == {("Feed to the column", "Unit 2", "m3/h")}
    assert [loop.tags for loop in alike] == [{"zone": "north"}] * 3
    assert alike[0].tags is alike[2].tags


def test_a_description_is_numbered_as_the_ids_are() -> None:
    loops = parse("""
        [[loop]]
        id = "TIC1"
        description = "100 {}%"
        [[loop]]
        id = "FIC{:03d}"
        count = 3
        description = "Feed {:02d} of 3, 50 %"
        [[loop]]
        id = "PIC{}"
        count = 2
        description = "Header"
    """).loops
    expected = ["100 {}%", "Feed 01 of 3, 50 %", "Feed 02 of 3, 50 %", "Feed 03 of 3, 50 %", "Header", "Header"]
    assert [loop.description for loop in loops] == expected
    assert [loops[i].description for i in range(6)] == expected
    assert [loop.description for loop in loops[2:5]] == expected[2:5]
    assert isinstance(loops, LoopSet)
    assert len(loops.distinct) == 3
    assert [loop.description for loop in loops.with_nominal_op(np.arange(6.0))] == expected


@pytest.mark.parametrize(("keys", "message"), [
    ("unit = 1", "F1.unit: 1 cannot be the engineering unit of range, sp and pv: it is not a string"),
    ("description = 5", "F1.description: 5 cannot be the description of what the loop controls: it is not a string"),
    ('area = ""', "F1.area: '' cannot be the area of the plant that the loop belongs to: it is empty"),
    ("tags = 1", "F1.tags: 1 is not a table"),
    ('tags.loop_id = "x"', "F1.tags.loop_id: there is already a tag 'loop_id'; use another name"),
    ('tags.Mode = "x"', "F1.tags.Mode: there is already a tag 'Mode'"),
    ('tags.host = "x"', "F1.tags.host: 'host' cannot be the name of a tag"),
    ('tags.time = "x"', "F1.tags.time: 'time' cannot be the name of a tag"),
    ('tags.PV = "x"', "F1.tags.PV: there is already a field 'PV'; use another name"),
    ("tags.zone = 1", "F1.tags.zone: 1 cannot be the value of a tag: it is not a string"),
])
def test_a_mistake_in_the_labels_of_a_loop_is_reported(keys: str, message: str) -> None:
    assert message in loop_problem(keys)


@pytest.mark.parametrize(("profile", "names", "modes"), [
    ("experion", ["MODE", "OP", "PV", "SP"], ("MAN", "AUTO", "CAS")),
    ("deltav", ["MODE", "OUT", "PV", "SP"], ("Man", "Auto", "Cas")),
    ("centum", ["MODE", "MV", "PV", "SV"], ("MAN", "AUT", "CAS")),
    ("pcs7", ["MV", "Mode", "PV", "SP"], ("Manual", "Automatic", "Automatic"))])
def test_a_profile_gives_fields_and_modes_the_names_of_a_control_system(
        profile: str, names: list[str], modes: tuple[str, ...]) -> None:
    output = parse(f'[output]\nprofile = "{profile}"').output
    assert sorted([*output.fields, output.mode_tag]) == names
    assert output.modes == modes
    own = parse(f'[output]\nprofile = "{profile}"\nfields = {{ X = "pv" }}\nmode_tag = "M"').output
    assert (dict(own.fields), own.mode_tag, own.modes) == ({"X": "pv"}, "M", modes)


def test_a_tag_of_a_loop_has_none_of_the_names_that_the_output_gives() -> None:
    loop = '[[loop]]\nid = "F1"\ntags = { state = "x", fault = "x", X = "x", Mode = "x" }\n'
    assert [message.split("; ")[0] for message in problems(
        f'[output]\nmode_tag = "state"\ntruth = true\nfields = {{ X = "pv" }}\n{loop}')] == [
        "loops.toml: loop[1] F1.tags.state: there is already a tag 'state'",
        "loops.toml: loop[1] F1.tags.fault: the ground truth already has a tag 'fault'",
        "loops.toml: loop[1] F1.tags.X: there is already a field 'X'",
    ]


@pytest.mark.parametrize(("text", "message"), [
    ("seed = 1.5", "seed: invalid integer 1.5"),
    ("seed = -1", "seed: invalid integer -1"),
    ("seed = true", "seed: invalid integer true"),
    ('interval = "0.5ms"', "interval: '0.5ms' is too short; give at least 1ms"),
    ('scan = "300ms"',
     "scan: 300ms does not divide the interval 1s; give a divisor of the interval, or remove scan"),
    ('interval = "1s"\nscan = "2s"', "scan: 2s does not divide the interval 1s"),
    ("start = 5", "start: invalid time 5"),
    ("start = 1900-01-01T00:00:00Z", "give a time between 1970 and 2262"),
    ("output = 1", "output: 1 is not a table"),
    ('output.profile = "delta"', "output.profile: unknown profile 'delta'; did you mean 'deltav'?"),
    ('output.truth = true\noutput.info = "control_loops_truth"', "is already the measurement of the ground truth"),
    ("output.truth = 1", "output.truth: 1 cannot be used; give true, false or the name of a measurement"),
    ('output.truth = ""', "output.truth: '' cannot be a measurement: it is empty"),
    ('output.truth = "control_loops"', "'control_loops' is already the measurement of the samples"),
    ('output.truth = true\noutput.measurement = "control_loops_truth"', "is already the measurement of the samples"),
    ('output.truth = true\noutput.tags.fault = "x"', "output.tags.fault: the ground truth already has a tag 'fault'"),
    ("output.metrics = 1", "output.metrics: 1 cannot be used; give true, false or the name of a measurement"),
    ('output.metrics = "control_loops"', "output.metrics: 'control_loops' is already the measurement of the samples"),
    ('output.truth = "x"\noutput.metrics = "x"', "'x' is already the measurement of the ground truth; give"),
    ('output.measurement = "#a"', "output.measurement: '#a' begins with '#'"),
    ('output.measurement = "a\\nb"', "has control characters"),
    ('output.mode_tag = ""', "output.mode_tag: '' cannot be the name of a tag: it is empty"),
    ('output.mode_tag = "loop_id"', "there is already a tag 'loop_id'"),
    ('output.mode_tag = "PV"', "output: 'PV' is the name of both a tag and a field"),
    ('output.tags.a = "b\\\\"', "it ends in a backslash"),
    ("output.tags.a = 1", "it is not a string"),
    ('output.tags.Mode = "x"', "there is already a tag 'Mode'"),
    ('output.tags._x = "x"', "'_x' cannot be the name of a tag"),
    ("output.fields = {}", "output.fields: the table is empty"),
    ('output.fields.Mode = "pv"', "there is already a tag 'Mode'"),
    ("[loop]\nid = 'a'", "loop: is not an array of tables; begin each entry with [[loop]]"),
    ("loop = [1]", "loop[1]: 1 is not a table"),
    ("[[loop]]", "loop[1].id: is missing"),
    ("[[loop]]\nid = 'a\\'", "it ends in a backslash"),
    ("[[loop]]\nid = 'A{:03d}'", "'A{:03d}' is a pattern without a count"),
    ("[[loop]]\nid = 'A'\n[[loop]]\nid = 'A'", "loop[2] A.id: 'A' is already the id of loop[1] A"),
    ("[[loop]]\nid = 'A2'\n[[loop]]\nid = 'A{}'\ncount = 3", "loop[2] A{}.id: 'A2' is already the id of loop[1] A2"),
    ("[[loop]]\nid = 'A{}'\ncount = 9\ncascade = 'B{}'", "unknown loop 'B1' (and 8 more)"),
    ("[[loop]]\nid = 'M'\n[[loop]]\nid = 'A'\ncascade = 'M'\n[[loop]]\nid = 'B'\ncascade = 'M'",
     "loop[3] B.cascade: 'M' is already the master of 'A'"),
    ("[[loop]]\nid = 'A{}'\ncount = 100000\n[[loop]]\nid = 'B'", "100001 loops are too many"),
    ("unit.sigma = -1", "unit.sigma: -1 is outside the limits"),
    ("unit.sgma = 1\n[[loop]]\nid = 'A'", "unit.sgma: unknown key; did you mean 'sigma'?"),
])
def test_a_mistake_in_a_file_is_reported_with_a_remedy(text: str, message: str) -> None:
    [problem] = problems(text)
    assert message in problem
    assert problem.startswith("loops.toml: ")


def test_each_id_that_cannot_be_used_is_reported_once_and_all_at_once() -> None:
    ids = ["", "a\tb", "end\\", "before\\,comma", "A{}", 5]
    tables = [{"id": loop} for loop in ids] + [{"id": "a\\{:3d}", "count": 2}, {"id": "\t{}", "count": 2}, {}]
    with pytest.raises(BadInput) as caught:
        parse_configuration({"loop": tables})
    places = [problem.where for problem in caught.value.problems]
    assert [place.partition("[")[2].partition("]")[0] for place in places] == [str(n) for n in range(1, 10)]
    parse_configuration({"loop": [{"id": "?"}, {"id": "a\\b"}]})


def test_a_circular_cascade_is_refused() -> None:
    messages = problems("[[loop]]\nid = 'A'\ncascade = 'B'\n[[loop]]\nid = 'B'\ncascade = 'A'")
    assert ["its own master" in problem for problem in messages] == [True, True]


@pytest.mark.parametrize(("content", "message"), [
    (b"a = \n", "Invalid value (at line 1, column 5)"),
    (b"seed = 1\nseed = 2\n", "line 2"),
    (b"[output]\nmeasurement\n", "is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 12)"),
    (b"a = \xff", "is not UTF-8 (line 1, byte 4)"),
    (b"a = " + b"[" * 5000, "is nested too deeply"),
    (b"seed = " + b"9" * 5000, ": "),
    (b"\0", "is not TOML"),
])
def test_a_file_that_is_not_toml_is_one_problem(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_configuration(tmp_path / "x.toml")
    [problem] = caught.value.problems
    assert problem.where.startswith(str(tmp_path / "x.toml"))
    assert message in str(problem)


def test_a_path_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none.toml", "No such file")):
        with pytest.raises(BadInput, match=reason):
            read_configuration(path)
    with pytest.raises(BadInput, match="cannot be read"):
        read_configuration(Path("a\0b"))


def test_a_single_loop_takes_any_key_of_a_table() -> None:
    loop = parse_loop({"id": "X", "type": "level", "sp": 40, "cascade": "Y", "process": {"gain": 0.01}}, "X")
    assert (loop.sp, loop.cascade, loop.mode, loop.process.gain) == (40.0, "Y", "CAS", 0.01)
    with pytest.raises(BadInput, match=r"^X.process.gian: unknown key; did you mean 'gain'\?$"):
        parse_loop({"id": "X", "process": {"gian": 1}}, "X")
    with pytest.raises(BadInput, match=r"^loop a\?b\.id: .* cannot be a loop id: it has control characters; "):
        parse_loop({"id": "a\nb"}, "loop a\nb")
    with pytest.raises(BadInput, match="one loop cannot have a count"):
        parse_loop({"id": "X", "count": 2}, "X")


SCALARS = (st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
           | st.sampled_from(["F1", "T1", "CAS", "sopdt", "1h", "{}", "\ud800"])
           | st.datetimes() | st.datetimes(timezones=st.just(timezone.utc)) | st.just(datetime.min)
           | st.builds(lambda: 10 ** 5000))
VALUES = st.recursive(SCALARS, lambda inner: (st.lists(inner, max_size=3)
                                              | st.dictionaries(st.text(max_size=4), inner, max_size=3)))
KEYS = st.text(max_size=6) | st.sampled_from(["count", "fault", "pv", "move"])


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container of a mapping with every key or index of it."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


@pytest.mark.slow
@given(st.data())
def test_any_change_to_a_valid_file_gives_a_configuration_or_bad_input(data: st.DataObject) -> None:
    mapping = copy.deepcopy(tomli.loads(EXAMPLE))
    for _ in range(data.draw(st.integers(1, 3))):
        node, key = data.draw(st.sampled_from(places(mapping)))
        act = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if act == "replace":
            node[key] = data.draw(VALUES)
        elif act == "remove":
            del node[key]
        elif isinstance(node, dict):
            node[data.draw(KEYS)] = data.draw(VALUES)
        if not mapping:
            break
    problems_of_change: tuple[Problem, ...] = ()
    try:
        assert parse_configuration(mapping).loops
    except BadInput as bad:
        problems_of_change = bad.problems or (Problem("", "", ""),)
    assert all(problem.what and problem.remedy and "\n" not in str(problem) for problem in problems_of_change)


@pytest.mark.parametrize(("day", "message"), [
    ("[]", "a day of 0 parts; give 1 to 96 numbers"),
    ("[0, 0.0]", "every part of the day is 0; give a number above 0, or interval = 0 for no moves"),
    ("[1, -1]", "-1 is outside the limits; give 0 to 100"),
])
def test_a_day_profile_without_moves_is_refused(day: str, message: str) -> None:
    assert loop_problem(f"operator.day = {day}") == f"loops.toml: loop[1] F1.operator.day: {message}"
