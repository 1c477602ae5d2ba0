"""Which setting is the likely cause of an answer that is no success, and the remedy."""

from __future__ import annotations

from http import HTTPStatus

from clpm_execd.influx.answer import Answer, TransportError
from clpm_execd.influx.client import InfluxClient
from clpm_execd.problems import Problem
from clpm_execd.urls import remove_secrets

URL_REMEDY = "give the address of an InfluxDB with its port, such as http://localhost:8086"


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
    url = remove_secrets(influx.url)
    what = f"{url}: {answer}"
    if answer.message.startswith("<"):  # the page of some other server
        return Problem("INFLUXDB_URL", f"{url}: HTTP status {answer.status} and a web page", URL_REMEDY)
    if answer.status == HTTPStatus.OK and permission == "read":
        return Problem("INFLUXDB_URL", f"{url}: the answer is no CSV of InfluxDB: {answer.message}", URL_REMEDY)
    if _needs_tls(answer, influx.url):
        return Problem("INFLUXDB_URL", what, "write it with https://")
    if answer.status == 401:
        return Problem("INFLUXDB_TOKEN", what, "give a token of this server, complete and without quotes, or "
                                               "USER:PASSWORD if it has no tokens")
    if answer.status == 403:
        return Problem("INFLUXDB_TOKEN", what, f"give a token that may {permission} bucket {influx.bucket!r}")
    if answer.status == 404 and ("bucket" in answer.message or "database" in answer.message):
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


def _needs_tls(answer: Answer, url: str) -> bool:
    """Whether this is how Go's servers answer http where they expect TLS: a 400 without a date.

    Their message may be lost, because they close the connection with the request half read.
    """
    is_plain = url.lower().startswith("http:") and answer.status == 400 and answer.server_time is None
    return "HTTPS server" in answer.message or (is_plain and answer.message in ("", "Bad Request"))
