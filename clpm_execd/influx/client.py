"""One write to InfluxDB, and what its answer means.

`Influx` sends ready line protocol through influxdb-client and gives back an `Answer`, whatever happens: no
exception leaves it, it is over within `timeout` seconds, and neither its answers nor its repr hold the token.
An answer counts as written only if it is a 204 whose headers came to their end.
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from clpm_execd.influx.call_timeout import Aside
from clpm_execd.urls import is_on_this_machine, without_secrets

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client import InfluxDBClient

TIMEOUT = 10.0  # s for one request in all: name, connection, TLS, sending and answer
COMPRESS_ABOVE = 1024  # bytes
MOST_WORDS = 64 * 1024  # bytes of an error's body that are read


class Verdict(Enum):
    """What to do with the points of a write."""

    WRITTEN = "acknowledge"
    UNKNOWN = "keep and try again"
    DENIED = "keep, try again slowly, somebody must change token, permission or bucket"
    TOO_LARGE = "halve"
    REFUSED = "some or all lines refused"


class Fault(Enum):
    """Why there is no answer."""

    NONE = ""
    NAME = "the host name is not known"
    CLOSED = "connection refused"
    UNREACHABLE = "not reachable"
    TLS = "TLS failed"
    PROXY = "the proxy failed"
    LATE = "no answer in time"
    CUT = "the connection broke off"
    TOKEN = "the token cannot be read"
    OTHER = "the write failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one write: an HTTP status, or None and a fault.

    words: what the server, or the system, said; at most a line. retry_after: s the server asks to be spared. date: the
    server's clock, s since 1970, None where it does not say.
    """

    status: int | None
    words: str = ""
    retry_after: float = 0.0
    fault: Fault = Fault.NONE
    date: float | None = None

    @property
    def verdict(self) -> Verdict:
        if self.status == 204:
            return Verdict.WRITTEN
        if self.status in (401, 403, 404):
            return Verdict.DENIED
        if self.status == 413:
            return Verdict.TOO_LARGE
        return Verdict.REFUSED if self.status in (400, 422) else Verdict.UNKNOWN

    def __str__(self) -> str:
        head = self.fault.value if self.status is None else f"HTTP status {self.status}"
        if self.status is not None and 200 <= self.status < 400 and self.status != 204:
            head += " instead of 204, so not InfluxDB (a proxy or a login page?)"
        return f"{head}: {self.words}" if self.words else head


Post = Callable[[bytes], Answer]


class Writer(Protocol):
    """Where a request goes; `Influx` is one."""

    def __call__(self, body: bytes) -> Answer:
        """Write these lines."""

    def close(self) -> None:
        """Let go of the connection."""

    @property
    def target(self) -> str:
        """What is written to, as it may be shown."""


class _Patience(io.RawIOBase):
    """A socket's bytes, all of them before a deadline.

    A socket's own timeout begins anew with every byte: a server that drips would be waited for without end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (sock.gettimeout() or TIMEOUT)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Remembers whether the last line read was the end of the stream."""

    at_end = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.at_end = not line
        return line


class WholeResponse(http.client.HTTPResponse):
    """A response whose headers have come to their blank line, or an exception.

    http.client takes the end of the stream for the end of the headers, and so `HTTP/1.1 204` and nothing more
    for a 204. The end is told from a blank line by what the last read of a line gave.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp: _Lines = _Lines(_Patience(sock))

    def begin(self) -> None:
        lines = self.fp
        super().begin()
        if lines.at_end:
            self.close()
            raise http.client.RemoteDisconnected("the answer broke off within its headers")


class _Wire:
    """Stands in for the client's pool manager, and keeps the answer before the client makes an error of it.

    The client decodes an error's body, looks into it and raises what comes of that (UnicodeDecodeError,
    KeyError), and then the status is gone. So it is shown the status and the headers with an empty body.
    """

    def __init__(self, pools: Any) -> None:
        from urllib3.connection import HTTPConnection, HTTPSConnection
        from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

        def whole(pool: type, connection: type) -> type:
            patient = type(connection.__name__, (connection,), {"response_class": WholeResponse})
            return type(pool.__name__, (pool,), {"ConnectionCls": patient})

        self._pools = pools
        pools.pool_classes_by_scheme = {
            "http": whole(HTTPConnectionPool, HTTPConnection),
            "https": whole(HTTPSConnectionPool, HTTPSConnection),
        }
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
        words = _body(response) or headers.get("X-Influxdb-Error", "") or str(response.reason or "")
        retry_after = _seconds(headers.get("Retry-After", ""))
        self.answer = Answer(response.status, words, retry_after, date=_date(headers.get("Date", "")))
        return HTTPResponse(b"", headers=headers, status=response.status, reason=response.reason)

    def clear(self) -> None:
        self._pools.clear()


def _body(response: Any) -> str:
    """What the server says in an error's body: its message, else how it begins; '' if it cannot be had."""
    try:
        raw = response.read(MOST_WORDS)
        if response.read(1):
            response.close()  # the rest is of no use, nor then is the connection
        response.release_conn()
    except Exception:  # a body cut off, badly compressed, late: the status stands without it
        response.close()
        return ""
    text: str = raw.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        text = str(said.get("message") or said.get("error") or text)
    except (ValueError, AttributeError):
        pass
    return text


def _seconds(retry_after: str) -> float:
    """A Retry-After header, seconds or a date, in seconds from now; 0 if it is neither."""
    try:
        return max(0.0, float(retry_after)) if retry_after.strip()[:1].isdigit() else _until(retry_after)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _until(date: str) -> float:
    return max(0.0, _instant(date) - time.time())


def _date(header: str) -> float | None:
    """A Date header, s since 1970; None if it is none."""
    try:
        return _instant(header)
    except (ValueError, TypeError, OverflowError):
        return None


def _instant(date: str) -> float:
    when = parsedate_to_datetime(date)
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()


def _causes(failure: BaseException) -> list[BaseException]:
    """A failure and all it came from: urllib3 hides the system's error in `reason` and in arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [failure]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]
    return found


def no_answer(failure: BaseException) -> Answer:
    """What an exception of the client, of urllib3 or of the system means."""
    causes = _causes(failure)
    names = {type(cause).__name__ for cause in causes}
    system = next((c for c in causes if isinstance(c, OSError) and c.strerror), None)
    words = str(system.strerror) if system else ""
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "SSLError" in names:
        verify = next((c.verify_message for c in causes if isinstance(c, ssl.SSLCertVerificationError)), "")
        return Answer(None, verify or words, fault=Fault.TLS)
    if "ProxyError" in names:
        return Answer(None, words, fault=Fault.PROXY)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Answer(None, words, fault=Fault.NAME)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Answer(None, "", fault=Fault.CLOSED)
    if names & {"TimeoutError", "ReadTimeoutError", "ConnectTimeoutError"}:
        return Answer(None, "", fault=Fault.LATE)
    if "NewConnectionError" in names:
        return Answer(None, words, fault=Fault.UNREACHABLE)
    if names & {"ProtocolError", "RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}:
        return Answer(None, words, fault=Fault.CUT)
    return Answer(None, f"{type(failure).__name__}: {failure}", fault=Fault.OTHER)


def _proxy(url: str) -> tuple[str | None, Mapping[str, str] | None]:
    """The proxy for a URL by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, and the headers it wants."""
    at = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(at.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(at.netloc.rpartition("@")[2]):
        return None, None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    user, _, address = parts.netloc.rpartition("@")
    headers = {"Proxy-Authorization": "Basic " + b64encode(unquote(user).encode()).decode()} if user else None
    return urlunsplit((parts.scheme, address, "", "", "")), headers


class BadToken(Exception):  # noqa: N818 - never seen outside
    """The token cannot be sent; does not say what it is."""


@dataclass
class Influx:
    """Writes to one bucket; call it with line protocol (bytes, ns) and it gives an Answer.

    token is asked for when the first write is made and again after a write was denied. ca_file: authorities
    to trust, PEM, in place of the system's or SSL_CERT_FILE's. timeout: s, for one write in all.
    """

    url: str
    org: str
    bucket: str
    token: Callable[[], str] = field(repr=False)
    timeout: float = TIMEOUT
    ca_file: str | None = None
    _client: InfluxDBClient | None = field(default=None, init=False, repr=False)
    _secret: str = field(default="", init=False, repr=False)
    _aside: Aside = field(default_factory=Aside, init=False, repr=False)

    def __repr__(self) -> str:
        return f"Influx({self.target})"

    @property
    def target(self) -> str:
        """What is written to, as it may be shown."""
        return f"{without_secrets(self.url)}, organization {self.org!r}, bucket {self.bucket!r}"

    def __call__(self, body: bytes) -> Answer:
        try:
            client = self._connect()
        except (BadToken, OSError, UnicodeError) as failure:
            return self.clean(Answer(None, str(failure), fault=Fault.TOKEN))
        except Exception as failure:  # a proxy's or a server's URL that is none
            return self.clean(Answer(None, f"{type(failure).__name__}: {failure}", fault=Fault.OTHER))
        # From outside: looking a name up knows no timeout, and each of a host's addresses has one of its own.
        given = self._aside(lambda: self._write(client, body), self.timeout)
        answer = self.clean(given) if given else Answer(None, f"{self.timeout:g} s", fault=Fault.LATE)
        if not given or answer.verdict is Verdict.DENIED:
            self._client = None  # the call left behind keeps its own; the next one reads the token again
        return answer

    def retention(self) -> int | None:
        """How long the bucket keeps a point, s, 0 for ever; None where the token may not read that."""

        def ask() -> int | None:
            with suppress(Exception), self.client() as client:
                buckets = client.buckets_api().find_buckets(name=self.bucket, org=self.org).buckets
                rules = [rule.every_seconds for bucket in buckets for rule in bucket.retention_rules or []]
                return next(iter(rules), 0 if buckets else None)
            return None

        return self._aside(ask, self.timeout)

    def close(self) -> None:
        """Let go of the connection."""
        self._aside.leave()
        client, self._client = self._client, None
        if client is not None:
            client.api_client.rest_client.pool_manager.clear()

    def _connect(self) -> InfluxDBClient:
        if self._client is None:
            self._client = self.client()
            rest: Any = self._client.api_client.rest_client
            rest.pool_manager = _Wire(rest.pool_manager)
        return self._client

    def client(self) -> InfluxDBClient:
        """A client of its own for whoever asks; BadToken, OSError or UnicodeError where the token cannot be used."""
        from influxdb_client.client.influxdb_client import InfluxDBClient

        self._secret = ""
        # With a newline every write fails, and the failure shows the token.
        secret = self.token().strip()
        if not (secret.isascii() and secret.isprintable()):
            raise BadToken("it holds characters that no token has")
        self._secret = secret
        proxy, headers = _proxy(self.url)
        limit = int(self.timeout * 1000)
        return InfluxDBClient(
            self.url, self._secret, org=self.org, timeout=limit, retries=False, connection_pool_maxsize=1,
            verify_ssl=True, ssl_ca_cert=self.ca_file, proxy=proxy, proxy_headers=headers,
        )  # fmt: skip

    def _write(self, client: InfluxDBClient, body: bytes) -> Answer:
        from influxdb_client.service.write_service import WriteService

        api: Any = client.api_client
        wire: _Wire = api.rest_client.pool_manager
        service: Any = WriteService(api)  # type: ignore[no-untyped-call]
        # On the machine itself there is no wire to spare, and packing and unpacking cost a third of the speed.
        packed = len(body) > COMPRESS_ABOVE and not is_on_this_machine(self.url)
        try:
            service.post_write_with_http_info(
                org=self.org, bucket=self.bucket, precision="ns", content_type="text/plain; charset=utf-8",
                body=gzip.compress(body, 1, mtime=0) if packed else body,
                content_encoding="gzip" if packed else "identity",
            )  # fmt: skip
        except Exception as failure:  # ApiException, urllib3's own, ...: what counts is on the wire
            return wire.answer or no_answer(wire.failure or failure)
        return wire.answer or Answer(None, "the client sent nothing", fault=Fault.OTHER)

    def clean(self, answer: Answer) -> Answer:
        """The same answer in one line of readable words, without the token."""
        words = answer.words.replace(self._secret, "***") if self._secret else answer.words
        words = " ".join("".join(c if c.isprintable() else " " for c in words[:1000]).split())[:300]
        return replace(answer, words=words)
