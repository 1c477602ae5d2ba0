"""What hands over Blocks: nothing that reads them can tell whether they come from the plant or from a record."""

from __future__ import annotations

from typing import Protocol

from clpm_execd.plant.block import Block
from clpm_execd.plant.snapshot import Memory


class Source(Protocol):
    """A supplier of consecutive Blocks: the plant, or a replayed record."""

    @property
    def loops(self) -> tuple[str, ...]:
        """The loop ids, in the order of a Block's columns."""

    @property
    def interval(self) -> int:
        """Between samples, ns."""

    @property
    def next_time(self) -> int:
        """The instant of the next sample, ns since 1970."""

    def advance(self, n: int) -> Block:
        """The next n samples; the cost is proportional to n and memory too, so ask for long runs in parts."""

    @property
    def resumed(self) -> frozenset[str]:
        """The loops that go on from the memory of another source."""

    def recall(self) -> Memory:
        """What another source needs to go on as this one would."""
