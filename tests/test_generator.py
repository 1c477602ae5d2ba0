"""The Python interface gives the values of the command line, takes further loops, and reports mistakes as BadInput."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from command import run_command

from clpm_execd import ControlLoopDataGenerator
from clpm_execd.config.loops import read_configuration
from clpm_execd.plant.block import AUT, MAN, Block
from clpm_execd.plant.defaults import default_loops
from clpm_execd.problems import BadInput

SECOND = 1_000_000_000
START = 1_736_503_500 * SECOND
LOOPS = ("TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034")


def problems(error: pytest.ExceptionInfo[BadInput]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


def column(block: Block, loop: str) -> int:
    return block.loops.index(loop)


def test_a_generator_has_the_five_default_loops() -> None:
    generator = ControlLoopDataGenerator(start=START)
    block = generator.advance(3)
    assert tuple(loop.id for loop in generator.loops) == LOOPS
    assert block.loops == LOOPS
    assert block.pv.shape == block.op.shape == block.sp.shape == block.mode.shape == (3, 5)
    assert block.times.tolist() == [START, START + SECOND, START + 2 * SECOND]
    assert abs(block.pv - 405.27).max() < 1.0
    assert (block.sp == 405.41).all()
    assert abs(block.op - 63.5).max() < 1.0


def test_a_generator_starts_at_the_latest_instant_of_the_grid() -> None:
    [first] = ControlLoopDataGenerator(interval=60.0).advance().times
    assert first % (60 * SECOND) == 0
    assert 0 <= time.time_ns() - first < 120 * SECOND


def test_each_call_continues_the_previous_one_for_any_sizes() -> None:
    at_once = ControlLoopDataGenerator(start=START, interval=5).lines(12)
    parts = ControlLoopDataGenerator(start=START, interval=5)
    assert b"".join(parts.lines(n) for n in (1, 4, 2, 5)) == at_once
    blocks = ControlLoopDataGenerator(start=START, interval=5)
    blocks.advance(11)
    assert blocks.lines() == b"".join(at_once.splitlines(keepends=True)[-5:])


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({}, []),
        ({"seed": 7}, ["--seed", "7"]),
        ({"seed": 0}, ["--seed", "0"]),
        ({"interval": 0.25}, ["--interval", "250ms"]),
        ({"config": "loops.toml"}, ["--config", "loops.toml"]),
        ({"config": "loops.toml", "seed": 7, "interval": 6}, ["--config", "loops.toml", "--seed", "7", "--interval=6"]),
    ],
    ids=str,
)
def test_lines_are_those_of_the_generate_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STREAM_INTERVAL", "CLPM_LOOPS", "INFLUXDB_MEASUREMENT"):
        monkeypatch.delenv(name, raising=False)
    Path("loops.toml").write_text(
        'seed = 5\ninterval = "2s"\n[output]\nmeasurement = "plant"\nmode_tag = "mode"\ntags = { site = "unit 208" }\n'
        'fields = { pv = "pv", valve = "valve_position" }\n'
        '[[loop]]\nid = "TIC{}"\ncount = 3\n[[loop]]\nid = "FIC1"\ntype = "flow"\ncascade = "TIC1"\n'
    )
    command = ["generate", "--start", "2025-01-10T10:05:00Z", "--duration", "60s", *options]
    generated = run_command(*command, folder=tmp_path).stdout.encode()
    generator = ControlLoopDataGenerator(start=START, **arguments)  # type: ignore[arg-type]
    assert generator.lines(generated.count(b"\n") // len(generator.loops)) == generated
    assert generated


def test_a_configuration_is_a_path_a_text_or_an_object(tmp_path: Path) -> None:
    path = tmp_path / "loops.toml"
    path.write_text('interval = "3s"\nstart = 2025-01-10T10:05:00Z\n[[loop]]\nid = "A"\n')
    lines = ControlLoopDataGenerator(path).lines(4)
    assert lines == ControlLoopDataGenerator(str(path)).lines(4)
    assert lines == ControlLoopDataGenerator(read_configuration(path)).lines(4)
    assert lines.endswith(f" {START + 9 * SECOND}\n".encode())


def test_start_and_interval_can_be_numpy_numbers() -> None:
    at_once = ControlLoopDataGenerator(start=START).advance(5)
    later = ControlLoopDataGenerator(start=at_once.times[-1], interval=np.float64(2.0)).advance(2)
    assert later.times.tolist() == [START + 4 * SECOND, START + 6 * SECOND]


def test_start_and_interval_can_be_text_or_a_datetime() -> None:
    expected = ControlLoopDataGenerator(start=START, interval=0.5).lines(4)
    moment = datetime(2025, 1, 10, 10, 5, tzinfo=timezone.utc)
    assert ControlLoopDataGenerator(start="2025-01-10T11:05:00+01:00", interval="500ms").lines(4) == expected
    assert ControlLoopDataGenerator(start=moment, interval="0.5").lines(4) == expected


def test_a_later_start_is_the_part_of_the_plant_that_starts_earlier(tmp_path: Path) -> None:
    path = tmp_path / "loops.toml"
    path.write_text('start = 2025-01-10T10:05:00Z\n[[loop]]\nid = "A"\n')
    whole, later = ControlLoopDataGenerator(path), ControlLoopDataGenerator(path, start=START + 600 * SECOND)
    whole.advance(600)
    assert later.lines(10) == whole.lines(10)
    assert ControlLoopDataGenerator(path, start=START - SECOND).advance().times.tolist() == [START - SECOND]


def test_an_empty_plant_has_the_loops_that_are_added() -> None:
    generator = ControlLoopDataGenerator(start=START, loops=[])
    with pytest.raises(BadInput, match="loops: there are none; add one"):
        generator.advance()
    spec = generator.add_custom_loop("FIC101", base_sp=60.0, type="flow")
    assert generator.advance().loops == ("FIC101",)
    tables = [{"id": "FIC101", "sp": 60.0, "type": "flow", "range": [0.0, 120.0]}, default_loops()[0]]
    assert ControlLoopDataGenerator(start=START, loops=tables).loops == (spec, default_loops()[0])


def test_the_loop_sheet_has_the_settings_in_force() -> None:
    generator = ControlLoopDataGenerator(loops=[], interval="2s")
    generator.add_custom_loop("FIC101", base_sp=60.0, type="flow", unit="m3/h", tags={"train": "B"})
    [row] = generator.loop_sheet()
    assert (row.loop_id, row.unit, row.range_high, row.interval, row.scan) == ("FIC101", "m3/h", 120.0, 2.0, 1.0)
    frame = generator.loop_sheet().to_frame()
    assert frame.loc["FIC101", "gain"] == row.gain > 0.0
    assert frame.loc["FIC101", "tags"] == {"train": "B"}


@pytest.mark.parametrize("n", [0, -1, 1.5, "x", None])
def test_an_invalid_number_of_samples_is_bad_input(n: object) -> None:
    for call in (ControlLoopDataGenerator().advance, ControlLoopDataGenerator().lines):
        with pytest.raises(BadInput, match=r"^n: invalid integer"):
            call(n)  # type: ignore[arg-type]


def test_a_custom_loop_starts_at_its_pv_and_settles_at_its_set_point_and_op() -> None:
    generator = ControlLoopDataGenerator(start=START)
    spec = generator.add_custom_loop("CUSTOM_LOOP", base_pv=400.0, base_sp=400.5, base_op=60.0)
    assert (spec.id, spec.pv, spec.sp, spec.op) == ("CUSTOM_LOOP", 400.0, 400.5, 60.0)
    block = generator.advance(7200)
    assert block.loops == (*LOOPS, "CUSTOM_LOOP")
    i = column(block, "CUSTOM_LOOP")
    assert block.pv[0, i] == pytest.approx(400.0, abs=2.0)
    assert (block.mode[:, i] == AUT).all()
    assert (block.sp[:, i] == 400.5).all()
    assert block.pv[3600:, i].mean() == pytest.approx(400.5, abs=1.0)
    assert block.op[3600:, i].mean() == pytest.approx(60.0, abs=3.0)
    assert b",loop_id=CUSTOM_LOOP " in generator.lines()


def test_a_value_of_a_custom_loop_is_given_once() -> None:
    with pytest.raises(BadInput, match=r"loop FIC101\.sp: is given twice, as base_sp too; give one of them"):
        ControlLoopDataGenerator().add_custom_loop("FIC101", base_sp=60.0, sp=70.0)


def test_a_custom_loop_changes_no_other_loop() -> None:
    alone = ControlLoopDataGenerator(start=START)
    generator = ControlLoopDataGenerator(start=START)
    generator.add_custom_loop("AAA", base_sp=10.0)
    assert alone.lines(50) == b"".join(
        line for line in generator.lines(50).splitlines(keepends=True) if b"loop_id=AAA " not in line
    )


def test_a_custom_loop_takes_any_key_of_a_loop() -> None:
    generator = ControlLoopDataGenerator(start=START)
    spec = generator.add_custom_loop(
        "FIC101", type="flow", range=[0.0, 120.0], sp=75.0, op=55.0, mode="MAN",
        process={"model": "fopdt", "gain": 1.1, "tau": 3.0, "dead_time": 2.0},
        controller={"form": "series", "gain": 0.5, "reset": 8.0},
        valve={"characteristic": "equal-percentage", "lag": 1.0},
        sensor={"noise": 0.0}, disturbance={"sigma": 0.0}, operator={"interval": 0.0},
        recording={"resolution": {"pv": 0.0, "op": 0.0}},
        move=[{"at": "10s", "op": 60.0}, {"at": "1m", "mode": "AUT"}, {"at": 90, "sp": 80.0, "ramp": "30s"}],
    )
    assert (spec.process.gain, spec.process.tau, spec.process.dead_time) == (1.1, (3.0,), 2.0)
    assert (spec.controller.form, spec.valve.characteristic, spec.range) == ("series", "equal-percentage", (0.0, 120.0))
    block = generator.advance(300)
    i = column(block, "FIC101")
    op, pv, sp, mode = (getattr(block, name)[:, i] for name in ("op", "pv", "sp", "mode"))
    np.testing.assert_allclose(op[:10], 55.0)
    np.testing.assert_allclose(op[10:60], 60.0)
    np.testing.assert_allclose(pv[:12], 75.0)
    assert pv[59] > 80.0
    assert (mode[:60] == MAN).all()
    assert (mode[60:] == AUT).all()
    assert sp[-1] == pytest.approx(80.0)
    assert pv[-1] == pytest.approx(80.0, abs=0.1)


def test_a_custom_loop_can_be_a_slave() -> None:
    generator = ControlLoopDataGenerator(start=START)
    generator.add_custom_loop("TIC1", base_sp=200.0, type="temperature")
    generator.add_custom_loop("FIC1", base_sp=50.0, type="flow", cascade="TIC1", mode="CAS")
    assert b"Mode=CAS,loop_id=FIC1 " in generator.lines()


@pytest.mark.parametrize("level", [-40.0, 0.0, 0.001, 1e6])
def test_a_custom_loop_has_a_range_around_any_set_point(level: float) -> None:
    generator = ControlLoopDataGenerator(start=START)
    low, high = generator.add_custom_loop("ANY", base_pv=level, base_sp=level).range
    assert low < level < high
    block = generator.advance(60)
    assert np.isfinite(block.pv).all()


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        ({"gian": 1.0}, ["gian: unknown key"]),
        ({"process": {"gian": 1.0}}, ["process.gian: unknown key; did you mean 'gain'?"]),
        ({"base_op": 160.0}, ["op: "]),
        ({"base_pv": "hot"}, ["pv: "]),
        ({"type": "flwo", "mode": "auto"}, ["type: unknown type 'flwo'", "mode: unknown mode 'auto'"]),
        ({"move": [{"at": "soon", "sp": 1.0}]}, ["move[1].at: invalid duration 'soon'"]),
        ({"count": 3}, ["count: one loop cannot have a count"]),
        ({"base_sp": float("nan")}, ["sp: "]),
    ],
    ids=str,
)
def test_every_mistake_in_a_custom_loop_is_reported(arguments: dict[str, object], starts: list[str]) -> None:
    generator = ControlLoopDataGenerator(start=START)
    with pytest.raises(BadInput) as error:
        generator.add_custom_loop("BAD", **arguments)  # type: ignore[arg-type]
    texts = problems(error)
    assert len(texts) == len(starts), texts
    for text, start in zip(texts, starts, strict=True):
        assert text.startswith(f"loop BAD.{start}"), text
    assert len(generator.loops) == 5


@pytest.mark.parametrize("loop_id", ["", "two\nlines", "TIC208030", 5])
def test_an_invalid_id_is_bad_input(loop_id: str) -> None:
    with pytest.raises(BadInput):
        ControlLoopDataGenerator(start=START).add_custom_loop(loop_id)


def test_a_missing_master_is_bad_input() -> None:
    generator = ControlLoopDataGenerator(start=START)
    generator.add_custom_loop("FIC1", cascade="TIC9")
    with pytest.raises(BadInput, match="TIC9"):
        generator.advance()


def test_a_loop_cannot_be_added_after_the_first_sample() -> None:
    generator = ControlLoopDataGenerator(start=START)
    generator.advance()
    with pytest.raises(ValueError, match="before the first advance"):
        generator.add_custom_loop("LATE")


@pytest.mark.parametrize("argument", [{"interval": 0}, {"interval": -1.0}, {"interval": float("nan")}, {"start": -1},
                                      {"seed": -1}, {"seed": "x"}, {"start": 1.5}, {"start": "soon"}, {"start": []},
                                      {"start": datetime(2025, 1, 10)}, {"interval": "soon"}, {"interval": [1]},
                                      {"interval": True}, {"config": 5}, {"loops": 5}, {"loops": "FIC1"},
                                      {"loops": [5]}, {"loops": [{}]}, {"loops": [{"id": "A"}, {"id": "A"}]}],
                         ids=str)
def test_an_invalid_argument_is_bad_input(argument: dict[str, object]) -> None:
    with pytest.raises(BadInput) as error:
        ControlLoopDataGenerator(**argument)  # type: ignore[arg-type]
    [text] = problems(error)
    assert text.startswith(next(iter(argument)))


def test_an_interval_that_is_not_a_multiple_of_the_scan_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "loops.toml"
    path.write_text('scan = "2s"\ninterval = "4s"\n')
    assert ControlLoopDataGenerator(path).advance(2).times.tolist()[1] % (4 * SECOND) == 0
    for config in (path, read_configuration(path)):
        with pytest.raises(BadInput, match="scan: 2s does not divide the interval 3s"):
            ControlLoopDataGenerator(config, interval=3.0)


def test_an_invalid_file_is_bad_input_with_all_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "loops.toml"
    path.write_text('sed = 1\n[[loop]]\nid = "A"\ntype = "flwo"\n')
    with pytest.raises(BadInput) as error:
        ControlLoopDataGenerator(path)
    assert len(problems(error)) == 2
    with pytest.raises(BadInput):
        ControlLoopDataGenerator(tmp_path / "none.toml")


@pytest.mark.process
def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "import sys, clpm_execd; print([name for name in ('numpy', 'influxdb_client') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
