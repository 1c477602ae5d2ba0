"""Each mistake of mistakes.toml has one message, with its place, its cause and its remedy, and nothing on stdout."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parts
import pytest
import tomli
from clocks import FakeClock
from command import run_command, run_process

from clpm_execd.config.settings import read_settings
from clpm_execd.problems import BadInput
from clpm_execd.runtime.os_signals import Signals
from clpm_execd.state.folder_lock import FolderLock

MISTAKES: list[dict[str, Any]] = tomli.loads((Path(__file__).parent / "mistakes.toml").read_text())["mistake"]
PLACEHOLDER = re.compile(r"\{\w+\}")

# Permissions do not stop root: what overrides them is taken from it.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search",
                "--inh-caps=-dac_override,-dac_read_search"]


@pytest.fixture(scope="module")
def servers(influxdb: parts.InfluxDB, influxd: Path,
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The values of placeholders: addresses and tokens of real servers."""
    folder = tmp_path_factory.mktemp("servers")
    ports = {name: parts.free_port() for name in ("closed", "https", "web")}
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True, timeout=60)
    with_tls = [str(influxd), "--bolt-path", "a", "--engine-path", "e", "--sqlite-path", "s", "--reporting-disabled",
                "--http-bind-address", f"127.0.0.1:{ports['https']}", "--tls-cert", str(certificate),
                "--tls-key", str(key)]
    web = [sys.executable, "-m", "http.server", str(ports["web"]), "--bind", "127.0.0.1"]
    log = folder / "log"
    options = {"cwd": folder, "env": {**os.environ, "HOME": str(folder)}}
    with parts.running(with_tls, log, **options), parts.running(web, log, **options):
        for name in ("https", "web"):
            parts.until(lambda name=name: listens(ports[name]), 60, f"{name}; see {log}")
        yield {
            "url": influxdb.url, "token": influxdb.token, "org": influxdb.org, "bucket": influxdb.bucket,
            "closed": f"http://127.0.0.1:{ports['closed']}", "web": f"http://127.0.0.1:{ports['web']}",
            "https": f"https://127.0.0.1:{ports['https']}", "https_as_http": f"http://127.0.0.1:{ports['https']}",
            "url_as_https": influxdb.url.replace("http:", "https:"), "reader": reading_token(influxdb),
        }


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def reading_token(server: parts.InfluxDB) -> str:
    permission = {"action": "read", "resource": {"type": "buckets", "orgID": server.org_id}}
    body = {"orgID": server.org_id, "permissions": [permission]}
    token: str = json.loads(server.request("/api/v2/authorizations", body))["token"]
    return token


def write_files(folder: Path, mistake: dict[str, Any]) -> None:
    """Write the files of a mistake."""
    for name, text in mistake.get("files", {}).items():
        if text == "/":
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(text.encode("latin-1"))
    for name in mistake.get("locked", ()):
        (folder / name).chmod(0)


def needs_a_process(mistake: dict[str, Any]) -> bool:
    """Whether the mistake needs a server, or a process without the permissions of root."""
    return "locked" in mistake or PLACEHOLDER.search(json.dumps(mistake)) is not None


@pytest.mark.parametrize("mistake", [
    pytest.param(mistake, id=mistake["what"], marks=[pytest.mark.process] if needs_a_process(mistake) else [])
    for mistake in MISTAKES])
def test_a_mistake_has_one_message_with_cause_and_remedy(
    mistake: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = json.dumps(mistake)
    values = request.getfixturevalue("servers") if PLACEHOLDER.search(text) else {}

    def fill_in(text: str) -> str:
        return PLACEHOLDER.sub(lambda match: values[match[0][1:-1]], text)

    write_files(tmp_path, mistake)
    words = list(map(fill_in, shlex.split(mistake["run"])))
    env = {name: fill_in(value) for name, value in mistake.get("env", {}).items()}
    if "locked" in mistake and os.geteuid() == 0:
        result = run_process([*UNPRIVILEGED, sys.executable, "-m", "clpm_execd", *words], folder=tmp_path, env=env)
    else:
        result = run_command(*words, folder=tmp_path, env=env)
    for name in mistake.get("locked", ()):
        (tmp_path / name).chmod(0o700)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == mistake.get("lines", 1), result.stderr
    remainder = lines[0]
    for words in map(fill_in, mistake["says"]):
        assert words in remainder, f"{words!r} is not in, or not in this order: {lines[0]}"
        remainder = remainder.partition(words)[2]
    assert "token" not in values or values["token"] not in result.stderr


@pytest.mark.parametrize("content", [
    b"INFLUXDB_BUCKET=loops\r\nINFLUXDB_ORG=clpm\r\n", b"\xef\xbb\xbfINFLUXDB_BUCKET=loops\nINFLUXDB_ORG=clpm\n",
    b"INFLUXDB_BUCKET=\"loops\"\nINFLUXDB_ORG='clpm'\n",
    b"export INFLUXDB_BUCKET=loops # a remark\nINFLUXDB_ORG = clpm",
], ids=["CRLF", "BOM", "quotes", "export"])
def test_what_editors_and_shells_add_to_env_files_is_accepted(content: bytes, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    settings = read_settings({})
    assert (settings.bucket, settings.org, settings.warnings()) == ("loops", "clpm", ())


def old_pythons() -> list[list[str]]:
    """Return commands that run an old Python: those that are installed, and this one under an old version number."""
    guise = "import sys, runpy; sys.version_info = (3, 9, 18); " \
            "sys.argv = ['clpm-execd', '--count', '1']; runpy.run_module('clpm_execd', run_name='__main__')"
    here = Path.home().glob(".pyenv/versions/3.[789].*/bin/python")
    return [[sys.executable, "-c", guise], *([str(python), "-m", "clpm_execd"] for python in here)]


@pytest.mark.process
@pytest.mark.parametrize("command", old_pythons(), ids=lambda command: command[0])
def test_a_python_that_is_too_old_is_named(command: list[str], tmp_path: Path) -> None:
    result = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(parts.ROOT)},
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert re.fullmatch(r"E! Python 3\.[789] is too old, \S+; run clpm-execd with Python 3\.10 or newer", line)


def test_an_old_python_can_parse_the_entry_point() -> None:
    for name in ("__init__.py", "__main__.py"):
        ast.parse((parts.ROOT / "clpm_execd" / name).read_text(), feature_version=(3, 7))


def test_a_second_instance_names_the_first(tmp_path: Path) -> None:
    first, second = (FolderLock(tmp_path, logging.getLogger("clpm_execd")) for _ in range(2))
    assert first.try_acquire()
    with pytest.raises(BadInput) as caught:
        second.acquire(FakeClock(), Signals())
    [problem] = caught.value.problems
    first.release()
    for words in (f"--state {tmp_path}", "in use by another clpm-execd", str(os.getpid()), "a folder of its own"):
        assert words in str(problem)


def test_there_are_at_least_forty_different_mistakes() -> None:
    assert len({mistake["what"] for mistake in MISTAKES}) == len(MISTAKES) >= 40
