"""Evidence for a health check: a file of the state folder says when InfluxDB last acknowledged a write.

The file is written at most once a second, and nothing waits for it. If it cannot be written the stream goes on, and the
health check finds it unhealthy.
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
from clpm_execd.stored_names import ACKNOWLEDGEMENT, ACKNOWLEDGEMENT_FILE

WRITE_INTERVAL_S = 1.0  # the health check looks at minutes
# An acknowledgement counts for this long: four times the longest pause between two retries.
HEALTHY_FOR_S = 60.0
HEALTHY_FOR_INTERVALS = 3  # or this long, if samples are further apart


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The last write that InfluxDB acknowledged.

    Attributes
    ----------
    time : float
        When that was, s since 1970.
    interval : float
        The time between two samples of the stream, s.
    """

    time: float
    interval: float

    def is_recent(self, now: float) -> bool:
        """Whether the stream is healthy at this time, s since 1970; nothing is known after the clock was set back."""
        return -WRITE_INTERVAL_S <= now - self.time <= max(HEALTHY_FOR_S, HEALTHY_FOR_INTERVALS * self.interval)


def read_last_acknowledgement(state: Path) -> Acknowledgement | None:
    """Return the last acknowledgement by a state folder; None if there is none that can be read.

    Parameters
    ----------
    state : Path
        The state folder.
    """
    try:
        values = json.loads((state / ACKNOWLEDGEMENT_FILE).read_text(encoding="utf-8"))
        return Acknowledgement(**{attribute: float(values[key]) for key, attribute in ACKNOWLEDGEMENT.items()})
    except (OSError, ValueError, KeyError, TypeError):
        return None


class AcknowledgementRecorder:
    """A Writer that records when the writes of another one are acknowledged.

    Parameters
    ----------
    writer : Writer
        The other one.
    state : Path
        The state folder.
    interval : float
        The time between two samples of the stream, s.
    now : callable
        The clock, s since 1970.
    """

    def __init__(self, writer: Writer, state: Path, interval: float, now: Callable[[], float] = time.time) -> None:
        self._writer, self._path, self._interval = writer, state / ACKNOWLEDGEMENT_FILE, interval
        self._now = now
        self._recorded_at = float("-inf")

    def __call__(self, body: bytes) -> Answer:
        answer = self._writer(body)
        now = self._now()
        if answer.outcome is WriteOutcome.WRITTEN and abs(now - self._recorded_at) >= WRITE_INTERVAL_S:
            self._recorded_at = now
            with suppress(OSError):
                self._record(now)
        return answer

    def _record(self, now: float) -> None:
        # Not durable: after a power cut nobody asks whether the stream before it was healthy.
        acknowledgement = Acknowledgement(now, self._interval)
        text = json.dumps({key: getattr(acknowledgement, attribute) for key, attribute in ACKNOWLEDGEMENT.items()})
        write_atomically(self._path, text.encode(), durable=False, mode=DEFAULT_MODE)

    def close(self) -> None:
        self._writer.close()

    @property
    def target(self) -> str:
        return self._writer.target
