"""What hands over Blocks: nothing that reads them can tell whether they come from the plant or from a record."""

from __future__ import annotations

from typing import Protocol

from clpm_execd.plant.block import Block
from clpm_execd.plant.snapshot import Snapshot


class Source(Protocol):
    """A supplier of consecutive Blocks: the plant, or a record that is replayed."""

    @property
    def loops(self) -> tuple[str, ...]:
        """The loop ids, in the order of a Block's columns."""

    @property
    def interval(self) -> int:
        """The time between samples, ns."""

    @property
    def next_time(self) -> int:
        """The time of the next sample, ns since 1970."""

    @property
    def resumed_loops(self) -> frozenset[str]:
        """The ids of the loops that resume from the snapshot of another source."""

    def advance(self, n: int) -> Block:
        """Return the next samples, n >= 1 or fewer. Time and memory are proportional to n: ask for long runs in parts.

        Only a plant that is controlled while it runs returns fewer than n: those before its next change, at least one.
        """

    def snapshot(self) -> Snapshot:
        """Return what another source needs to go on as this one would."""
