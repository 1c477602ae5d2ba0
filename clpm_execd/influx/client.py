"""Writes to one bucket of InfluxDB, each of them answered in time and never by an exception.

`InfluxClient` sends ready line protocol through influxdb-client and returns an `Answer`, whatever happens. Neither its
answers nor its repr hold the token. An answer counts as written only if it is a 204 whose headers came to their end.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode

from clpm_execd.influx.answer import Answer, TransportError, WriteOutcome, classify_failure
from clpm_execd.influx.call_timeout import TimedCaller
from clpm_execd.influx.transport import DEFAULT_TIMEOUT_S, CapturingPoolManager, FinalResponse, set_response_class
from clpm_execd.problems import BadInput
from clpm_execd.proxies import find_proxy
from clpm_execd.urls import is_on_this_machine, remove_secrets

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client import InfluxDBClient

T = TypeVar("T")

MIN_COMPRESSED_BYTES = 1024  # a smaller body fits into a packet or two anyway
# Level 1 takes 0.5 ms for 185 kB; the client's own compression is level 9 and takes four times as long.
GZIP_LEVEL = 1
MAX_MESSAGE_LENGTH = 300  # characters, so that a log line stays one
CONTENT_TYPE = "text/plain; charset=utf-8"
_NO_SUCH_PATH = "404 page not found"  # how Go's servers, InfluxDB before 1.8 among them, answer for an unknown path


class Writer(Protocol):
    """Where a request goes; `InfluxClient` is one."""

    def __call__(self, body: bytes) -> Answer:
        """Write these lines."""

    def close(self) -> None:
        """Close the connection."""

    @property
    def target(self) -> str:
        """Where the lines go, for a log or a message."""


class UnusableToken(Exception):  # noqa: N818 - what the token is, not what the program did wrong
    """The token cannot be sent; the message does not quote it."""


@dataclass
class InfluxClient:
    """Writes to one bucket; call it with line protocol (bytes, timestamps in ns) and it returns an Answer.

    Parameters
    ----------
    url : str
        Where InfluxDB listens.
    org, bucket : str
        The organization and the bucket.
    token : callable
        Returns the token. It is asked for the first write, and again after a write was denied. For a server without
        tokens it is USER:PASSWORD.
    timeout : float
        The limit of one request in all, s.
    ca_file : str or None
        Certificate authorities to trust, PEM, in place of the system's or those of SSL_CERT_FILE.
    """

    url: str
    org: str
    bucket: str
    token: Callable[[], str] = field(repr=False)
    timeout: float = DEFAULT_TIMEOUT_S
    ca_file: str | None = None
    _client: InfluxDBClient | None = field(default=None, init=False, repr=False)
    _secret: str = field(default="", init=False, repr=False)
    _accepts_gzip: bool = field(default=True, init=False, repr=False)
    _has_v2_write: bool = field(default=True, init=False, repr=False)
    _caller: TimedCaller = field(default_factory=TimedCaller, init=False, repr=False)

    def __repr__(self) -> str:
        return f"InfluxClient({self.target})"

    @property
    def target(self) -> str:
        """Where the lines go, for a log or a message."""
        return f"{remove_secrets(self.url)}, organization {self.org!r}, bucket {self.bucket!r}"

    def __call__(self, body: bytes) -> Answer:
        try:
            client = self._connect()
        except (UnusableToken, OSError, UnicodeError) as failure:
            return self.redact(Answer(None, str(failure), error=TransportError.TOKEN))
        except BadInput as bad:  # an unusable proxy
            return Answer(None, str(bad), error=TransportError.PROXY)
        except Exception as failure:  # a URL that is none
            return self.redact(Answer(None, f"{type(failure).__name__}: {failure}", error=TransportError.OTHER))
        # Timed from outside: a name lookup has no timeout, and each address of a host has one of its own.
        try:
            result = self._caller(lambda: self._write(client, body), self.timeout)
        except RuntimeError as failure:  # no more threads
            return Answer(None, str(failure), error=TransportError.OTHER)
        answer = self.redact(result) if result else Answer(None, f"{self.timeout:g} s", error=TransportError.TIMEOUT)
        if not result or answer.outcome is WriteOutcome.DENIED:
            self._client = None  # an abandoned call keeps this client; the next one reads the token again
        return answer

    def call_in_time(self, call: Callable[[], T]) -> T | None:
        """Return what a call returns that sends requests; None if it takes longer than the timeout.

        Parameters
        ----------
        call : callable
            It may not raise.
        """
        with suppress(RuntimeError):  # no more threads
            return self._caller(call, self.timeout)
        return None

    def read_retention(self) -> int | None:
        """Return how long the bucket keeps a point, s; 0 for ever, None if the token may not read that."""
        with suppress(Exception), self.make_client() as client:
            buckets = self._find_bucket(client)
            rules = [rule.every_seconds for bucket in buckets for rule in bucket.retention_rules or []]
            return next(iter(rules), 0 if buckets else None)
        return None

    def _find_bucket(self, client: InfluxDBClient) -> list[Any]:
        """Return the bucket as the server describes it: a write takes names and ids, this request one of the two."""
        api: Any = client.buckets_api()
        for org, bucket in product(_list_keys(self.org, "org", "org_id"), _list_keys(self.bucket, "name", "id")):
            with suppress(Exception):  # no such name, or no permission
                if buckets := api.find_buckets(**{org: self.org, bucket: self.bucket}).buckets:
                    return list(buckets)
        return []

    def close(self) -> None:
        """Close the connection."""
        self._caller.stop()
        client, self._client = self._client, None
        if client is not None:
            client.api_client.rest_client.pool_manager.clear()

    def make_client(self) -> InfluxDBClient:
        """Return a new client of influxdb-client.

        Raises
        ------
        UnusableToken, OSError, UnicodeError
            If the token cannot be read or sent.
        BadInput
            If the environment names an unusable proxy.
        """
        from influxdb_client.client.influxdb_client import InfluxDBClient

        self._secret = ""
        # With a newline in it every write fails, and the failure shows the token.
        secret = self.token().strip()
        if not (secret.isascii() and secret.isprintable()):
            raise UnusableToken("it has characters that no token has")
        self._secret = secret
        proxy = find_proxy(self.url)
        timeout_ms = int(self.timeout * 1000)
        client = InfluxDBClient(
            self.url, self._secret, org=self.org, timeout=timeout_ms, retries=False, connection_pool_maxsize=1,
            verify_ssl=True, ssl_ca_cert=self.ca_file,
            proxy=proxy.url if proxy else None, proxy_headers=proxy.headers if proxy else None,
        )
        rest: Any = client.api_client.rest_client
        set_response_class(rest.pool_manager, FinalResponse)
        return client

    def redact(self, answer: Answer) -> Answer:
        """Return the same answer with a message of one printable line, without the token."""
        message = answer.message.replace(self._secret, "***") if self._secret else answer.message
        message = "".join(c if c.isprintable() else " " for c in message[:1000])
        return replace(answer, message=" ".join(message.split())[:MAX_MESSAGE_LENGTH])

    def use_password(self, client: InfluxDBClient) -> bool:
        """Send the token as a user name and a password from now on; return False if it has another form or was so sent.

        Parameters
        ----------
        client : InfluxDBClient
            The client of `make_client` whose token the server refused.
        """
        api: Any = client.api_client
        credentials = "Basic " + base64.b64encode(self._secret.encode()).decode()
        if ":" not in self._secret or api.default_headers["Authorization"] == credentials:
            return False
        api.set_default_header("Authorization", credentials)
        return True

    def _connect(self) -> InfluxDBClient:
        if self._client is None:
            self._client = self.make_client()
            self._has_v2_write = True
            rest: Any = self._client.api_client.rest_client
            rest.pool_manager = CapturingPoolManager(rest.pool_manager)
        return self._client

    def _write(self, client: InfluxDBClient, body: bytes) -> Answer:
        """Return the answer to the first request whose form the server knows."""
        api: Any = client.api_client
        pools: CapturingPoolManager = api.rest_client.pool_manager
        # On one machine there is no network to relieve, and compression at both ends costs a third of the speed.
        is_compressed = self._accepts_gzip and len(body) > MIN_COMPRESSED_BYTES and not is_on_this_machine(self.url)
        contents = gzip.compress(body, GZIP_LEVEL, mtime=0) if is_compressed else body
        failure = Answer(None, "the client sent nothing", error=TransportError.OTHER)
        try:
            (self._post_v2 if self._has_v2_write else self._post_v1)(client, contents, "gzip" if is_compressed else
                                                                     "identity")
        except Exception as error:  # ApiException, urllib3's own, ...: what counts is the response in the pools
            # The error is not kept: it would keep this frame, and so the body, until the garbage collector runs.
            failure = classify_failure(pools.failure or error)
        if pools.answer:
            return self._write(client, body) if self._adapt(client, pools.answer, is_compressed) else pools.answer
        return failure

    def _adapt(self, client: InfluxDBClient, answer: Answer, is_compressed: bool) -> bool:
        """Return whether the request is to be sent again in another form, and remember that form."""
        if answer.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE and is_compressed:
            self._accepts_gzip = False  # a front of the server does not know it
            return True
        if answer.status == HTTPStatus.NOT_FOUND and answer.message.strip() == _NO_SUCH_PATH:
            # If there is no /write either, a proxy answers in place of a server that is down.
            self._has_v2_write = not self._has_v2_write
            return not self._has_v2_write
        return answer.status == HTTPStatus.UNAUTHORIZED and self.use_password(client)

    def _post_v2(self, client: InfluxDBClient, body: bytes, encoding: str) -> None:
        from influxdb_client.service.write_service import WriteService

        service: Any = WriteService(client.api_client)  # type: ignore[no-untyped-call]
        service.post_write_with_http_info(org=self.org, bucket=self.bucket, precision="ns", body=body,
                                          content_type=CONTENT_TYPE, content_encoding=encoding)

    def _post_v1(self, client: InfluxDBClient, body: bytes, encoding: str) -> None:
        """Write as to InfluxDB before 1.8: the bucket is a database, or DATABASE/RETENTION_POLICY as in 1.8."""
        from urllib3 import Timeout

        api: Any = client.api_client
        database, _, policy = self.bucket.partition("/")
        query = urlencode({"db": database, **({"rp": policy} if policy else {}), "precision": "ns"})
        headers = {**api.default_headers, "Content-Type": CONTENT_TYPE, "Content-Encoding": encoding}
        api.rest_client.pool_manager.request("POST", f"{self.url.rstrip('/')}/write?{query}", body=body,
                                             headers=headers, timeout=Timeout(self.timeout))


def _list_keys(text: str, name_key: str, id_key: str) -> tuple[str, ...]:
    """Return under which keys the server may find a text: a name, and also an id if it looks like one."""
    return (name_key, id_key) if re.fullmatch("[0-9a-f]{16}", text) else (name_key,)
