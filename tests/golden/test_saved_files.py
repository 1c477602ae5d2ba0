"""What clpm-execd 0.1.0 left in a user's folders is resumed, read and delivered (README.md says how it was written)."""

from __future__ import annotations

import fcntl
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from command import run_command
from golden_arrays import FOLDER, SIGNALS, hash_block
from numpy.testing import assert_allclose, assert_array_equal

from clpm_execd import stored_names
from clpm_execd.config.loops import read_configuration
from clpm_execd.delivery.health import read_last_acknowledgement
from clpm_execd.delivery.quarantine import read_incidents
from clpm_execd.plant.block import SECOND, Block
from clpm_execd.plant.learned.model import LearnedModel
from clpm_execd.plant.plant import Plant
from clpm_execd.records import Replay, read_record
from clpm_execd.state.checkpoint import Checkpoint, read_checkpoint, serialize
from clpm_execd.state.folder_lock import FolderLock
from clpm_execd.stored_names import get_stored_field

LOG = logging.getLogger("clpm_execd")
PLANTS = {"default": FOLDER / "default" / "loops.toml", "faults": FOLDER / "faults" / "loops.toml"}
# Rounding changes values by 1e-13; a stem that slips a little earlier, in a loop that oscillates, makes 1e-7 of it.
TOLERANCE = 1e-6
RECORD = FOLDER / "learned" / "record.csv.gz"
Program = Callable[..., str]


class Server(ThreadingHTTPServer):
    """Accepts every write, as InfluxDB 2 does, and keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request to a Server."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/write" in self.path:
            self.server.lines += body.splitlines(keepends=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A copy of the state folder of a --direct stream that was killed."""
    return Path(shutil.copytree(FOLDER / "direct" / "state", tmp_path / "state"))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program, run to its end in a folder of its own: what it writes to stdout."""
    def run(*words: object, **environment: str) -> str:
        result = run_command(*map(str, words), folder=tmp_path, env=environment)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def checkpoint_of(name: str, kind: str = "plant") -> Checkpoint:
    checkpoint, _ = read_checkpoint(FOLDER / name / "state", kind, LOG)
    assert checkpoint is not None
    return checkpoint


# Since 0.1.0 the external oscillation of the one has another wave, and the operator of the other moves OP in MAN: they
# go on from their checkpoint, but came there on another way.
CHANGED_LOOPS = ("AIC500", "FIC300")


def assert_equal_to_rounding(block: Block, other: Block) -> None:
    """A state of 0.1.0 differs in its last bits from that of today's arithmetic."""
    others = [i for i, loop in enumerate(block.loops) if loop not in CHANGED_LOOPS]
    for name in SIGNALS:
        ours, theirs = getattr(block, name)[:, others], getattr(other, name)[:, others]
        assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def without_changed_loops(lines: str) -> str:
    return "".join(line for line in lines.splitlines(keepends=True)
                   if not any(f"loop_id={loop}" in line for loop in CHANGED_LOOPS))


def split_numbers(text: str) -> tuple[list[str], list[float]]:
    """The lines of line protocol with their timestamps and without the numbers of their fields, and these numbers."""
    pattern = r"(?<==)-?[\d.]+(?=[, ])"
    return re.sub(pattern, "", text).splitlines(), [float(number) for number in re.findall(pattern, text)]


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_resumes_from_its_checkpoint_as_if_it_had_never_stopped(name: str) -> None:
    snapshot = checkpoint_of(name).snapshot
    configuration = read_configuration(PLANTS[name])
    resumed = Plant(configuration.loops, seed=configuration.seed, start=snapshot.next_time, snapshot=snapshot)
    assert resumed.resumed_loops == set(resumed.loops) == set(snapshot.loops)
    start = int(snapshot.starts[0])
    uninterrupted = Plant(configuration.loops, seed=configuration.seed, start=start)
    uninterrupted.advance((snapshot.next_time - start) // SECOND)
    assert_equal_to_rounding(resumed.advance(600), uninterrupted.advance(600))


def without_truth(text: str) -> str:
    """The lines of samples."""
    return "".join(line for line in text.splitlines(keepends=True) if ",fault=" not in line)


@pytest.mark.parametrize("name", PLANTS)
def test_a_stream_resumes_from_its_checkpoint_with_the_next_sample(name: str, program: Program, tmp_path: Path) -> None:
    checkpoint, samples = checkpoint_of(name), 100
    config = ["--config", PLANTS[name]]
    shutil.copytree(FOLDER / name / "state", tmp_path / "state")
    resumed = program(*config, "--state", tmp_path / "state", "--max-gap", "36500d", "--max-rate", "0",
                      "--count", samples)
    start = int(checkpoint.snapshot.starts[0])
    seconds = (checkpoint.snapshot.next_time - start) // SECOND
    time = datetime.fromtimestamp(start / SECOND, timezone.utc).isoformat()
    uninterrupted = program("generate", *config, "--start", time, "--duration", f"{seconds + samples}s")
    assert resumed.count("\n") > 0.9 * samples * len(checkpoint.snapshot.loops), "one loop is compressed"
    # The twin of a stream that 0.1.0 began starts when it is resumed, so that the ground truth differs for a while.
    lines, numbers = split_numbers(without_truth(without_changed_loops(resumed)))
    expected_lines, expected_numbers = split_numbers(without_truth(without_changed_loops(uninterrupted)))
    assert lines == expected_lines[-len(lines):]
    assert_allclose(numbers, expected_numbers[-len(numbers):], rtol=TOLERANCE, atol=TOLERANCE)


def test_a_replay_resumes_from_its_checkpoint() -> None:
    snapshot, record = checkpoint_of("replay", "record").snapshot, read_record(RECORD)
    resumed = Replay([record], start=snapshot.next_time, interval=None, snapshot=snapshot)
    assert resumed.resumed_loops == {"PIC901", "FIC902", "TIC903"}
    uninterrupted = Replay([record], start=int(snapshot.starts[0]), interval=None)
    uninterrupted.advance(100)
    assert hash_block(resumed.advance(700)) == hash_block(uninterrupted.advance(700))


@pytest.mark.parametrize(("name", "kind"), [*((name, "plant") for name in PLANTS), ("replay", "record")])
def test_a_checkpoint_is_written_as_0_1_0_wrote_it(name: str, kind: str) -> None:
    header, _, body = (FOLDER / name / "state" / "checkpoint").read_bytes().partition(b"\n")
    header_now, _, body_now = serialize(checkpoint_of(name, kind)).partition(b"\n")
    assert header_now == header.replace(b" 1:", b" 2:")
    assert body_now == body


@pytest.mark.parametrize(("name", "kind", "messages"), [
    ("default", "plant", ["the checkpoint is of an older version: the stream goes on where it stopped, but its values "
                          "differ from those of that version in their last bits"]),
    ("replay", "record", [])])
def test_a_warning_about_an_older_checkpoint_says_that_last_bits_change(
        name: str, kind: str, messages: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        checkpoint_of(name, kind)
    assert caplog.messages == messages


def test_a_plant_that_went_on_stores_its_state_under_the_same_names() -> None:
    snapshot = checkpoint_of("faults").snapshot
    loops = read_configuration(PLANTS["faults"]).loops
    plant = Plant(loops, seed=7, start=snapshot.next_time, snapshot=snapshot)
    plant.advance(1)
    stored = plant.snapshot().tables
    assert {name for name in stored if not name.startswith(stored_names.TWIN_PREFIXES)} == set(snapshot.tables)
    for name, rows in snapshot.tables.items():
        assert stored[name].values.dtype == rows.values.dtype, name
        assert stored[name].values.shape[1:] == rows.values.shape[1:], name


def test_learned_loops_are_read_under_the_names_of_their_arrays() -> None:
    with np.load(FOLDER / "learned" / "loops.npz") as arrays:
        loops = read_configuration(FOLDER / "learned" / "loops.toml").loops
        names = {field.name: get_stored_field("LearnedModel", field.name) for field in fields(LearnedModel)}
        assert {f"{loop.id}/{name}" for loop in loops for name in names.values()} == set(arrays.files)
        for loop in loops:
            for field, name in names.items():
                assert_array_equal(getattr(loop.learned_model, field), arrays[f"{loop.id}/{name}"])


def spooled_lines(state: Path) -> list[bytes]:
    """The lines of the spool, the oldest first; the first line of each file is its header."""
    files = sorted((state / "spool").iterdir())
    return [line for file in files for line in file.read_bytes().splitlines(keepends=True)[1:]]


def refused_lines(state: Path) -> list[bytes]:
    files = sorted((state / "quarantine").iterdir())
    return [line for file in files for line in file.read_bytes().splitlines(keepends=True) if line[:1] != b"#"]


def deliver(state: Path, program: Program, server: Server) -> list[bytes]:
    """The lines that the server gets from a stream of one sample on this folder."""
    program("--direct", "--state", state, "--count", 1, INFLUXDB_URL=server.url, INFLUXDB_TOKEN="token",
            INFLUXDB_ORG="plant", INFLUXDB_BUCKET="loops")
    return server.lines


@pytest.mark.parametrize("suffix", ["", ".tmp"], ids=["complete", "written but not renamed yet"])
def test_what_waited_in_a_spool_is_delivered_byte_by_byte_and_in_order(
        state: Path, program: Program, server: Server, suffix: str) -> None:
    (state / "checkpoint").unlink()  # it is older than the last of these lines, which would be made once more
    lines = spooled_lines(state)
    assert len(lines) == 60
    last = max((state / "spool").iterdir())
    last.rename(f"{last}{suffix}")
    assert [line for line in deliver(state, program, server) if line in lines] == lines
    assert not list((state / "spool").iterdir())


@pytest.mark.parametrize("suffix", ["", ".retry"], ids=["refused", "interrupted while it was retried"])
def test_what_was_refused_is_delivered_once_it_is_retried(
        state: Path, program: Program, server: Server, suffix: str) -> None:
    refused = refused_lines(state)
    assert len(refused) == 12
    [incident] = (state / "quarantine").iterdir()
    incident.rename(f"{incident}{suffix}")
    program("spool", "retry", "--state", state)
    assert not list((state / "quarantine").iterdir())
    assert sorted(line for line in deliver(state, program, server) if line in refused) == sorted(refused)


def test_a_quarantine_is_read_with_the_words_of_the_server(state: Path) -> None:
    [incident] = read_incidents(state)
    assert list(incident.lines) == refused_lines(state)
    assert incident.since == "2026-11-30T01:41:41+00:00"
    assert incident.messages[0].startswith('HTTP status 400: partial write: field type conflict: input field "PV"')


def test_what_a_spool_and_a_quarantine_hold_is_listed(state: Path, program: Program) -> None:
    listed = program("spool", "--state", state)
    assert ": 60 points in 12 files, " in listed
    assert "quarantine: 12 lines in 1 incident\n" in listed
    assert "corrupt: 2 files\n" in listed


def test_the_last_acknowledgement_is_read(state: Path) -> None:
    acknowledgement = read_last_acknowledgement(state)
    assert acknowledgement is not None
    assert (acknowledgement.time, acknowledgement.interval) == (1796002910.0143213, 1.0)


def test_a_folder_that_an_older_version_has_locked_is_locked_for_this_one(state: Path) -> None:
    lock = FolderLock(state, LOG)
    with (state / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not lock.try_acquire()
    assert lock.try_acquire()
    lock.release()
