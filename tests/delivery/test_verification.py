"""The check of a state folder counts what is intact and says where a stream would resume."""

from __future__ import annotations

import logging
from pathlib import Path

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.delivery.verification import Verification, verify_state
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import Plant
from clpm_execd.state.checkpoint import Checkpoint, serialize
from clpm_execd.stored_names import CHECKPOINT_FILE, QUARANTINE_FOLDER, TEMPORARY_SUFFIX
from clpm_execd.units import SECOND

START = 1_700_000_000 * SECOND
LOG = logging.getLogger("test.verification")


def test_a_file_that_a_stream_is_writing_into_the_quarantine_is_no_damage(tmp_path: Path) -> None:
    Quarantine(tmp_path, LOG)({"unprocessable": [b"a v=x 1\n"]})
    [incident] = (tmp_path / QUARANTINE_FOLDER).iterdir()
    incident.with_name(incident.name + TEMPORARY_SUFFIX).write_bytes(b"# 2025-01-10T10:00")
    assert verify_state(tmp_path).damage == ()
    incident.write_bytes(b"# 2025-01-10T10:00")
    assert [damage.path for damage in verify_state(tmp_path).damage] == [incident]


def test_an_intact_folder_has_its_points_and_the_end_of_its_checkpoint(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path, LOG)
    queue.put(b"a v=1 1\na v=1 2\n")
    queue.put(b"a v=1 3\n")
    plant = Plant(default_loops(), start=START)
    plant.advance(60)
    checkpoint = Checkpoint("plant", None, plant.snapshot(), LineProtocol(plant.loops).snapshot(), START, START)
    (tmp_path / CHECKPOINT_FILE).write_bytes(serialize(checkpoint))
    assert verify_state(tmp_path) == Verification(files=2, points=3, checkpoint_end=START + 60 * SECOND, damage=())
