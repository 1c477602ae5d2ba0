"""Calls with a hard timeout: a worker thread makes them, and is abandoned with a call that hangs.

A name lookup has no timeout, nor has that of a proxy. The thread stays from call to call: starting one for each takes
longer than waking it, most of all on a machine whose processors are all busy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Calls = SimpleQueue[Callable[[], Any] | None]


class TimedCaller:
    """Makes one call after the other; they must not raise."""

    def __init__(self) -> None:
        self._calls: _Calls | None = None
        self._results: SimpleQueue[Any] = SimpleQueue()

    def __call__(self, call: Callable[[], T], timeout: float) -> T | None:
        """Return what the call returns; None if it takes longer than `timeout` s, and then it goes on by itself.

        Raises
        ------
        RuntimeError
            If there can be no more threads.
        """
        if self._calls is None:
            calls: _Calls = SimpleQueue()
            self._results = SimpleQueue()
            threading.Thread(target=_make_calls, args=(calls, self._results), daemon=True).start()
            self._calls = calls
        self._calls.put(call)
        try:
            result: T = self._results.get(timeout=timeout)
        except Empty:
            self.stop()
            return None
        return result

    def stop(self) -> None:
        """Let the thread end after the call that it is making."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _make_calls(calls: _Calls, results: SimpleQueue[Any]) -> None:
    while (call := calls.get()) is not None:
        results.put(call())
