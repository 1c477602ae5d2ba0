"""One question to InfluxDB in Flux, and the CSV it answers, line by line.

What goes wrong is told as a Problem, never with the token in it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from clpm_execd.influx.client import Answer, BadToken, Fault, Influx, no_answer
from clpm_execd.influx.server_check import problem_of
from clpm_execd.problems import BadInput

PATIENCE = 300.0  # s that the server may say nothing


def ask(url: str, token: Callable[[], str], org: str, bucket: str, flux: str) -> Iterator[str]:
    """The lines of the answer, without annotations; BadInput where it fails, also halfway."""
    from influxdb_client.domain.dialect import Dialect
    from influxdb_client.rest import ApiException
    from urllib3.exceptions import HTTPError

    influx = Influx(url, org, bucket, token, timeout=PATIENCE)
    try:
        with influx.client() as client:
            dialect = Dialect(header=True, annotations=[])  # type: ignore[no-untyped-call]
            answer: Any = client.query_api().query_raw(flux, dialect=dialect)
            yield from io.TextIOWrapper(answer, encoding="utf-8", newline="")
    except ApiException as failure:
        failed = Answer(failure.status, _words(failure.body))
    except (BadToken, UnicodeError) as failure:
        failed = Answer(None, str(failure), fault=Fault.TOKEN)
    except (HTTPError, OSError) as failure:
        failed = no_answer(failure)
    else:
        return
    raise BadInput([problem_of(influx.clean(failed), influx, "read")])


def quoted(text: str) -> str:
    """A string of Flux."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'


def _words(body: Any) -> str:
    """The message of a server's error, which may be bytes, text or nothing."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text
