"""Calls with a timeout: what they return, and that one that hangs holds up nobody."""

from __future__ import annotations

import threading
import time

from clpm_execd.influx.call_timeout import TimedCaller


def test_one_thread_makes_all_calls_and_returns_their_results() -> None:
    caller = TimedCaller()
    assert [caller(lambda k=k: k, 5.0) for k in range(3)] == [0, 1, 2]  # type: ignore[misc]
    assert len({caller(threading.get_ident, 5.0) for _ in range(3)} - {threading.get_ident()}) == 1


def test_a_call_that_hangs_is_abandoned_and_its_result_is_dropped() -> None:
    caller, hanging, over = TimedCaller(), threading.Event(), threading.Event()

    def hang() -> str:
        hanging.wait(10)
        over.set()
        return "late"

    start = time.monotonic()
    assert caller(hang, 0.05) is None
    assert time.monotonic() - start < 5.0
    assert caller(lambda: "next", 5.0) == "next"
    hanging.set()
    assert over.wait(5)
    assert caller(lambda: "after", 5.0) == "after"


def test_the_thread_ends_when_it_is_stopped() -> None:
    caller = TimedCaller()
    thread = caller(threading.current_thread, 5.0)
    caller.stop()
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
    assert caller(lambda: 1, 5.0) == 1
    caller.stop()
