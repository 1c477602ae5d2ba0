"""The plant as a Source: consecutive instants from its start, every loop in its column, scans within an interval."""

from __future__ import annotations

import numpy as np
import pytest
from still import START, ns, run, still

from clpm_execd.plant.block import GOOD
from clpm_execd.plant.plant import Plant, choose_default_scan


def test_blocks_follow_each_other_without_gap_or_overlap() -> None:
    plant = Plant([still("A"), still("B")], start=START, interval=ns(2.5))
    assert (plant.loops, plant.interval, plant.next_time) == (("A", "B"), ns(2.5), START)
    times = np.concatenate([plant.advance(n).times for n in (1, 3, 1, 20)])
    assert times.tolist() == [START + k * ns(2.5) for k in range(25)]
    assert plant.next_time == START + 25 * ns(2.5)


def test_a_block_has_a_row_an_instant_and_a_column_a_loop() -> None:
    block = run([still("A", sp=20.0), still("B", sp=30.0, mode="MAN"), still("C", sp=40.0)], 7)
    assert len(block) == 7
    assert block.loops == ("A", "B", "C")
    assert block.sp.shape == block.mode.shape == block.quality.shape == (7, 3)
    assert block.pv[3].tolist() == pytest.approx([20.0, 30.0, 40.0])
    assert (block.quality == GOOD).all()
    assert block.times.dtype == np.int64


@pytest.mark.parametrize(("interval", "scan"), [
    (0.05, 0.05), (0.1, 0.1), (1.0, 1.0), (1.5, 0.75), (2.5, 0.625), (5.0, 1.0), (60.0, 1.0), (3600.0, 1.0),
])
def test_a_scan_is_the_longest_share_of_the_interval_up_to_a_second(interval: float, scan: float) -> None:
    assert choose_default_scan(ns(interval)) == ns(scan)


def test_an_interval_without_a_divisor_is_scanned_once() -> None:
    assert choose_default_scan(1_000_000_007) == 1_000_000_007
