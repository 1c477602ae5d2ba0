"""A time range as Parquet: one file, or a folder with a file for each day or loop, and the ground truth beside it.

Nothing has its name before all of it is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clpm_execd.encoding.parquet import ParquetWriter, TruthWriter
from clpm_execd.outputs.generate import open_output
from clpm_execd.plant.block import Block
from clpm_execd.problems import BadInput, Problem
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.durable_file import make_write_error

_FILE_IN_FOLDER = "samples.parquet"


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """Samples as Parquet.

    Attributes
    ----------
    path : Path or None
        The file, or with a partition the folder. None for stdout.
    loops : sequence of str
        The ids, in the order of the Blocks' columns.
    fields : mapping of str to str
        The signal of the Block by the name of the column.
    modes : sequence of str
        The text of each mode, in the order of MODES.
    has_truth : bool
        Whether the samples have the columns `fault` and `visible`, and the rows of the ground truth a file beside
        them, except beside stdout.
    partition : str or None
        "day" or "loop".
    """

    path: Path | None
    loops: Sequence[str]
    fields: Mapping[str, str]
    modes: Sequence[str]
    has_truth: bool = False
    partition: str | None = None

    @property
    def signals(self) -> Collection[str]:
        return tuple(self.fields.values())

    @contextmanager
    def open(self, signals: Signals) -> Iterator[Callable[[Block], None]]:
        with ExitStack() as stack:
            writers: list[TruthWriter | ParquetWriter] = []
            if self.has_truth and self.path is not None:
                file = stack.enter_context(open_output(truth_path(self.path), signals))
                writers.append(stack.enter_context(TruthWriter(file)))
            writers.append(stack.enter_context(self._open_samples(stack, signals)))

            def write(block: Block) -> None:
                for writer in writers:
                    writer.write(block)

            yield write

    def _open_samples(self, stack: ExitStack, signals: Signals) -> ParquetWriter:
        if self.partition is None:
            file = stack.enter_context(open_output(self.path, signals))
            open_part: Callable[[str], BinaryIO] = lambda part: file  # noqa: E731
        else:
            assert self.path is not None
            open_part = stack.enter_context(_open_folder(self.path, signals))
        return ParquetWriter(open_part, self.loops, fields=self.fields, modes=self.modes, has_truth=self.has_truth,
                             partition=self.partition)


def truth_path(path: Path) -> Path:
    """Return the file of the ground truth beside a file or folder of samples: outside, as readers take all within."""
    return path.with_name(f"{path.name.removesuffix('.parquet')}.truth.parquet")


@contextmanager
def _open_folder(path: Path, signals: Signals) -> Iterator[Callable[[str], BinaryIO]]:
    """Yield what opens the file of a part; the folder takes its name at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    _allow_many_files()
    try:
        _refuse_existing(path)
        temporary.mkdir()
        try:
            with ExitStack() as files:
                yield lambda part: files.enter_context(_create(temporary / part / _FILE_IN_FOLDER))
            if not signals.should_stop:
                os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise make_write_error(f"--output {path}", error) from None


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir()
    return path.open("wb")


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise BadInput([Problem(f"--output {path}", "exists already", "name a new folder, or remove that one")])


def _allow_many_files() -> None:
    """Let this process have as many files open as its user may: each loop or day has one."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
