"""What stands between us and a bucket, each with its cause and its remedy; nothing is written to find out.

A token that may only write is enough. What only a reader can know (how long the bucket keeps its points) is asked for,
and said not to be known where the server does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from clpm_execd.influx.client import Answer, Fault, Influx, Verdict
from clpm_execd.problems import Problem
from clpm_execd.units import SECOND, human_duration
from clpm_execd.urls import without_secrets

ADDRESS = "give the address of an InfluxDB with its port, such as http://localhost:8086"
CLOCKS_APART = 5.0  # s that the two clocks may differ
WAITS = 86_400  # s that points wait for the server in an outage worth planning for


@dataclass(frozen=True, slots=True)
class Found:
    """problems: why nothing can be written, or not all. warnings: what works, yet should be looked at."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def check_server(url: str, token: Callable[[], str] | str, org: str, bucket: str, *, backfill: int = 0) -> Found:
    """What is found; backfill: s of history that are to be written."""
    influx = Influx(url, org, bucket, token if callable(token) else lambda: token)
    # A server looks at token, organization, bucket and permission before it finds no points in a comment.
    answer = influx(b"# clpm-execd check\n")
    influx.close()
    if not (answer.verdict is Verdict.WRITTEN or (answer.verdict is Verdict.REFUSED and "point" in answer.words)):
        return Found((problem_of(answer, influx),))
    problems, warnings = _retention(influx.retention(), bucket, backfill)
    return Found(problems, (*warnings, *_clocks(answer.date, time.time())))


def _retention(kept: int | None, bucket: str, backfill: int) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """kept: s that the bucket keeps a point, 0 for ever, None for not known."""
    if kept is None:
        unknown = f"this token may not read how long bucket {bucket!r} keeps points: see that --backfill is shorter"
        return (), (unknown,) * bool(backfill)
    if 0 < kept < backfill:
        what = (f"reaches back {human_duration(backfill * SECOND)}, and bucket {bucket!r} keeps points for "
                f"{human_duration(kept * SECOND)}")
        return (Problem("--backfill", what, "fill in less, or give the bucket a longer retention"),), ()
    if 0 < kept < WAITS:
        return (), (f"bucket {bucket!r} keeps points for {human_duration(kept * SECOND)}: what waits longer in an "
                    "outage is refused",)
    return (), ()


def _clocks(server: float | None, ours: float) -> tuple[str, ...]:
    apart = 0.0 if server is None else ours - server
    if abs(apart) <= CLOCKS_APART:
        return ()
    where = "ahead of" if apart > 0 else "behind"
    return (f"this machine's clock is {human_duration(abs(apart) * SECOND)} {where} the server's: points carry this "
            "machine's time, and queries up to now miss them or find them late; let both follow a time server",)


def _wants_tls(answer: Answer, url: str) -> bool:
    """Whether this is how Go's servers answer http where they await TLS: a 400 without a date.

    Their words may be lost, for they close the connection with the request half read.
    """
    plain = url.lower().startswith("http:") and answer.status == 400 and answer.date is None
    return "HTTPS server" in answer.words or (plain and answer.words in ("", "Bad Request"))


def problem_of(answer: Answer, influx: Influx, may: str = "write to") -> Problem:
    """What an answer that is no success says of the settings; may: what the token is needed for."""
    url = without_secrets(influx.url)
    said = f"{url}: {answer}"
    if answer.words.startswith("<"):  # the page of some other server
        return Problem("INFLUXDB_URL", f"{url}: HTTP status {answer.status} and a web page", ADDRESS)
    if _wants_tls(answer, influx.url):
        return Problem("INFLUXDB_URL", said, "write it with https://")
    if answer.status == 401:
        return Problem("INFLUXDB_TOKEN", said, "give a token of this server, whole and without quotes")
    if answer.status == 403:
        return Problem("INFLUXDB_TOKEN", said, f"give a token that may {may} bucket {influx.bucket!r}")
    if answer.status == 404 and "bucket" in answer.words:
        return Problem("INFLUXDB_BUCKET", said, f"create {influx.bucket!r} or name one that exists")
    if answer.status == 404 and "org" in answer.words:
        return Problem("INFLUXDB_ORG", said, "give the organization's name or id as the server shows it")
    remedy = {
        Fault.NAME: "correct the host name, or the network's name service",
        Fault.CLOSED: "start InfluxDB, or correct host and port",
        Fault.TLS: "give the host as its certificate names it, its authority in SSL_CERT_FILE, or http",
        Fault.PROXY: "correct HTTPS_PROXY or HTTP_PROXY, or name the host in NO_PROXY",
        Fault.LATE: "see that a firewall lets the port through and that the server is not overloaded",
        Fault.TOKEN: "give INFLUXDB_TOKEN, or a readable file in INFLUXDB_TOKEN_FILE",
    }.get(answer.fault, ADDRESS)
    if answer.status == 429 or (answer.status or 0) >= 500:
        remedy = "see the server's log; the stream would keep its points and try again"
    return Problem("INFLUXDB_TOKEN" if answer.fault is Fault.TOKEN else "INFLUXDB_URL", said, remedy)
