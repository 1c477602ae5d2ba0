"""Calls that nobody waits for longer than he says: made by a thread of their own, left behind with one that hangs.

A name that is looked up, or a proxy that is, knows no timeout. The thread stays from call to call: to make one for each
takes longer than to wake it, most of all on a machine whose processors are all in use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Calls = SimpleQueue[Callable[[], Any] | None]


class Aside:
    """Makes one call after the other; they must not raise."""

    def __init__(self) -> None:
        self._calls: _Calls | None = None
        self._results: SimpleQueue[Any] = SimpleQueue()

    def __call__(self, call: Callable[[], T], seconds: float) -> T | None:
        """What the call gives; None if it takes longer than that, and then it goes on by itself."""
        if self._calls is None:
            self._calls, self._results = SimpleQueue(), SimpleQueue()
            threading.Thread(target=_make, args=(self._calls, self._results), daemon=True).start()
        self._calls.put(call)
        try:
            result: T = self._results.get(timeout=seconds)
        except Empty:
            self.leave()
            return None
        return result

    def leave(self) -> None:
        """Let the thread end, after the call that it is in."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _make(calls: _Calls, results: SimpleQueue[Any]) -> None:
    while (call := calls.get()) is not None:
        results.put(call())
