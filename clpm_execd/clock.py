"""What a loop that waits depends on: the time, and a request to stop. Both are arguments, so that no test waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Clock(Protocol):
    """Time as a stream reads it, in ns; nothing sleeps except through `wait`."""

    @property
    def machine_clock(self) -> Clock:
        """The clock of the machine, which this one never passes: itself, unless it runs faster than time."""

    def now(self) -> int:
        """Return the wall-clock time, ns since 1970."""

    def elapsed(self) -> int:
        """Return the time of a monotonic clock, which nobody sets: ns since some moment."""

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        """Wait until one of these file descriptors is ready, ns at most.

        Parameters
        ----------
        ns : int
            The longest wait; 0 or less only looks.
        read, write : sequence of int
            Descriptors that are ready once they can be read, or written.

        Returns
        -------
        set of int
            The descriptors that are ready; empty if the time is over.
        """


class StopRequest(Protocol):
    """Whether the process was asked to stop."""

    @property
    def should_stop(self) -> bool:
        """Return whether it was."""

    @property
    def fd(self) -> int:
        """Return the file descriptor that becomes readable when the process is asked for something."""
