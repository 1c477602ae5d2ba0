"""A suite as files: samples, loop sheet, ground truth, and a manifest with their sha256.

The hash that names a suite is that of its samples as wide CSV, whatever the format of the file, so that `sha256sum`
checks it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from clpm_execd.benchmark.suite import Suite
from clpm_execd.benchmark.suite_recording import FIELDS, SamplesHash, TruthCollector, open_plant, simulate
from clpm_execd.encoding.csv import LongCsv
from clpm_execd.encoding.sheet_formats import format_sheet_as_csv
from clpm_execd.extras import require
from clpm_execd.plant.block import Block
from clpm_execd.problems import BadInput, Problem
from clpm_execd.score import GroundTruth
from clpm_execd.score.truth_table import format_truth_table
from clpm_execd.state.durable_file import make_write_error, open_atomically
from clpm_execd.version import __version__

MANIFEST, LOOP_SHEET, TRUTH = "manifest.json", "loops.csv", "truth.csv"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a data folder holds, and the surroundings that it was made in.

    samples_sha256 is that of the samples as wide CSV, and truth_sha256 that of truth.csv; files has the sha256 of each
    file by name.
    """

    suite: str
    is_draft: bool
    samples_sha256: str
    truth_sha256: str
    files: dict[str, str]
    version: str
    numpy: str
    machine: str

    def differences(self, suite: Suite) -> list[str]:
        """Return which parts do not have the hash of the frozen suite: none for a draft."""
        hashes = {"samples": self.samples_sha256, "truth": self.truth_sha256}
        return [name for name, checksum in suite.sha256.items() if hashes[name] != checksum]


def write_dataset(suite: Suite, folder: Path, *, form: str = "csv", layout: str = "wide",
                  should_stop: Callable[[], bool] = lambda: False) -> Manifest:
    """Write the data of a suite into a folder and return their manifest.

    Parameters
    ----------
    suite : Suite
    folder : Path
        It is made if it does not exist; files in it are replaced.
    form : {"csv", "parquet"}
    layout : {"wide", "long"}
        A row per sample, or a row per value.
    should_stop : callable
        Where it returns True, no file gets its name.

    Raises
    ------
    BadInput
        The folder cannot be written, or pyarrow is missing for Parquet.
    """
    if form == "parquet":
        require("parquet", "pyarrow")
    samples_path = folder / f"samples.{form}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_atomically(samples_path, lambda: not should_stop()) as file:
            samples_sha256, file_sha256, truth, sheet = _write_samples(suite, file, form, layout, should_stop)
        texts = {LOOP_SHEET: sheet, TRUTH: truth}
        files = {samples_path.name: file_sha256,
                 **{name: _compute_sha256(text.encode()) for name, text in texts.items()}}
        manifest = Manifest(suite.name, suite.is_draft, samples_sha256, files[TRUTH], files, __version__,
                            np.__version__, platform.machine())
        texts[MANIFEST] = json.dumps(asdict(manifest), indent=2) + "\n"
        with ExitStack() as stack:
            for name, text in texts.items():
                stack.enter_context(open_atomically(folder / name, lambda: not should_stop())).write(text.encode())
    except OSError as error:
        raise make_write_error(f"--output {folder}", error) from None
    return manifest


def _write_samples(suite: Suite, file: BinaryIO, form: str, layout: str, should_stop: Callable[[], bool]
                   ) -> tuple[str, str, str, str]:
    """Write the samples; return the sha256 as wide CSV and of the file, and the texts of truth and loop sheet."""
    plant, sheet, samples = open_plant(suite)
    samples_hash, output = SamplesHash(plant.loops), _HashingFile(file)
    is_canonical = (form, layout) == ("csv", "wide")
    truth = TruthCollector()
    with _open_writer(output, plant.loops, form, layout) as write:
        if is_canonical:
            output.write(samples_hash.header)
        for block in simulate(plant, samples):
            if should_stop():
                break
            truth.add(block)
            for part in samples_hash.encode(block):
                if is_canonical:
                    output.write(part)
            if not is_canonical:
                write(block)
    ground_truth = truth.truth(plant.interval)
    text = format_truth_table(ground_truth.episodes, ground_truth.observation)
    return samples_hash.hexdigest(), output.hexdigest(), text, format_sheet_as_csv(sheet)


@contextmanager
def _open_writer(file: _HashingFile, loops: tuple[str, ...], form: str, layout: str
                 ) -> Iterator[Callable[[Block], None]]:
    """Yield what writes a Block in this form; of wide CSV it does nothing."""
    if form == "parquet":
        from clpm_execd.encoding.parquet import ParquetWriter

        with ParquetWriter(lambda part: cast(BinaryIO, file), loops, fields=FIELDS,
                           is_long=layout == "long") as writer:
            yield writer.write
    elif layout == "wide":
        yield lambda block: None
    else:
        encoder = LongCsv(loops, fields=FIELDS)
        file.write(encoder.header())
        yield lambda block: file.writelines(encoder.encode_parts(block))


class _HashingFile:
    """A file that is written and hashed at once."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha256, self._size = file, hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> int:
        self._sha256.update(data)
        self._size += len(data)
        return self._file.write(data)

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def tell(self) -> int:
        return self._size

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leave the file open for its owner."""


def _compute_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def check_truth(suite: Suite, truth: GroundTruth) -> GroundTruth:
    """Return the ground truth of a suite as it was simulated.

    Parameters
    ----------
    suite : Suite
    truth : GroundTruth
        What was simulated.

    Raises
    ------
    BadInput
        It is not that of the frozen suite.
    """
    text = format_truth_table(truth.episodes, truth.observation)
    if not suite.is_draft and _compute_sha256(text.encode()) != suite.sha256["truth"]:
        raise suite.report_differences(["truth"])
    return truth


def check_truth_file(folder: Path, suite: Suite) -> Path:
    """Return the path of a suite's ground truth in a data folder.

    Parameters
    ----------
    folder : Path
        What `write_dataset` wrote.
    suite : Suite

    Raises
    ------
    BadInput
        It is not a data folder of this suite, the file was changed, or the data are not those of the frozen suite.
    """
    path, where = folder / TRUTH, f"--data {folder}"
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_bytes()))
        checksum = _compute_sha256(path.read_bytes())
    except (OSError, ValueError, TypeError):
        raise BadInput([Problem(where, "is not a data folder of the benchmark",
                                "name one that `clpm-execd benchmark data` wrote")]) from None
    if manifest.suite != suite.name:
        raise BadInput([Problem(where, f"holds {manifest.suite}, not {suite.name}", "name the folder of that suite")])
    if checksum != manifest.truth_sha256:
        raise BadInput([Problem(str(path), f"has another sha256 than in {MANIFEST}", "write the data again")])
    if differences := manifest.differences(suite):
        raise suite.report_differences(differences)
    return path
