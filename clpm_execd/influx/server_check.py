"""What keeps a stream from writing to a bucket, each problem with its cause and remedy; the check writes no point.

A token that may only write is enough. What only a reader can know (how long the bucket keeps its points) is asked for,
and reported as not known if the server does not answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from clpm_execd.influx.answer import WriteOutcome
from clpm_execd.influx.client import InfluxClient
from clpm_execd.influx.explanation import explain_answer
from clpm_execd.influx.query import QueryClient
from clpm_execd.influx.server_identity import identify_server
from clpm_execd.influx.transport import DEFAULT_TIMEOUT_S
from clpm_execd.problems import BadInput, Problem
from clpm_execd.units import SECOND, describe_duration

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
        What works, and should be looked at; what this server cannot do.
    server : str
        Which server it is, if it says so.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    server: str = ""


def check_server(url: str, token: Callable[[], str] | str, org: str, bucket: str, *, backfill: int = 0,
                 measurement: str = "control_loops", timeout: float = DEFAULT_TIMEOUT_S) -> ServerCheck:
    """Check address, certificate, token, organization, bucket, retention and clock of a server.

    Parameters
    ----------
    url, org, bucket : str
        Which bucket of which server.
    token : str or callable
        The token, or what returns it.
    backfill : int
        How much of the past is to be written, s.
    measurement : str
        That of the samples.
    timeout : float
        The limit of one request in all, s.

    Returns
    -------
    ServerCheck
        All problems and warnings.
    """
    read_token = token if callable(token) else lambda: token
    influx = InfluxClient(url, org, bucket, read_token, timeout)
    # A server looks at token, organization, bucket and permission before it finds no points in an empty line. To
    # QuestDB a comment would be an error.
    answer = influx(b"\n")
    own_time = time.time()
    influx.close()
    is_accepted = answer.outcome is WriteOutcome.WRITTEN
    if not (is_accepted or (answer.outcome is WriteOutcome.REJECTED and re.search("point|empty", answer.message))):
        return ServerCheck((explain_answer(answer, influx),))
    client = QueryClient(url, read_token, org, bucket, timeout)
    name, retention, limitations = client.influx.call_in_time(lambda: _ask(client, measurement)) or ("", None, [])
    client.influx.close()
    problems, warnings = _check_retention(retention, bucket, backfill)
    return ServerCheck(problems, (*warnings, *_check_clock(answer.server_time, own_time), *limitations), name)


def _ask(client: QueryClient, measurement: str) -> tuple[str, int | None, list[str]]:
    """Return the name of the server, how long it keeps a point of the measurement, s, and what it cannot do."""
    server = identify_server(client)
    limitations: list[str] = []
    with suppress(BadInput):  # a token that may only write is enough
        limitations = server.dialect.limitations(measurement)
    return server.name, server.dialect.retention(measurement), limitations


def _check_retention(
    retention: int | None, bucket: str, backfill: int
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """retention: s that the bucket keeps a point, 0 for ever, None if not known. backfill: s."""
    if retention is None:
        unknown = (f"this token may not read how long bucket {bucket!r} keeps points, or the server does not tell: see "
                   "that --backfill is shorter")
        return (), (unknown,) * bool(backfill)
    if 0 < retention < backfill:
        what = (f"reaches back {describe_duration(backfill * SECOND)}, and bucket {bucket!r} keeps points for "
                f"{describe_duration(retention * SECOND)}")
        return (Problem("--backfill", what, "backfill less, or give the bucket a longer retention"),), ()
    if 0 < retention < PLANNED_OUTAGE_S:
        return (), (f"bucket {bucket!r} keeps points for {describe_duration(retention * SECOND)}: points that are "
                    "pending for longer in an outage are rejected",)
    return (), ()


def _check_clock(server_time: float | None, own_time: float) -> tuple[str, ...]:
    difference = 0.0 if server_time is None else own_time - server_time
    if abs(difference) <= MAX_CLOCK_DIFFERENCE_S:
        return ()
    direction = "ahead of" if difference > 0 else "behind"
    return (f"this machine's clock is {describe_duration(abs(difference) * SECOND)} {direction} the server's: points "
            "have this machine's time, and queries up to now miss them or find them late; synchronize both clocks",)
