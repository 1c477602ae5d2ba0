"""A suite as the monitors see it: simulated, put on the sample times as a historian has it, and cut into windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.benchmark.suite import Suite
from clpm_execd.encoding.csv import WideCsv
from clpm_execd.monitors.loop_window import LoopWindow
from clpm_execd.plant.block import GOOD, MAN, Block
from clpm_execd.plant.loop_sheet import LoopSheetRow, make_loop_sheet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.source import Source
from clpm_execd.plant.truth.episodes import EpisodeCollector
from clpm_execd.records.forward_fill import fill_both_ways
from clpm_execd.score import GroundTruth
from clpm_execd.units import SECOND

_NOT_RECEIVED = -1  # the quality of a sample that has not arrived
Floats = npt.NDArray[np.float64]
# A monitor of a real plant has the quality of a sample, but not the true position of the valve or of the process.
FIELDS = {"PV": "pv", "OP": "op", "SP": "sp", "quality": "quality"}
_BLOCK_VALUES = 200_000  # samples of all loops in one Block: large enough that the cost of a Block does not count


def open_plant(suite: Suite) -> tuple[Source, Sequence[LoopSheetRow], int]:
    """Return the plant of a suite before its first sample, its loop sheet, and how many samples each loop has."""
    configuration = suite.read()
    interval = configuration.interval or SECOND
    plant = Plant(configuration.loops, seed=configuration.seed, start=configuration.start or 0, interval=interval,
                  scan=configuration.scan, names_links=True)
    sheet = make_loop_sheet(configuration.loops, interval, configuration.scan)
    return plant, sheet, suite.count_samples(configuration)


def simulate(plant: Source, samples: int) -> Iterator[Block]:
    """Yield so many samples of a plant, in Blocks."""
    size = max(1, _BLOCK_VALUES // len(plant.loops))
    for start in range(0, samples, size):
        yield plant.advance(min(size, samples - start))


class SamplesHash:
    """The sha256 of samples as wide CSV, with which a suite is frozen."""

    def __init__(self, loops: Sequence[str]) -> None:
        self._encoder = WideCsv(loops, fields=FIELDS)
        self.header = self._encoder.header()
        self._sha256 = hashlib.sha256(self.header)

    def encode(self, block: Block) -> Iterator[bytes | memoryview]:
        """Yield the samples of a Block as wide CSV, hashed."""
        for part in self._encoder.encode_parts(block):
            self._sha256.update(part)
            yield part

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def simulate_as_frozen(suite: Suite, plant: Source, samples: int) -> Iterator[Block]:
    """Yield the Blocks of a suite.

    Parameters
    ----------
    suite : Suite
    plant : Source
        Its plant at the first sample.
    samples : int
        Samples of each loop.

    Raises
    ------
    BadInput
        After the last Block, if the samples are not those of the frozen suite.
    """
    samples_hash = SamplesHash(plant.loops)
    for block in simulate(plant, samples):
        if not suite.is_draft:
            for _ in samples_hash.encode(block):
                pass
        yield block
    if not suite.is_draft and samples_hash.hexdigest() != suite.sha256["samples"]:
        raise suite.report_differences(["samples"])


class TruthCollector:
    """Collects the ground truth of Blocks; a loop is observed from the first sample to the last."""

    def __init__(self) -> None:
        self._episodes = EpisodeCollector()
        self._loops: tuple[str, ...] = ()
        self._first = self._last = 0

    def add(self, block: Block) -> None:
        """Add the ground truth of the next Block."""
        self._episodes.add_block(block)
        if not self._loops:
            self._loops, self._first = block.loops, int(block.times[0])
        self._last = int(block.times[-1])

    def truth(self, interval: int) -> GroundTruth:
        """Return the ground truth; interval: between samples, ns."""
        return GroundTruth(tuple(self._episodes.finish(self._last + interval)),
                           dict.fromkeys(sorted(self._loops), ((self._first, self._last),)))


@dataclass(frozen=True, slots=True)
class Recording:
    """The samples of a suite on its sample times, and their ground truth.

    Attributes
    ----------
    sheet : sequence of LoopSheetRow
        One row for each of the N loops.
    times : array (T,)
        ns since 1970.
    pv, op, sp : array (T, N)
        Engineering units and %; NaN where there is no sample.
    is_automatic, is_received, is_good : array (T, N)
    truth : GroundTruth
    """

    sheet: Sequence[LoopSheetRow]
    times: npt.NDArray[np.int64]
    pv: Floats
    op: Floats
    sp: Floats
    is_automatic: npt.NDArray[np.bool_]
    is_received: npt.NDArray[np.bool_]
    is_good: npt.NDArray[np.bool_]
    truth: GroundTruth

    def cut(self, window: int) -> Iterator[tuple[int, int, list[LoopWindow]]]:
        """Yield start and end, ns, and all loops of each window of this length, ns; a remainder is left out."""
        interval = int(self.times[1] - self.times[0])
        size = min(window // interval, len(self.times))
        for start in range(0, len(self.times) - size + 1, size):
            part = slice(start, start + size)
            first = int(self.times[start])
            yield first, first + size * interval, [self._cut_window(part, i) for i in range(len(self.sheet))]

    def _cut_window(self, part: slice, i: int) -> LoopWindow:
        row = self.sheet[i]
        pv, op, sp = (fill_both_ways(signal[part, i:i + 1])[:, 0] for signal in (self.pv, self.op, self.sp))
        scale = 100.0 / (row.range_high - row.range_low)
        return LoopWindow(
            row.loop_id, row.area, row.type, row.interval, row.reset, (pv - row.range_low) * scale,
            (sp - row.range_low) * scale, op, self.is_automatic[part, i], self.is_received[part, i],
            self.is_good[part, i])


def record(suite: Suite) -> Recording:
    """Return the samples and the ground truth of a suite; raise BadInput if the samples are not as frozen."""
    plant, sheet, samples = open_plant(suite)
    truth, parts = TruthCollector(), []
    start = plant.next_time
    for block in simulate_as_frozen(suite, plant, samples):
        truth.add(block)
        parts.append(block)
    pv, op, sp, mode, quality = (np.concatenate([getattr(block, name) for block in parts])
                                 for name in ("pv", "op", "sp", "mode", "quality"))
    for block in parts:
        _place_arrivals(block, start, plant.interval, (pv, op, sp), quality)
    is_received = quality != _NOT_RECEIVED
    return Recording(sheet, np.concatenate([block.times for block in parts]), pv, op, sp, mode != MAN, is_received,
                     (quality == GOOD) | ~is_received, truth.truth(plant.interval))


def _place_arrivals(block: Block, start: int, interval: int, signals: Sequence[Floats],
                    quality: npt.NDArray[np.int16]) -> None:
    """Put what arrived of loops with a faulty data path on the nearest sample times, and NaN where nothing did."""
    arrivals = block.arrivals
    if arrivals is None:
        return
    row = (arrivals.times - start + interval // 2) // interval
    inside = (row >= 0) & (row < len(signals[0]))
    first = round((int(block.times[0]) - start) / interval)
    faulty = np.flatnonzero(arrivals.has_data_path_fault)
    for signal, name in zip(signals, ("pv", "op", "sp"), strict=True):
        signal[first:first + len(block), faulty] = np.nan
        signal[row[inside], arrivals.loop[inside]] = getattr(arrivals, name)[inside]
    quality[first:first + len(block), faulty] = _NOT_RECEIVED
    quality[row[inside], arrivals.loop[inside]] = arrivals.quality[inside]
