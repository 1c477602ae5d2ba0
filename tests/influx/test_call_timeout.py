"""Calls made aside: what they give, and how long anybody waits for them."""

from __future__ import annotations

import threading
import time

from clpm_execd.influx.call_timeout import Aside


def test_a_call_gives_what_it_gives_and_all_are_made_by_one_thread() -> None:
    aside = Aside()
    assert [aside(lambda k=k: k, 5.0) for k in range(3)] == [0, 1, 2]  # type: ignore[misc]
    assert len({aside(threading.get_ident, 5.0) for _ in range(3)} - {threading.get_ident()}) == 1


def test_a_call_that_hangs_is_left_behind_and_its_result_is_nobodys() -> None:
    aside, hanging, over = Aside(), threading.Event(), threading.Event()

    def hang() -> str:
        hanging.wait(10)
        over.set()
        return "late"

    begun = time.monotonic()
    assert aside(hang, 0.05) is None
    assert time.monotonic() - begun < 5.0
    assert aside(lambda: "next", 5.0) == "next"
    hanging.set()
    assert over.wait(5)
    assert aside(lambda: "after", 5.0) == "after"


def test_a_thread_that_is_let_go_ends() -> None:
    aside = Aside()
    thread = aside(threading.current_thread, 5.0)
    aside.leave()
    assert thread is not None
    thread.join(5)
    assert not thread.is_alive()
    assert aside(lambda: 1, 5.0) == 1
    aside.leave()
