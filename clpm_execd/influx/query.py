"""Requests that read from a server, their answers line by line. An error is a Problem, never with the token in it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from clpm_execd.influx.answer import Answer, TransportError, classify_failure, parse_error_message
from clpm_execd.influx.call_timeout import TimedCaller
from clpm_execd.influx.client import InfluxClient, UnusableToken
from clpm_execd.influx.explanation import explain_answer
from clpm_execd.problems import BadInput

TIMEOUT_S = 300.0  # for which the server may be silent; a query over a year of ground truth takes its time


class QueryClient:
    """Reads from one database (in InfluxDB 2: bucket) of a server.

    Parameters
    ----------
    url, org, bucket : str
        Which bucket of which server.
    token : callable
        Returns a token that may read the bucket.
    timeout : float
        For how long the server may be silent, s.
    """

    def __init__(self, url: str, token: Callable[[], str], org: str, bucket: str, timeout: float = TIMEOUT_S) -> None:
        self.influx = InfluxClient(url, org, bucket, token, timeout=timeout)
        self.bucket = bucket
        self._caller = TimedCaller()

    def lines(self, method: str, path: str, body: object = None, **parameters: str) -> Iterator[str]:
        """Yield the lines of the answer to a request.

        Parameters
        ----------
        method, path : str
            Such as "GET" and "/query".
        body : object
            What the request contains as JSON.
        **parameters : str
            The query string.

        Raises
        ------
        BadInput
            If the request fails, also halfway.
        """
        with self._response(method, path, body, parameters) as response:
            yield from io.TextIOWrapper(response, encoding="utf-8", newline="")

    def headers(self, path: str) -> Mapping[str, str]:
        """Return the headers of the answer to a GET; names in any case."""
        with self._response("GET", path, None, {}) as response:
            headers: Mapping[str, str] = response.headers
            return headers

    @contextmanager
    def _response(self, method: str, path: str, body: object, parameters: Mapping[str, str]) -> Iterator[Any]:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        url = f"{self.influx.url.rstrip('/')}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            with self.influx.make_client() as client:
                api: Any = client.api_client

                def request() -> Any:
                    headers = {**api.default_headers, "Accept": "*/*"}
                    if body is not None:
                        headers["Content-Type"] = "application/json"
                    return api.rest_client.pool_manager.request(
                        method, url, body=None if body is None else json.dumps(body), headers=headers,
                        preload_content=False, redirect=False, timeout=Timeout(self.influx.timeout))

                response = self._send(request)
                if response.status == HTTPStatus.UNAUTHORIZED and self.influx.use_password(client):
                    response = self._send(request)
                if response.status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                    response.auto_close = False  # else an answer of known length closes itself under the reader
                    yield response
                    return
                answer = Answer(response.status, parse_error_message(response.data.decode(errors="replace")))
        except (UnusableToken, UnicodeError) as failure:
            answer = Answer(None, str(failure), error=TransportError.TOKEN)
        except (HTTPError, OSError) as failure:
            answer = classify_failure(failure)
        raise self.problem(answer)

    def _send(self, request: Callable[[], Any]) -> Any:
        """Return what a request returns. A thread makes it: a signal ends no name lookup, but the wait for one."""

        def catch_failure() -> Any:
            try:
                return request()
            except Exception as failure:
                return failure

        result = self._caller(catch_failure, self.influx.timeout)
        if result is None:
            raise TimeoutError
        if isinstance(result, Exception):
            raise result
        return result

    def problem(self, answer: Answer) -> BadInput:
        """Return the exception for an answer that is no success."""
        return BadInput([explain_answer(self.influx.redact(answer), self.influx, "read")])
