"""Commands of a README, run one after the other as its reader would: in a copy of the repository, nothing installed.

What cannot run here is named with the reason and with the test that has it in its place. Paths of the system stand
below a folder of the reader's own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import parts
import pytest

# What does not run here: a pattern, why, and what has it.
ELSEWHERE = {
    r"docker compose ": "there is no docker here: podman runs the same file in tests/telegraf/test_compose.py",
    r"-o telegraf": "there is no user telegraf here: the image of tests/telegraf/test_compose.py has such a folder",
    r"systemctl ": "systemd is not process 1 here: it checks the unit in tests/telegraf/test_service.py",
    r"influx apply": "influx is not built here: tests/telegraf/test_dashboards.py makes the same request",
    r"\.venv/bin/pytest": "these tests are what it runs",
}
# What goes on until it is stopped: Ctrl-C ends it once there is what it was started for.
STREAMS = r"(\S*/)?(clpm-execd( --[a-z]+( [^-\s]\S*)?)*|telegraf --config \S+)$"
FIRST = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/clpm-execd"
FIRST_MINUTE = 60.0  # s from an empty folder to a line


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


def commands(readme: Path) -> list[str]:
    """The commands of the blocks, without remarks."""
    joined = "".join(blocks(readme, "sh")).replace("\\\n", " ")
    lines = (re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Reader:
    """Somebody with a clone, an InfluxDB and a Telegraf, who types what the README says."""

    def __init__(self, folder: Path, server: parts.InfluxDB, telegraf: Path) -> None:
        self.root, self.clone = folder, folder / "clone"
        self.server, self.bucket = server, server.new_bucket()
        self.settings = {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": server.token, "INFLUXDB_ORG": server.org,
                         "INFLUXDB_BUCKET": self.bucket}
        self._copy()
        programs = folder / "usr" / "local" / "bin"
        for place in (programs, folder / "etc/telegraf/telegraf.d", folder / "etc/systemd/system", folder / "opt"):
            place.mkdir(parents=True)
        (programs / "telegraf").symlink_to(telegraf)
        self._shim(programs / "pip")
        own = ("INFLUXDB_", "CLPM_", "STREAM_", "LOG_", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        certificate = parts.pip_setting("cert")
        path = os.pathsep.join([str(programs), str(self.clone / ".venv" / "bin"), os.environ["PATH"]])
        self.environment = kept | {"PATH": path, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1",
                                   "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv")),
                                   **({"PIP_CERT": certificate, "SSL_CERT_FILE": certificate} if certificate else {})}
        self.seconds: dict[str, float] = {}

    def _copy(self) -> None:
        tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=parts.ROOT, capture_output=True,
                                 text=True, check=True).stdout.split("\n")
        for name in filter(None, tracked):
            if (parts.ROOT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(parts.ROOT / name, self.clone / name)

    def _shim(self, path: Path) -> None:
        """pip, once the first minute has shown that it works: the same into the same place, in a tenth of the time."""
        python = shlex.quote(sys.executable)
        path.write_text(f'#!/bin/sh\nsub=$1; shift\nexec {python} -m uv --quiet pip "$sub" '
                        f'--python "${{PIP_PYTHON:-{self.clone}/.venv/bin/python}}" "$@"\n')
        path.chmod(0o755)

    def type(self, command: str) -> str:
        """What the command prints on stdout; it ends well, or with Ctrl-C if it would go on for ever."""
        typed = re.sub(r"(?<![\w.])/(opt|etc|usr/local)/", rf"{self.root}/\1/", command)
        if command != FIRST:
            typed = re.sub(r"(\S+)/bin/pip (?=install)", r"PIP_PYTHON=\1/bin/python pip ", typed)
        env = self.environment | (self.settings if "telegraf" in command else {})
        out, self._before = self.root / "stdout", len(self.server.points(self.bucket))
        began = time.monotonic()
        with (
            out.open("wb") as stdout,
            (self.root / "stderr").open("wb") as stderr,
            subprocess.Popen(["bash", "-c", typed], cwd=self.clone, env=env, stdin=subprocess.DEVNULL, stdout=stdout,
                             stderr=stderr, start_new_session=True) as process,
        ):
            try:
                if command == FIRST or re.fullmatch(STREAMS, command):
                    parts.until(lambda: process.poll() is not None or self._streams(command), 90,
                                f"what {command!r} streams")
                    self.seconds[command] = time.monotonic() - began
                    assert process.poll() is None, f"{command} ended by itself: {self.said()}"
                    os.killpg(process.pid, signal.SIGINT)
                status = process.wait(300)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        self.seconds.setdefault(command, time.monotonic() - began)
        assert status == 0, f"{command}: status {status}: {self.said()}"
        return out.read_text()

    def _streams(self, command: str) -> bool:
        if "--direct" in command or "telegraf" in command:
            return len(self.server.points(self.bucket)) > self._before
        return "\n" in (self.root / "stdout").read_text()

    def said(self) -> str:
        return (self.root / "stderr").read_text()[-2000:]

    def follow(self, readme: Path, before: dict[str, Callable[[], object]]) -> list[str]:
        """Type all its commands; `before` is what somebody has or does besides, by the command. Those that were run."""
        run = []
        for command in commands(readme):
            if any(re.search(pattern, command) for pattern in ELSEWHERE):
                continue
            if command.startswith("export "):
                assert set(re.findall(r"(\w+)=", command)) <= set(self.settings), command
                continue
            for pattern, act in before.items():
                if pattern in command:
                    act()
            try:
                self.type(command)
            except (AssertionError, pytest.fail.Exception, subprocess.TimeoutExpired) as failure:
                pytest.fail(f"{readme.name}: {command}\n{failure}\n{self.seconds}")
            run.append(command)
        return run
