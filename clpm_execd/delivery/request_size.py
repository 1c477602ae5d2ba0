"""How large a request may be: halved while requests do not get through, and raised again as they do.

A link of 8 kB/s, a server that takes long for each line, or a proxy that resets long requests lets no large request
through, however often it is sent. A first failure says nothing: it may be a restart, or a connection that was idle. The
second one of the same lines halves the limit.
"""

from __future__ import annotations

from clpm_execd.delivery.queue import MAX_BATCH_BYTES
from clpm_execd.influx.answer import Answer, TransportError

# A server or a proxy answers 408 to a request that comes too slowly, 502 and 504 when the server behind it is reset or
# too slow.
_STATUS_CODES = {408, 502, 504}
_ERRORS = {TransportError.TIMEOUT, TransportError.CONNECTION_LOST}
# A limit that failed is tried again after up to so many requests: each trial may cost two time-outs.
_MAX_REQUESTS_PER_RAISE = 16
_MAX_FAILED_LINES = 1000  # that are remembered; a bound on memory


def may_depend_on_size(answer: Answer) -> bool:
    """Return whether a smaller request might get through where this one did not."""
    return answer.status in _STATUS_CODES or answer.error in _ERRORS


class RequestSize:
    """The limit of a request, bytes of lines before compression; a single line is sent whatever its length."""

    def __init__(self) -> None:
        self.max_bytes = MAX_BATCH_BYTES
        self._failed_lines: set[bytes] = set()  # the first ones of parts that did not get through yet
        self._requests = 0  # that got through since the limit was changed
        self._requests_per_raise = 1

    @property
    def is_limited(self) -> bool:
        """Whether requests are smaller than a batch may be, because larger ones did not get through."""
        return self.max_bytes < MAX_BATCH_BYTES

    def note_failure(self, part: bytes) -> bool:
        """Note that a part did not get through; return whether that was its second time, so that the limit is lower."""
        first_line = _cut_first_line(part)
        is_second = first_line in self._failed_lines
        if len(self._failed_lines) == _MAX_FAILED_LINES:
            self._failed_lines.clear()
        self._failed_lines.add(first_line)
        if is_second and len(first_line) < len(part):
            self.max_bytes = max(1, len(part) // 2)
            self._requests = 0
            self._requests_per_raise = min(2 * self._requests_per_raise, _MAX_REQUESTS_PER_RAISE)
            return True
        return False

    def note_success(self, part: bytes) -> None:
        """Note that a part got through; after enough that were about as large as the limit, raise it by a quarter."""
        self._failed_lines.discard(_cut_first_line(part))
        if not self.is_limited or len(part) <= self.max_bytes // 2:
            return
        self._requests += 1
        if self._requests >= self._requests_per_raise:
            self.max_bytes = min(MAX_BATCH_BYTES, max(self.max_bytes, len(part)) * 5 // 4 + 1)
            self._requests = 0
            self._requests_per_raise = max(1, self._requests_per_raise // 2)


def _cut_first_line(part: bytes) -> bytes:
    return part[: part.index(b"\n") + 1]
