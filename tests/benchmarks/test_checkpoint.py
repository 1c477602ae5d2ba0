"""What a state folder costs a stream, and what a checkpoint of it takes."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from baselines import START
from results import Results
from tiers import CAMPAIGNS

from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.plant.defaults import default_loops
from clpm_execd.plant.plant import Plant
from clpm_execd.runtime.pacing import SystemClock
from clpm_execd.state.checkpoint import CheckpointWriter
from clpm_execd.state.folder_lock import FolderLock

SECONDS = 20.0 if CAMPAIGNS else 0.3  # a short run only shows that it works: a snapshot is due every 5 s


def rate(loops: int, keep: Path | None) -> float:
    """Ticks a second of plant and encoder, with a snapshot taken and written as often as it is due."""
    five, log, clock = default_loops(), logging.getLogger("benchmark"), SystemClock()
    plant = Plant([replace(five[i % 5], id=f"TIC{208000 + i}") for i in range(loops)], start=START)
    encoder = LineProtocol(plant.loops)
    keeper = CheckpointWriter(FolderLock(keep, log), plant, encoder, clock, log) if keep else None
    if keeper:
        keeper.write_first(START)
    ticks, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        encoder.encode(plant.advance(1))
        if keeper:
            keeper.poll(0, lambda mark: True)
        ticks += 1
    return ticks / (time.perf_counter() - start)


@pytest.mark.parametrize("loops", [5, 100_000 if CAMPAIGNS else 1000])
def test_a_stream_with_a_state(loops: int, tmp_path: Path, results: Results) -> None:
    rate(loops, None)
    bare, with_state = rate(loops, None), rate(loops, tmp_path / "state")
    results.against(f"{loops:,} loops, tick by tick", "ticks/s", ("with a state", with_state), {"without": bare})
