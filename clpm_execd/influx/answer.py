"""What came of one request to InfluxDB, and what to do with its points."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum


class WriteOutcome(Enum):
    """What the answer to a write means for its points."""

    WRITTEN = "acknowledge"
    UNKNOWN = "keep and try again"
    DENIED = "keep, try again slowly; somebody must change token, permission or bucket"
    TOO_LARGE = "bisect"
    REJECTED = "bisect: some or all lines are rejected"


class TransportError(Enum):
    """Why there is no answer."""

    NONE = ""
    UNKNOWN_HOST = "unknown host name"
    CONNECTION_REFUSED = "connection refused"
    UNREACHABLE = "host unreachable"
    TLS = "TLS failed"
    PROXY = "proxy failed"
    TIMEOUT = "no answer in time"
    CONNECTION_LOST = "connection lost"
    TOKEN = "cannot read the token"
    OTHER = "request failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request, or why there is none.

    Attributes
    ----------
    status : int or None
        The HTTP status; None without an answer.
    message : str
        What the server or the system said; one line at most.
    retry_after : float
        For how long the server asks not to be called, s.
    error : TransportError
        Why there is no answer.
    server_time : float or None
        The server's clock, s since 1970; None if the answer does not tell it.
    """

    status: int | None
    message: str = ""
    retry_after: float = 0.0
    error: TransportError = TransportError.NONE
    server_time: float | None = None

    @property
    def outcome(self) -> WriteOutcome:
        """What the answer means if the request was a write."""
        if self.status == 204:
            return WriteOutcome.WRITTEN
        if self.status in (401, 403, 404):
            return WriteOutcome.DENIED
        if self.status == 413:
            return WriteOutcome.TOO_LARGE
        return WriteOutcome.REJECTED if self.status in (400, 422) else WriteOutcome.UNKNOWN

    def __str__(self) -> str:
        head = self.error.value if self.status is None else f"HTTP status {self.status}"
        if self.status is not None and 200 <= self.status < 400 and self.status != 204:
            head += " instead of 204, so not InfluxDB (a proxy or a login page?)"
        return f"{head}: {self.message}" if self.message else head


WriteFn = Callable[[bytes], Answer]


def parse_error_message(body: str) -> str:
    """Return the message of a server's error: in JSON what its authors call it, with its first detail; else all.

    Parameters
    ----------
    body : str
        The body of the error.
    """
    with suppress(ValueError, AttributeError):
        error = json.loads(body)
        message = str(error.get("message") or error.get("error") or body)
        with suppress(KeyError, IndexError, TypeError):
            message += f": {error['data'][0]['error_message']}"  # InfluxDB 3: what is wrong with the first line
        return message
    return body


def classify_failure(failure: BaseException) -> Answer:
    """Return what an exception of the client, of urllib3 or of the system means.

    Parameters
    ----------
    failure : BaseException
        What a request raised.

    Returns
    -------
    Answer
        One without a status.
    """
    causes = _collect_causes(failure)
    names = {type(cause).__name__ for cause in causes}
    system_error = next((cause for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    message = str(system_error.strerror) if system_error else ""
    if any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in causes):
        return Answer(None, "within TLS", error=TransportError.CONNECTION_LOST)  # reset, as a proxy does to long bodies
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "SSLError" in names:
        verification = (cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError))
        reason = next((cause.verify_message for cause in verification), "")
        return Answer(None, reason or message, error=TransportError.TLS)
    if "ProxyError" in names:
        return Answer(None, message, error=TransportError.PROXY)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Answer(None, message, error=TransportError.UNKNOWN_HOST)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Answer(None, "", error=TransportError.CONNECTION_REFUSED)
    if names & {"TimeoutError", "ReadTimeoutError", "ConnectTimeoutError"}:
        return Answer(None, "", error=TransportError.TIMEOUT)
    if "NewConnectionError" in names:
        return Answer(None, message, error=TransportError.UNREACHABLE)
    if names & {"ProtocolError", "RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}:
        return Answer(None, message, error=TransportError.CONNECTION_LOST)
    return Answer(None, f"{type(failure).__name__}: {failure}", error=TransportError.OTHER)


def _collect_causes(failure: BaseException) -> list[BaseException]:
    """Return a failure and all that it came from: urllib3 hides the system's error in `reason` and in arguments."""
    causes: list[BaseException] = []
    queue: list[object] = [failure]
    while queue:
        one = queue.pop(0)
        if isinstance(one, BaseException) and one not in causes:
            causes.append(one)
            queue += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]
    return causes
