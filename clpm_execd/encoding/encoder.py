"""What every output expects of an encoder: Blocks in, bytes of complete lines out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from clpm_execd.plant.block import Block


class Encoder(Protocol):
    """An encoder of one stream, whose Blocks have the same loops."""

    @property
    def signals(self) -> Collection[str]:
        """Return the signals of a Block that are written; the others need not exist."""

    def header(self) -> bytes:
        """Return what stands once, before the first line."""

    def encode(self, block: Block) -> bytes:
        """Return a Block as complete lines.

        Parameters
        ----------
        block : Block
            The Block that follows the last one.

        Returns
        -------
        bytes
            The lines, each with its LF; empty if no sample of the Block has a value.

        Raises
        ------
        ValueError
            The Block has other loops than the encoder was made for.
        """

    def encode_parts(self, block: Block) -> Iterable[bytes | memoryview]:
        """Yield what `encode` returns in parts, which saves a copy where all of them are written to one file."""

    def snapshot(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the state between two Blocks, as arrays by the names they have in a checkpoint."""

    def restore(self, state: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        """Go on with the stream of another encoder, before the first Block.

        Parameters
        ----------
        state : mapping of str to array
            A snapshot of that encoder.
        loops : collection of str
            The ids of the loops that go on; the others start.
        """
