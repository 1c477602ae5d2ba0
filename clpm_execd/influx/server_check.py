"""What keeps a stream from writing to a bucket, each problem with its cause and remedy; the check writes no point.

A token that may only write is enough. What only a reader can know (how long the bucket keeps its points) is asked for,
and reported as not known if the server does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from clpm_execd.influx.answer import Answer, TransportError, WriteOutcome
from clpm_execd.influx.client import InfluxClient
from clpm_execd.influx.transport import DEFAULT_TIMEOUT_S
from clpm_execd.problems import Problem
from clpm_execd.units import SECOND, human_duration
from clpm_execd.urls import without_secrets

URL_REMEDY = "give the address of an InfluxDB with its port, such as http://localhost:8086"
MAX_CLOCK_DIFFERENCE_S = 5.0  # the Date header has whole seconds, and a request may take some
# An outage worth planning for: points that are pending for longer than the retention are rejected.
PLANNED_OUTAGE_S = 86_400


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """What a check found.

    Attributes
    ----------
    problems : tuple of Problem
        Why nothing can be written, or not everything.
    warnings : tuple of str
        What works, and should be looked at.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def check_server(url: str, token: Callable[[], str] | str, org: str, bucket: str, *, backfill: int = 0,
                 timeout: float = DEFAULT_TIMEOUT_S) -> ServerCheck:
    """Check address, certificate, token, organization, bucket, retention and clock of a server.

    Parameters
    ----------
    url, org, bucket : str
        Which bucket of which server.
    token : str or callable
        The token, or what returns it.
    backfill : int
        How much of the past is to be written, s.
    timeout : float
        The limit of one request in all, s.

    Returns
    -------
    ServerCheck
        All problems and warnings.
    """
    influx = InfluxClient(url, org, bucket, token if callable(token) else lambda: token, timeout)
    # A server looks at token, organization, bucket and permission before it finds no points in a comment.
    answer = influx(b"# clpm-execd check\n")
    influx.close()
    is_accepted = answer.outcome is WriteOutcome.WRITTEN
    if not (is_accepted or (answer.outcome is WriteOutcome.REJECTED and "point" in answer.message)):
        return ServerCheck((explain_answer(answer, influx),))
    problems, warnings = _check_retention(influx.read_retention(), bucket, backfill)
    return ServerCheck(problems, (*warnings, *_check_clock(answer.server_time, time.time())))


def explain_answer(answer: Answer, influx: InfluxClient, permission: str = "write to") -> Problem:
    """Return which setting is the likely cause of an answer that is no success, and what to do about it.

    Parameters
    ----------
    answer : Answer
        What the server answered, or why it did not.
    influx : InfluxClient
        The client that asked.
    permission : str
        What the token is needed for: "write to" or "read".
    """
    url = without_secrets(influx.url)
    what = f"{url}: {answer}"
    if answer.message.startswith("<"):  # the page of some other server
        return Problem("INFLUXDB_URL", f"{url}: HTTP status {answer.status} and a web page", URL_REMEDY)
    if _needs_tls(answer, influx.url):
        return Problem("INFLUXDB_URL", what, "write it with https://")
    if answer.status == 401:
        return Problem("INFLUXDB_TOKEN", what, "give a token of this server, complete and without quotes")
    if answer.status == 403:
        return Problem("INFLUXDB_TOKEN", what, f"give a token that may {permission} bucket {influx.bucket!r}")
    if answer.status == 404 and "bucket" in answer.message:
        return Problem("INFLUXDB_BUCKET", what, f"create {influx.bucket!r} or name one that exists")
    if answer.status == 404 and "org" in answer.message:
        return Problem("INFLUXDB_ORG", what, "give the organization's name or id as the server shows it")
    remedy = _REMEDIES.get(answer.error, URL_REMEDY)
    if 300 <= (answer.status or 0) < 400:
        remedy = "give the address to which it redirects, without /api/v2/write"
    if answer.status == 429 or (answer.status or 0) >= 500:
        remedy = "see the server's log; a stream would keep its points and retry"
    return Problem("INFLUXDB_TOKEN" if answer.error is TransportError.TOKEN else "INFLUXDB_URL", what, remedy)


_REMEDIES = {
    TransportError.UNKNOWN_HOST: "correct the host name, or the network's name service",
    TransportError.CONNECTION_REFUSED: "start InfluxDB, or correct host and port",
    TransportError.TLS: "give the host as its certificate names it, its authority in SSL_CERT_FILE, or http",
    TransportError.PROXY: "correct HTTPS_PROXY or HTTP_PROXY, or name the host in NO_PROXY",
    TransportError.TIMEOUT: "see that a firewall lets the port through and that the server is not overloaded",
    TransportError.TOKEN: "give INFLUXDB_TOKEN, or a readable file in INFLUXDB_TOKEN_FILE",
}


def _check_retention(
    retention: int | None, bucket: str, backfill: int
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """retention: s that the bucket keeps a point, 0 for ever, None if not known. backfill: s."""
    if retention is None:
        unknown = f"this token may not read how long bucket {bucket!r} keeps points: see that --backfill is shorter"
        return (), (unknown,) * bool(backfill)
    if 0 < retention < backfill:
        what = (f"reaches back {human_duration(backfill * SECOND)}, and bucket {bucket!r} keeps points for "
                f"{human_duration(retention * SECOND)}")
        return (Problem("--backfill", what, "backfill less, or give the bucket a longer retention"),), ()
    if 0 < retention < PLANNED_OUTAGE_S:
        return (), (f"bucket {bucket!r} keeps points for {human_duration(retention * SECOND)}: points that are pending "
                    "for longer in an outage are rejected",)
    return (), ()


def _check_clock(server_time: float | None, own_time: float) -> tuple[str, ...]:
    difference = 0.0 if server_time is None else own_time - server_time
    if abs(difference) <= MAX_CLOCK_DIFFERENCE_S:
        return ()
    direction = "ahead of" if difference > 0 else "behind"
    return (f"this machine's clock is {human_duration(abs(difference) * SECOND)} {direction} the server's: points have "
            "this machine's time, and queries up to now miss them or find them late; synchronize both clocks",)


def _needs_tls(answer: Answer, url: str) -> bool:
    """Whether this is how Go's servers answer http where they expect TLS: a 400 without a date.

    Their message may be lost, for they close the connection with the request half read.
    """
    is_plain = url.lower().startswith("http:") and answer.status == 400 and answer.server_time is None
    return "HTTPS server" in answer.message or (is_plain and answer.message in ("", "Bad Request"))
