"""Learned loops written: read back to the last digit, fit to stream, and readable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import run_command
from simulated_records import START, add_sp_moves, flow, record_of, run

from clpm_execd.config.loops import read_configuration
from clpm_execd.identification.export import format_loops_files
from clpm_execd.identification.learn import LearnedLoop, learn
from clpm_execd.plant.plant import Plant
from clpm_execd.problems import BadInput
from clpm_execd.state.durable_file import write_all_atomically

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learned() -> list[LearnedLoop]:
    record = record_of(run(add_sp_moves(flow("FIC 101#"), 3.0, -2.0), 3000, interval=2.0, scan=1.0))
    return [learn(record, span=(0.0, 100.0)), learn(record)]


@pytest.fixture
def file(learned: list[LearnedLoop], tmp_path: Path) -> Path:
    write_all_atomically(format_loops_files(tmp_path / "loops.toml", learned))
    return tmp_path / "loops.toml"


def problems(path: Path) -> str:
    with pytest.raises(BadInput) as error:
        read_configuration(path)
    return str(error.value)


def test_what_is_written_is_read_back_to_the_last_digit(learned: list[LearnedLoop], file: Path) -> None:
    configuration = read_configuration(file)
    assert configuration.interval == 2 * 10**9
    assert [loop.id for loop in configuration.loops] == ["FIC 101#", "FIC 101#-2"]
    for one, loop in zip(learned, configuration.loops, strict=True):
        assert replace(loop, learned_model=None, id="") == replace(one.loop, learned_model=None, id="")
    ours = Plant([learned[0].loop], start=START, interval=2 * 10**9).advance(500)
    theirs = Plant(configuration.loops[:1], start=START, interval=2 * 10**9).advance(500)
    assert np.array_equal(ours.pv, theirs.pv)
    assert np.array_equal(ours.op, theirs.op)


def test_the_program_checks_and_streams_them(file: Path) -> None:
    checked = run_command("check", "--config", file, folder=file.parent)
    assert checked.returncode == 0, checked.stderr
    made = run_command("generate", "--config", file, "--duration", "1m", "--format", "wide", folder=file.parent)
    assert len(made.stdout.splitlines()) == 1 + 2 * 30


def test_each_number_stands_with_its_interval_and_each_doubt_above_its_loop(file: Path) -> None:
    text = file.read_text()
    assert "\ngain = " in text
    assert "%/%\n" in text
    assert "range is not in the record" in text.rpartition("[[loop]]")[0]


@pytest.mark.parametrize(("damage", "message"), [
    (lambda path: path.with_suffix(".npz").unlink(), "no such file"),
    (lambda path: path.with_suffix(".npz").write_bytes(b"nothing"), "damaged"),
    (lambda path: path.with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes()[:2000]), "damaged"),
    (lambda path: np.savez(path.with_suffix(".npz"), **{"OTHER/rest": np.zeros(3)}), "no loop"),
    (lambda path: np.savez(path.with_suffix(".npz"), **{"FIC 101#/interval": np.array(["x"])}), "has no interval"),
    (lambda path: path.write_text(path.read_text().replace("\ntau = ", "\ntau = -")), "tau"),
    (lambda path: path.write_text(path.read_text().replace("file =", "fil =")), "did you mean 'file'"),
    (lambda path: path.write_text('scan = "4s"\n' + path.read_text().replace('"2s"', '"4s"')), "longer than 2s"),
])
def test_the_error_for_a_damaged_file_names_the_place(file: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(file)
    assert message in problems(file)


def test_a_learned_loop_is_no_master(file: Path) -> None:
    file.write_text(file.read_text() + '\n[[loop]]\nid = "SLAVE"\ncascade = "FIC 101#"\n')
    assert "is a learned loop with a valve of its own" in problems(file)


def test_faults_and_other_gains_can_be_written_into_it(file: Path) -> None:
    file.write_text(file.read_text() + '\n[[loop.fault]]\nkind = "stiction"\nS = 5.0\nJ = 2.0\n')
    healthy, sticky = read_configuration(file).loops
    block = Plant([healthy, sticky], start=START, interval=2 * 10**9).advance(1000)
    assert block.valve_position[:, 0] == pytest.approx(block.op[:, 0], abs=0.01)
    assert np.abs(block.valve_position[:, 1] - block.op[:, 1]).max() > 1.0
