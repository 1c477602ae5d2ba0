"""What lies between influxdb-client and the network, so that a request ends in time and no part of its answer is lost.

A response counts only if its headers came to their end, all of it must arrive before a deadline, and the answer is
stored before the client makes an exception of it.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from contextlib import suppress
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from clpm_execd.influx.answer import Answer, parse_error_message
from clpm_execd.urls import remove_secrets

DEFAULT_TIMEOUT_S = 10.0  # the limit of a request in all: name, connection, TLS, sending and answer
MAX_MESSAGE_BYTES = 64 * 1024  # of an error's body that are read


class DeadlineReader(io.RawIOBase):
    """The bytes of a socket, all of them before a deadline.

    The timeout of a socket starts again with every byte: a server that drips would be waited for without end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (sock.gettimeout() or DEFAULT_TIMEOUT_S)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class EofAwareReader(io.BufferedReader):
    """Remembers whether the last line that was read was the end of the stream."""

    is_at_end = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.is_at_end = not line
        return line


class FinalResponse(http.client.HTTPResponse):
    """The final response to a request: interim ones, such as 102 and 103, are skipped (RFC 9110, section 15.2).

    http.client skips none but 100, and takes another one for the answer.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        while 100 <= status < 200 and status != HTTPStatus.SWITCHING_PROTOCOLS:
            http.client.parse_headers(self.fp)
            version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, status, reason


class CompleteResponse(FinalResponse):
    """A response whose headers have come to their blank line, or an exception.

    http.client takes the end of the stream for the end of the headers, and so `HTTP/1.1 204` and nothing more for a
    204. What the last read of a line gave tells the end of the stream from a blank line.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp: EofAwareReader = EofAwareReader(DeadlineReader(sock))

    def begin(self) -> None:
        reader = self.fp
        super().begin()
        if reader.is_at_end:
            self.close()
            raise http.client.RemoteDisconnected("the answer broke off within its headers")


def set_response_class(pools: Any, response_class: type[http.client.HTTPResponse]) -> None:
    """Let the connections of a pool manager of urllib3 read their responses with this class."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def patch(pool: type, connection: type) -> type:
        patched = type(connection.__name__, (connection,), {"response_class": response_class})
        return type(pool.__name__, (pool,), {"ConnectionCls": patched})

    pools.pool_classes_by_scheme = {
        "http": patch(HTTPConnectionPool, HTTPConnection), "https": patch(HTTPSConnectionPool, HTTPSConnection),
    }


class CapturingPoolManager:
    """Stands in for the pool manager of the client, and keeps the answer before the client makes an error of it.

    The client decodes the body of an error, looks into it and raises what comes of that (UnicodeDecodeError, KeyError),
    and then the status is lost. So it is given the status and the headers with an empty body.
    """

    def __init__(self, pools: Any) -> None:
        self._pools = pools
        set_response_class(pools, CompleteResponse)
        self.answer: Answer | None = None
        self.failure: Exception | None = None

    def request(self, method: str, url: str, **options: Any) -> Any:
        from urllib3 import HTTPResponse

        self.answer = self.failure = None
        try:
            options |= {"preload_content": False, "redirect": False}
            response = self._pools.request(method, url, **options)
        except Exception as failure:
            self.failure = failure
            raise
        headers = response.headers
        message = _read_message(response) or headers.get("X-Influxdb-Error", "") or str(response.reason or "")
        if 300 <= response.status < 400 and "Location" in headers:
            with suppress(ValueError):  # a Location that is no URL
                message = f"it redirects to {remove_secrets(headers['Location'])}"
        retry_after = _parse_retry_after(headers.get("Retry-After", ""))
        self.answer = Answer(response.status, message, retry_after, server_time=_parse_date(headers.get("Date", "")))
        return HTTPResponse(b"", headers=headers, status=response.status, reason=response.reason)

    def clear(self) -> None:
        self._pools.clear()


def _read_message(response: Any) -> str:
    """Return the message in the body of an error, else how the body begins; '' if it cannot be read."""
    try:
        raw = response.read(MAX_MESSAGE_BYTES)
        if response.read(1):
            response.close()  # the remainder is of no use, and so the connection is not either
        response.release_conn()
    except Exception:  # a body that is cut off, badly compressed or late: the status counts without it
        response.close()
        return ""
    return parse_error_message(raw.decode("utf-8", "replace"))


def _parse_retry_after(header: str) -> float:
    """Return the seconds from now of a Retry-After header, which is a number or a date; 0 if it is neither."""
    try:
        if header.strip()[:1].isdigit():
            return max(0.0, float(header))
        return max(0.0, _parse_http_date(header) - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _parse_date(header: str) -> float | None:
    """Return the time of a Date header, s since 1970; None if it is none."""
    try:
        return _parse_http_date(header)
    except (ValueError, TypeError, OverflowError):
        return None


def _parse_http_date(date: str) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
