"""A clock that no test has to wait for."""

from __future__ import annotations

from collections.abc import Sequence


class FakeClock:
    """Time passes only while somebody waits, and where the test says so. start: ns since 1970."""

    def __init__(self, start: int = 0) -> None:
        self._wall_offset = start
        self.time = 0  # ns since the start, by a clock that nobody sets

    @property
    def machine_clock(self) -> FakeClock:
        return self

    def now(self) -> int:
        return self._wall_offset + self.time

    def elapsed(self) -> int:
        return self.time

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        self.time += max(ns, 1)
        return set()

    def step(self, ns: int) -> None:
        """Set the wall clock forward, or back by a negative number; the monotonic clock takes no part in it."""
        self._wall_offset += ns
