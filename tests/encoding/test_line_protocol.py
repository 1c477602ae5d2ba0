"""Line protocol reads back, through a parser that shares nothing with the encoder, as exactly what was meant."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influxdb_client import Point
from tiers import examples

from clpm_execd.encoding import line_protocol
from clpm_execd.encoding.escaping import find_defect
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.block import MODES, Block
from clpm_execd.problems import BadInput

T0 = 1_736_503_500_000_000_000
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")

Parsed = tuple[str, dict[str, str], dict[str, float], int]


@pytest.fixture(autouse=True, params=[0, 10**9], ids=["many rows at once", "one sample after another"])
def both_encoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of a Block, both ways of encoding it are tried."""
    monkeypatch.setattr(line_protocol, "FEW_LINES", request.param)


def block(
    loops: Sequence[str] = ("TIC208030",),
    ticks: int = 1,
    modes: object = 1,
    **signals: object,
) -> Block:
    shape = (ticks, len(loops))

    def array(name: str, default: float, kind: str = "f8") -> np.ndarray:
        return np.broadcast_to(np.asarray(signals.get(name, default), dtype=kind), shape)

    return Block(
        loops=tuple(loops),
        times=T0 + np.arange(ticks, dtype=np.int64) * 1_000_000_000,
        pv=array("pv", 405.2694502),
        op=array("op", 63.5),
        sp=array("sp", 405.41),
        mode=np.broadcast_to(np.asarray(modes, dtype=np.int8), shape),
        valve_position=array("valve_position", 62.0),
        true_pv=array("true_pv", 405.0),
        quality=array("quality", 192, "i2"),
    )


def parse(data: bytes) -> list[Parsed]:
    assert data == b"" or data.endswith(b"\n")
    return [parse_line(line) for line in data.decode().split("\n")[:-1]]


def parse_line(line: str) -> Parsed:
    """One character at a time: a backslash before a comma, an equals sign or a space hides it."""
    sections: list[list[list[str]]] = [[[""]]]
    chars = iter(range(len(line)))
    for i in chars:
        c = line[i]
        if c == "\\" and line[i + 1] in ",= ":
            sections[-1][-1][-1] += line[i + 1]
            next(chars)
        elif c == " ":
            sections.append([[""]])
        elif c == ",":
            sections[-1].append([""])
        elif c == "=":
            sections[-1][-1].append("")
        else:
            sections[-1][-1][-1] += c
    (measurement, *tags), fields, [[time]] = sections
    assert re.fullmatch(r"\d{19}", time)
    assert [key for key, _ in tags] == sorted(key for key, _ in tags)
    assert [key for key, _ in fields] == sorted(key for key, _ in fields)
    return "=".join(measurement), dict(pairs(tags)), {k: number(v) for k, v in pairs(fields)}, int(time)


def pairs(items: list[list[str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in items]


def number(text: str) -> float:
    if text.endswith("i"):
        return int(text[:-1])
    assert NUMBER.fullmatch(text), text
    assert math.isfinite(float(text))
    return float(text)


def test_a_sample_is_the_documented_line() -> None:
    encoder = LineProtocol(["TIC208030"])
    assert encoder.header() == b""
    assert encoder.encode(block()) == (
        b"control_loops,Mode=AUT,loop_id=TIC208030 OP=63.5,PV=405.2694502,SP=405.41 1736503500000000000\n"
    )


def test_names_tags_and_signals_are_settings() -> None:
    encoder = LineProtocol(
        ["A"],
        measurement="my loops",
        fields={"pv": "pv", "q": "quality", "valve_position": "valve_position"},
        mode_tag="",
        tags={"site": "unit 208", "100%": "5%d"},
    )
    assert encoder.encode(block(["A"])) == (
        b"my\\ loops,100%=5%d,loop_id=A,site=unit\\ 208 pv=405.2694502,q=192i,valve_position=62"
        b" 1736503500000000000\n"
    )


def test_an_empty_block_is_nothing() -> None:
    assert LineProtocol(["A"]).encode(block(["A"], ticks=0)) == b""


def test_a_block_of_other_loops_is_an_error() -> None:
    with pytest.raises(ValueError, match="other loops"):
        LineProtocol(["A"]).encode(block(["B"]))


values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e20, 1e300, -1e-300, 5e-324, 1.7976931348623157e308, 405.2694502, math.nan]),
)


@pytest.mark.slow
@settings(max_examples=examples(200))
@given(st.data(), st.integers(1, 5), st.integers(1, 6))
def test_every_value_reads_back_to_ten_digits(data: st.DataObject, ticks: int, n: int) -> None:
    def table(element: st.SearchStrategy[float]) -> list[list[float]]:
        row = st.lists(element, min_size=n, max_size=n)
        return data.draw(st.lists(row, min_size=ticks, max_size=ticks))

    loops = [f"LIC{i}" for i in range(n)]
    samples = block(
        loops, ticks, modes=table(st.integers(0, 2)), pv=table(values), op=table(values), sp=table(values)
    )
    encoder = LineProtocol(loops)
    points = [point for t in range(ticks) for i in range(n) if (point := expected(samples, t, i))[2]]
    for _ in range(2):  # the second time with templates that exist already
        assert parse(encoder.encode(samples)) == points
    single = [
        block([loop], 1, samples.mode[0, i], pv=samples.pv[0, i], op=samples.op[0, i], sp=samples.sp[0, i])
        for i, loop in enumerate(loops)
    ]
    first_tick = b"".join(LineProtocol([loop]).encode(one) for loop, one in zip(loops, single, strict=True))
    assert LineProtocol(loops).encode(samples).startswith(first_tick)


def expected(samples: Block, t: int, i: int) -> Parsed:
    values = {"OP": samples.op[t, i], "PV": samples.pv[t, i], "SP": samples.sp[t, i]}
    tags = {"Mode": MODES[samples.mode[t, i]], "loop_id": samples.loops[i]}
    fields = {k: float(f"{v:.10g}") for k, v in values.items() if math.isfinite(float(f"{v:.10g}"))}
    return "control_loops", tags, fields, int(samples.times[t])


def test_many_ticks_of_many_loops_are_in_order() -> None:
    loops = [f"FIC{i:04d}" for i in range(700)]
    modes = np.ones((9, 700))
    modes[4:, 3] = 0
    points = parse(LineProtocol(loops).encode(block(loops, 9, modes)))
    assert [(time, tags["loop_id"]) for _, tags, _, time in points] == [
        (T0 + t * 1_000_000_000, loop) for t in range(9) for loop in loops
    ]
    assert [tags["Mode"] for _, tags, _, _ in points if tags["loop_id"] == "FIC0003"] == ["AUT"] * 4 + ["MAN"] * 5


def test_a_missing_value_has_no_field_and_a_missing_sample_no_line() -> None:
    samples = block(["A", "B"], 2, pv=[[np.nan, 1], [2, np.nan]], op=[[5, 5], [5, np.nan]], sp=[[6, 6], [6, np.inf]])
    assert LineProtocol(["A", "B"]).encode(samples).splitlines() == [
        b"control_loops,Mode=AUT,loop_id=A OP=5,SP=6 1736503500000000000",
        b"control_loops,Mode=AUT,loop_id=B OP=5,PV=1,SP=6 1736503500000000000",
        b"control_loops,Mode=AUT,loop_id=A OP=5,PV=2,SP=6 1736503501000000000",
    ]


def encode_plainly(samples: Block) -> bytes:
    """Each sample with a format string."""
    return b"".join(
        (f"control_loops,Mode={MODES[samples.mode[t, i]]},loop_id={loop} OP={samples.op[t, i]:.10g},"
         f"PV={samples.pv[t, i]:.10g},SP={samples.sp[t, i]:.10g} {samples.times[t]}\n").encode()
        for t in range(len(samples)) for i, loop in enumerate(samples.loops)
    )


@pytest.mark.slow
@settings(max_examples=examples(20))
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([1, 7, 2000, 6000]))
def test_a_value_that_stays_is_encoded_like_a_new_one(seed: int, ticks: int, n: int) -> None:
    """Blocks of constant set points, valves at their limits, and modes that change now and then."""
    rng = np.random.default_rng(seed)
    loops = [f"FIC{i}" for i in range(n)]
    encoder = LineProtocol(loops)
    sp, op, modes = np.full(n, 75.0), np.round(rng.uniform(-5.0, 105.0, n).clip(0.0, 100.0), 2), np.ones(n)
    for _ in range(3):
        if rng.random() < 0.5:
            sp[rng.integers(n)] = -sp[rng.integers(n)] * rng.choice([1.0, 0.0, 1e-7])
            modes[rng.integers(n)] = rng.integers(3)
        samples = block(loops, ticks, modes, pv=rng.normal(0.0, 100.0, (ticks, n)), op=op, sp=sp)
        assert encoder.encode(samples) == encode_plainly(samples)


hostile = st.text(st.one_of(st.sampled_from(',= "\\%#\'sde{}é漢🙂'), st.characters()), min_size=1, max_size=12)
writable = hostile.filter(lambda text: find_defect(text) is None)


@pytest.mark.slow
@settings(max_examples=examples(300))
@given(writable, writable.filter(lambda t: not t.startswith("#")), st.dictionaries(writable, writable, max_size=3),
       writable)
def test_hostile_names_are_written_as_influxdb_client_writes_them(
    loop: str, measurement: str, tags: Mapping[str, str], field: str
) -> None:
    tags = {k: v for k, v in tags.items() if k not in ("Mode", "loop_id", "time", "host")}
    field = field + "_" if field == "time" else field
    line = LineProtocol([loop], measurement=measurement, fields={field: "op"}, tags=tags).encode(block([loop]))
    point = Point(measurement).tag("loop_id", loop).tag("Mode", "AUT").field(field, 63.5).time(T0)
    for key, value in tags.items():
        point.tag(key, value)
    assert line == point.to_line_protocol().encode() + b"\n"
    assert parse(line) == [(measurement, {**tags, "Mode": "AUT", "loop_id": loop}, {field: 63.5}, T0)]


@pytest.mark.parametrize("ticks", [1, 200])
def test_a_loop_has_its_own_tags_in_place_of_those_that_all_loops_have(ticks: int) -> None:
    own = {"B": {"unit": "208", "zone": "a b"}, "absent": {"unit": "3"}}
    lines = LineProtocol(["A", "B"], tags={"Area": "x", "unit": "1"}, loop_tags=own).encode(block(["A", "B"], ticks))
    assert [line.split(b" OP")[0] for line in lines.splitlines()] == [
        b"control_loops,Area=x,Mode=AUT,loop_id=A,unit=1",
        b"control_loops,Area=x,Mode=AUT,loop_id=B,unit=208,zone=a\\ b"] * ticks


@pytest.mark.parametrize("name", ["", "a\n", "tab\there", "end\\", "a\\,b", "a\\ b", "a\\=", "\x7f", "\ud800"])
def test_a_name_that_no_line_can_carry_is_an_error_at_once(name: str) -> None:
    with pytest.raises(BadInput) as bad:
        LineProtocol(["A", name, name + "\n"])
    assert len(bad.value.problems) == 2
    for settings_ in ({"measurement": name}, {"tags": {"t": name}}, {"loop_tags": {"A": {"t": name}}},
                      {"fields": {name: "pv"}}):
        with pytest.raises(BadInput):
            LineProtocol(["A"], **settings_)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tags": {"host": "a"}},
        {"loop_tags": {"A": {"host": "a"}, "B": {"host": "a"}}},
        {"loop_tags": {"A": {"Mode": "a"}}},
        {"loop_tags": {"A": {"fault": "a"}}, "truth": "t"},
        {"tags": {"time": "a"}},
        {"tags": {"loop_id": "a"}},
        {"tags": {"Mode": "a"}},
        {"mode_tag": "loop_id"},
        {"fields": {"time": "pv"}},
        {"fields": {}},
        {"fields": {"PV": "pw"}},
        {"measurement": "# loops"},
    ],
)
def test_a_name_with_another_meaning_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput) as bad:
        LineProtocol(["A"], **wrong)  # type: ignore[arg-type]
    assert len(bad.value.problems) == 1
