"""What every output expects of an encoder: Blocks in, bytes of complete lines out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from clpm_execd.plant.block import Block


class Encoder(Protocol):
    """What turns Blocks into bytes for a stream or a file."""

    @property
    def signals(self) -> Collection[str]:
        """Those of the Block that are written."""

    def header(self) -> bytes:
        """What stands once, before everything else."""

    def encode(self, block: Block) -> bytes:
        """The block as whole lines; empty when it holds nothing to say."""

    def parts(self, block: Block) -> Iterable[bytes | memoryview]:
        """The same one part after the other, which spares who writes many at once their copy."""

    def recall(self) -> Mapping[str, npt.NDArray[Any]]:
        """What it remembers from Block to Block, as arrays by name."""

    def restore(self, told: Mapping[str, npt.NDArray[Any]], loops: Collection[str]) -> None:
        """Go on with the stream of an encoder that recalled this, for these loops; the others begin."""
