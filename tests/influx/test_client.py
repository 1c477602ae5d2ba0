"""One write and its answer: servers, proxies and networks with all their faults, on loopback."""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email.utils import formatdate
from pathlib import Path

import pytest
from command import run_command
from loopback_server import DONE, Server, http
from urllib3.exceptions import SSLError

from clpm_execd.influx.answer import Answer, TransportError, WriteOutcome, classify_failure
from clpm_execd.influx.client import InfluxClient
from clpm_execd.influx.dialects import Flux, QueryRange
from clpm_execd.influx.query import QueryClient
from clpm_execd.influx.server_check import check_server
from clpm_execd.problems import BadInput

LINE = b"control_loops,loop_id=A PV=1 1700000000000000000\n"
SECRET = "s3cret-t0ken=="

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def one(*answers: bytes, drip: float = 0.0, reset: bool = False) -> Server:
        servers.append(Server(*answers, drip=drip, reset=reset))
        return servers[-1]

    yield one
    for server in servers:
        server.close()


def write(server: Server | str, body: bytes = LINE, timeout: float = 5.0) -> Answer:
    url = server if isinstance(server, str) else server.url
    with closing(InfluxClient(url, "org", "bucket", lambda: SECRET, timeout=timeout)) as influx:
        return influx(body)


def test_a_204_is_written_and_the_request_is_what_influxdb_expects(serve: Serve) -> None:
    server = serve(DONE)
    assert write(server).outcome is WriteOutcome.WRITTEN
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v2/write?org=org&bucket=bucket&precision=ns HTTP/1.1")
    assert f"Authorization: Token {SECRET}".encode() in head
    assert body == LINE


def test_a_long_body_is_compressed_for_the_network(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(DONE)
    assert write(server, LINE * 100).outcome is WriteOutcome.WRITTEN
    assert server.requests[0].endswith(LINE * 100)
    proxy = serve(DONE)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    assert write("http://influx.example:8086", LINE * 100).outcome is WriteOutcome.WRITTEN
    head, _, body = proxy.requests[0].partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head.lower()
    assert gzip.decompress(body) == LINE * 100


def test_after_a_415_bodies_are_sent_without_compression(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(http("415 Unsupported Media Type", b"", "Connection: close"), LAST_DONE)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    with closing(InfluxClient("http://influx.example:8086", "o", "b", lambda: SECRET)) as influx:
        for _ in range(2):
            assert influx(LINE * 100).outcome is WriteOutcome.WRITTEN
    assert [b"content-encoding: gzip" in request.lower() for request in proxy.requests] == [True, False, False]
    assert proxy.requests[-1].endswith(LINE * 100)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_the_target_of_a_redirect_is_reported_without_its_secrets(serve: Serve, status: str) -> None:
    server = serve(http(status, b"<html>", "Location: https://me:word@influx.example/api/v2/write?org=o&sig=secret"))
    answer = write(server)
    assert "redirects to https://influx.example/api/v2/write" in str(answer)
    assert "word" not in str(answer)
    assert "sig" not in str(answer)
    [problem] = check_server(server.url, SECRET, "o", "b").problems
    assert problem.where == "INFLUXDB_URL"
    assert "https://influx.example" in problem.what
    assert "redirects" in problem.remedy


def test_a_redirect_to_no_url_leaves_the_status(serve: Serve) -> None:
    assert write(serve(http("301 Moved Permanently", b"", "Location: http://["))).status == 301


@pytest.mark.parametrize("received", [*range(9, len(DONE) - 1, 4), len(DONE) - 2, len(DONE) - 3])
def test_a_204_cut_off_before_the_end_of_its_headers_is_not_written(serve: Serve, received: int) -> None:
    answer = write(serve(DONE[:received]))
    assert answer.outcome is WriteOutcome.UNKNOWN
    assert answer.error in (TransportError.CONNECTION_LOST, TransportError.OTHER)


def test_a_server_that_drips_is_abandoned_in_time(serve: Serve) -> None:
    start = time.monotonic()
    answer = write(serve(DONE, drip=0.2), timeout=0.6)
    assert answer.error is TransportError.TIMEOUT
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize("interim", [
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 3,
])
def test_interim_responses_are_skipped(serve: Serve, interim: bytes) -> None:
    assert write(serve(interim + DONE)).outcome is WriteOutcome.WRITTEN
    assert write(serve(interim + http("503 Busy"))).status == 503
    assert write(serve(interim)).outcome is WriteOutcome.UNKNOWN
    assert write(serve(interim[:-2])).outcome is WriteOutcome.UNKNOWN


def test_interim_responses_to_a_query_are_skipped(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + http("200 OK", b"a,b\r\n1,2\r\n"))
    lines = QueryClient(server.url, lambda: SECRET, "o", "b").lines("GET", "/query")
    assert [line.split() for line in lines] == [["a,b"], ["1,2"]]


def test_a_login_page_is_no_acknowledgement(serve: Serve) -> None:
    answer = write(serve(http("200 OK", b"<html>Welcome to our hotel</html>")))
    assert answer.outcome is WriteOutcome.UNKNOWN
    assert "not InfluxDB" in str(answer)


@pytest.mark.parametrize(("body", "what"), [
    (b"<html>Sign in</html>", "HTTP status 200 and a web page"), (b'{"ok":true}', 'no CSV of InfluxDB: {"ok":true}'),
    (b",result,table,_time\r\n,_result,0,1\r\n\r\nerror,reference\r\nout of memory,\r\n", "reference out of memory,"),
])
def test_a_query_that_gets_another_answer_than_tables_is_one_error(serve: Serve, body: bytes, what: str) -> None:
    flux = Flux(QueryClient(serve(http("200 OK", body)).url, lambda: SECRET, "o", "b"))
    with pytest.raises(BadInput, match=f"^INFLUXDB_URL: .*{re.escape(what)}"):
        list(flux.rows("m", ["loop_id"], QueryRange()))


@pytest.mark.parametrize("status", ["202 Accepted", "302 Found", "307 Temporary Redirect"])
def test_no_other_success_and_no_redirect_is_an_acknowledgement(serve: Serve, status: str) -> None:
    answer = write(serve(http(status, b"", "Location: http://127.0.0.1:9/")))
    assert answer.outcome is WriteOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("400 Bad Request", WriteOutcome.REJECTED),
        ("422 Unprocessable Entity", WriteOutcome.REJECTED),
        ("401 Unauthorized", WriteOutcome.DENIED),
        ("403 Forbidden", WriteOutcome.DENIED),
        ("404 Not Found", WriteOutcome.DENIED),
        ("413 Too Large", WriteOutcome.TOO_LARGE),
        ("408 Request Timeout", WriteOutcome.UNKNOWN),
        ("429 Too Many Requests", WriteOutcome.UNKNOWN),
        ("500 Internal Server Error", WriteOutcome.UNKNOWN),
        ("503 Service Unavailable", WriteOutcome.UNKNOWN),
    ],
)
def test_each_status_has_its_outcome(serve: Serve, status: str, outcome: WriteOutcome) -> None:
    answer = write(serve(http(status, b'{"code":"x","message":"the reason"}')))
    assert answer.outcome is outcome
    assert answer.message == "the reason"


def test_retry_after_is_read_as_seconds_and_as_a_date(serve: Serve) -> None:
    assert write(serve(http("503 Busy", b"", "Retry-After: 17"))).retry_after == 17
    assert write(serve(http("503 Busy", b"", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"))).retry_after > 1e6
    assert write(serve(http("503 Busy", b"", "Retry-After: soon"))).retry_after == 0


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"[]", b"{}", b'{"message": 7}', b"null", b"{"])
def test_a_strange_error_body_leaves_the_status(serve: Serve, body: bytes) -> None:
    assert write(serve(http("401 Unauthorized", body))).status == 401


def test_an_error_body_cut_off_leaves_the_status(serve: Serve) -> None:
    assert write(serve(http("400 Bad", b"x" * 500)[:-300])).status == 400
    assert write(serve(http("400 Bad", b"no gzip", "Content-Encoding: gzip"))).status == 400


def test_after_a_connection_reset_the_outcome_is_unknown(serve: Serve) -> None:
    answer = write(serve(b"", reset=True), LINE * 2_000_000)
    assert (answer.status, answer.outcome) == (None, WriteOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1", TransportError.CONNECTION_REFUSED),
        ("http://no-such-host.invalid:8086", TransportError.UNKNOWN_HOST),
        ("http://[::1", TransportError.OTHER),
        ("http://h:99999999", TransportError.OTHER),
    ],
)
def test_no_server_is_an_answer_too(url: str, error: TransportError, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    answer = write(url)
    assert (answer.status, answer.error) == (None, error)


def test_https_to_a_server_without_tls_is_a_tls_error(serve: Serve) -> None:
    server = serve(http("400 Bad Request"))
    assert write(server.url.replace("http:", "https:")).error is TransportError.TLS


def test_a_connection_that_is_reset_within_tls_is_lost() -> None:
    for reset in (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), ssl.SSLZeroReturnError(6, "closed")):
        assert classify_failure(SSLError(reset)).error is TransportError.CONNECTION_LOST
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    assert classify_failure(SSLError(untrusted)).error is TransportError.TLS


@pytest.mark.process
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_points_go_only_to_a_server_with_a_trusted_certificate(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    names = ["subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(DONE, tls=context)
    url = server.url.replace("http:", "https:")
    with closing(server):
        assert write(url).error is TransportError.TLS
        assert server.requests == []
        with closing(InfluxClient(url, "o", "b", lambda: SECRET, ca_file=str(certificate))) as influx:
            assert influx(LINE).outcome is WriteOutcome.WRITTEN


def test_the_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(DONE)
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pass%20word@"))
    monkeypatch.setenv("no_proxy", "")
    assert write("http://influx.example:8086").outcome is WriteOutcome.WRITTEN
    assert proxy.requests[0].startswith(b"POST http://influx.example:8086/api/v2/write?")
    assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk" in proxy.requests[0]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    direct = serve(DONE)
    assert write(direct).outcome is WriteOutcome.WRITTEN
    assert direct.requests[0].startswith(b"POST /api/v2/write")


def test_the_token_is_read_again_after_a_401(serve: Serve) -> None:
    server = serve(http("401 Unauthorized", b"", "Connection: close"), DONE)
    tokens = iter(["old\n", "new\n"])
    with closing(InfluxClient(server.url, "o", "b", lambda: next(tokens))) as influx:
        assert influx(LINE).outcome is WriteOutcome.DENIED
        assert influx(LINE).outcome is WriteOutcome.WRITTEN
    assert b"Authorization: Token old\r\n" in server.requests[0]
    assert b"Authorization: Token new\r\n" in server.requests[1]


def test_a_token_that_cannot_be_read_or_sent_is_an_answer() -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory", "/run/secrets/token")

    assert InfluxClient("http://127.0.0.1:1", "o", "b", gone)(LINE).error is TransportError.TOKEN
    for bad in ("one\ntwo", "naïve"):
        answer = InfluxClient("http://127.0.0.1:1", "o", "b", lambda bad=bad: bad)(LINE)
        assert answer.error is TransportError.TOKEN
        assert bad not in str(answer)
        assert repr(bad)[1:-1] not in str(answer)


def test_the_direct_stream_reads_a_token_from_a_pipe_once(serve: Serve, tmp_path: Path) -> None:
    server, pipe = serve(http("401 Unauthorized", b"", "Retry-After: 0", "Connection: close"), DONE), tmp_path / "token"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("token-of-a-pipe\n",), daemon=True).start()
    env = {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN_FILE": str(pipe), "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b"}
    result = run_command("--direct", "--count", "1", folder=tmp_path, env=env)
    assert "5 points written" in result.stderr
    assert [b"Token token-of-a-pipe\r\n" in request for request in server.requests] == [True, True]


def test_no_more_threads_are_an_answer_too(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server, start = serve(DONE), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with closing(InfluxClient(server.url, "o", "b", lambda: SECRET)) as influx:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert "new thread" in str(influx(LINE))
        monkeypatch.setattr(threading.Thread, "start", start)
        assert influx(LINE).outcome is WriteOutcome.WRITTEN


def test_the_token_appears_in_no_text(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(http("401 Unauthorized", f"no such token {SECRET}".encode()))
    influx = InfluxClient(server.url.replace("//", "//user:password@"), "o", "b", lambda: SECRET)
    with closing(influx):
        answer = influx(LINE)
        assert answer.message == "no such token ***"
        assert SECRET not in repr(influx) + str(answer) + repr(answer) + caplog.text
        assert "password" not in repr(influx) + str(answer) + influx.target


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        (http("401 Unauthorized"), "INFLUXDB_TOKEN"),
        (http("403 Forbidden"), "INFLUXDB_TOKEN"),
        (http("404 Not Found", b'{"message":"bucket \\"b\\" not found"}'), "INFLUXDB_BUCKET"),
        (http("404 Not Found", b'{"message":"organization name \\"o\\" not found"}'), "INFLUXDB_ORG"),
        (http("404 Not Found", b"page not found"), "INFLUXDB_URL"),
        (http("503 Busy"), "INFLUXDB_URL"),
        (http("200 OK", b"<html>"), "INFLUXDB_URL"),
    ],
)
def test_an_error_of_the_server_names_the_setting_and_the_remedy(serve: Serve, answer: bytes, where: str) -> None:
    server = serve(answer)
    problems = check_server(server.url, SECRET, "o", "b").problems
    assert [problem.where for problem in problems] == [where]
    assert all(problem.remedy and SECRET not in str(problem) for problem in problems)


def test_a_server_that_is_not_running_is_reported() -> None:
    problem = check_server("http://127.0.0.1:1", SECRET, "o", "b").problems[0]
    assert problem.where == "INFLUXDB_URL"
    assert "connection refused" in problem.what


@pytest.mark.parametrize("message", [b"", b"Client sent an HTTP request to an HTTPS server.\n"])
def test_http_to_a_server_that_expects_tls_is_reported_even_if_its_message_is_lost(
    serve: Serve, message: bytes
) -> None:
    problem = check_server(serve(b"HTTP/1.0 400 Bad Request\r\n\r\n" + message).url, SECRET, "o", "b").problems[0]
    assert problem.where == "INFLUXDB_URL"
    assert "https://" in str(problem.remedy)


NO_PATH = http("404 Not Found", b"404 page not found\n", "Connection: close")
LAST_DONE = http("204 No Content", b"", "Connection: close")  # the next request has a connection of its own


def test_a_server_without_the_path_of_influxdb_2_is_written_to_by_that_of_influxdb_1(serve: Serve) -> None:
    server = serve(NO_PATH, LAST_DONE)
    with closing(InfluxClient(server.url, "any", "plant/two weeks", lambda: SECRET)) as influx:
        assert influx(LINE).outcome is WriteOutcome.WRITTEN
        assert influx(LINE).outcome is WriteOutcome.WRITTEN
    paths = [request.split()[1] for request in server.requests]
    assert [path.partition(b"?")[0] for path in paths] == [b"/api/v2/write", b"/write", b"/write"]
    assert paths[1] == b"/write?db=plant&rp=two+weeks&precision=ns"
    assert server.requests[1].endswith(LINE)


def test_a_proxy_that_refuses_both_paths_is_asked_for_that_of_influxdb_2_again(serve: Serve) -> None:
    server = serve(NO_PATH)
    with closing(InfluxClient(server.url, "any", "plant", lambda: SECRET)) as influx:
        assert [influx(LINE).outcome for _ in range(2)] == [WriteOutcome.DENIED] * 2
    assert [request.split()[1].partition(b"?")[0] for request in server.requests] == [b"/api/v2/write", b"/write"] * 2


def test_a_token_of_user_and_password_is_sent_as_such_to_a_server_that_takes_no_tokens(serve: Serve) -> None:
    refused = http("401 Unauthorized", b'{"error":"unable to parse authentication credentials"}', "Connection: close")
    server = serve(refused, DONE)
    with closing(InfluxClient(server.url, "any", "plant", lambda: "clpm:control-loops")) as influx:
        assert influx(LINE).outcome is WriteOutcome.WRITTEN
    assert b"Authorization: Token clpm:control-loops\r\n" in server.requests[0]
    assert b"Authorization: Basic Y2xwbTpjb250cm9sLWxvb3Bz\r\n" in server.requests[1]
    server = serve(refused)
    answer = write(server)
    assert (answer.outcome, len(server.requests)) == (WriteOutcome.DENIED, 1)


def test_the_retention_is_checked_for_an_organization_by_id_as_by_name(serve: Serve) -> None:
    none = http("404 Not Found", b'{"code":"not found","message":"organization not found"}', "Connection: close")
    rules = b'{"buckets":[{"name":"b","retentionRules":[{"type":"expire","everySeconds":7200}]}]}'
    one_bucket = http("200 OK", rules, "Content-Type: application/json")
    for org, answers in (("plant", [DONE, DONE, one_bucket]), ("0123456789abcdef", [DONE, DONE, none, one_bucket])):
        server = serve(*answers)
        [problem] = check_server(server.url, SECRET, org, "b", backfill=86_400).problems
        assert (problem.where, "for 2 h" in problem.what) == ("--backfill", True)
    assert b"orgID=0123456789abcdef" in server.requests[3].split(b"\r\n")[0]


@pytest.mark.parametrize(("difference", "word"), [(0, ""), (3, ""), (10_800, "3 h behind"), (-1800, "30 min ahead of")])
def test_a_clock_that_differs_from_the_servers_is_a_warning(serve: Serve, difference: float, word: str) -> None:
    date = formatdate(time.time() + difference, usegmt=True)
    check = check_server(serve(http("204 No Content", b"", f"Date: {date}")).url, SECRET, "o", "b")
    assert check.problems == ()
    assert [word in warning for warning in check.warnings] == [True] * bool(word)


def test_a_server_without_a_date_header_causes_no_warning(serve: Serve) -> None:
    for date in ("Date: soon", "X: y"):
        assert check_server(serve(http("204 No Content", b"", date)).url, SECRET, "o", "b").warnings == ()
