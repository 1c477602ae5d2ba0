"""Waiting for file descriptors, whatever their numbers: `select` takes those below 1,024 only."""

from __future__ import annotations

import select
from collections.abc import Sequence


def wait_until_ready(read: Sequence[int], write: Sequence[int], seconds: float) -> set[int]:
    """Return the descriptors that can be read or written, after so many seconds at most; an invalid one is ready."""
    if not hasattr(select, "poll"):  # Windows
        readable, writable, _ = select.select(read, write, (), seconds)
        return {*readable, *writable}
    poll = select.poll()
    events = dict.fromkeys(read, select.POLLIN)
    for fd in write:
        events[fd] = events.get(fd, 0) | select.POLLOUT
    for fd, mask in events.items():
        poll.register(fd, mask)
    return {fd for fd, _ in poll.poll(seconds * 1000)}
