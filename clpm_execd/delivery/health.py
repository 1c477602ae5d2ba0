"""Evidence for a health check: when InfluxDB last acknowledged points, in a file of the state folder.

Written at most once a second and never waited for; a file that cannot be written is no fault of the stream, and is
seen as ill by whoever looks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.influx.answer import Answer, WriteOutcome
from clpm_execd.influx.client import Writer
from clpm_execd.state.durable_file import DEFAULT_MODE, write_atomically

NAME = "acknowledged"
EVERY = 1.0  # s between two writings
FRESH = 60.0  # s for which an acknowledgement counts, and longer where samples are further apart
INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """when: s since 1970. interval: between samples, s."""

    when: float
    interval: float

    @property
    def fresh_for(self) -> float:
        """Seconds."""
        return max(FRESH, INTERVALS * self.interval)


def last_acknowledged(folder: Path) -> Acknowledged | None:
    """What the file in a state folder says; None where there is none that can be read."""
    try:
        said = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Acknowledged(float(said["when"]), float(said["interval"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Heartbeat:
    """A Writer that notes what another one gets acknowledged.

    folder: where the file is kept. interval: between samples, s. seconds: the clock, since 1970.
    """

    def __init__(self, writer: Writer, folder: Path, interval: float,
                 seconds: Callable[[], float] = time.time) -> None:
        self._writer, self._path, self._interval = writer, folder / NAME, interval
        self._seconds = seconds
        self._noted = float("-inf")

    def __call__(self, body: bytes) -> Answer:
        answer = self._writer(body)
        now = self._seconds()
        if answer.outcome is WriteOutcome.WRITTEN and abs(now - self._noted) >= EVERY:
            self._noted = now
            with suppress(OSError):
                self._note(now)
        return answer

    def _note(self, now: float) -> None:
        # Not durable: after a power cut nobody asks whether the stream before it was healthy.
        text = json.dumps({"when": now, "interval": self._interval})
        write_atomically(self._path, text.encode(), durable=False, mode=DEFAULT_MODE)

    def close(self) -> None:
        self._writer.close()

    @property
    def target(self) -> str:
        return self._writer.target
