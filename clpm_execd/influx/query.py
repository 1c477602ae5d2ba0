"""A query to InfluxDB in Flux, and the CSV it answers, line by line. An error is a Problem, never with the token in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from clpm_execd.influx.answer import Answer, TransportError, classify_failure
from clpm_execd.influx.client import InfluxClient, UnusableToken
from clpm_execd.influx.server_check import explain_answer
from clpm_execd.problems import BadInput

TIMEOUT_S = 300.0  # for which the server may be silent; a query over a year of ground truth takes its time


def query_csv(url: str, token: Callable[[], str], org: str, bucket: str, flux: str) -> Iterator[str]:
    """Yield the lines of the CSV that a query answers, without annotations.

    Parameters
    ----------
    url, org, bucket : str
        Which bucket of which server.
    token : callable
        Returns a token that may read the bucket.
    flux : str
        The query.

    Raises
    ------
    BadInput
        If the query fails, also halfway.
    """
    from influxdb_client.domain.dialect import Dialect
    from influxdb_client.rest import ApiException
    from urllib3.exceptions import HTTPError

    influx = InfluxClient(url, org, bucket, token, timeout=TIMEOUT_S)
    try:
        with influx.make_client() as client:
            dialect = Dialect(header=True, annotations=[])  # type: ignore[no-untyped-call]
            response: Any = client.query_api().query_raw(flux, dialect=dialect)
            response.auto_close = False  # else an answer of known length closes itself under the reader
            yield from io.TextIOWrapper(response, encoding="utf-8", newline="")
    except ApiException as failure:
        answer = Answer(failure.status, _error_message(failure.body))
    except (UnusableToken, UnicodeError) as failure:
        answer = Answer(None, str(failure), error=TransportError.TOKEN)
    except (HTTPError, OSError) as failure:
        answer = classify_failure(failure)
    else:
        return
    raise BadInput([explain_answer(influx.redact(answer), influx, "read")])


def quote_flux(text: str) -> str:
    """Return a text as a string literal of Flux."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'


def _error_message(body: Any) -> str:
    """Return the message of a server's error, whose body may be bytes, text or nothing."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text
