"""A server for tests of queues, sender and direct stream: it answers by a rule and keeps what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clpm_execd.delivery.queue import split_lines
from clpm_execd.influx.answer import Answer

WRITTEN = Answer(204)


def lines(*values: int) -> bytes:
    """Return a line of loop A for each value, which is also its time."""
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


@dataclass
class AnsweringServer:
    """Answers each request by `rule`. A writer for the direct stream."""

    rule: Callable[[bytes], Answer] = lambda body: WRITTEN
    accepted: list[bytes] = field(default_factory=list)  # line by line
    requests: list[bytes] = field(default_factory=list)
    target: str = "http://influx.example:8086, organization 'o', bucket 'b'"

    def __call__(self, body: bytes) -> Answer:
        self.requests.append(body)
        answer = self.rule(body)
        if answer.status == 204:
            self.accepted += split_lines(body)
        return answer

    def close(self) -> None:
        pass
