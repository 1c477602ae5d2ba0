"""The commands of a documentation page, run one after the other in a copy of the repository with nothing installed.

A command that cannot run here is listed with the reason and the test that covers it. System paths are below a folder
of the clone's own.
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import parts
import pytest

# Commands that are not run here: a pattern, and the reason with the test that covers it.
NOT_RUN_HERE = {
    r"docker compose ": "there is no docker here: podman runs the same file in tests/telegraf/test_compose.py",
    r"(apt-get|dnf) install|^editor ": "tests/telegraf/test_debian.py installs the .deb",
    r"clpm_execd-\*\.whl": "a clone has no wheel: tests/test_package.py installs one",
    r"docker (build|run) ": "there is no docker here: podman builds the images in tests/telegraf/test_compose.py",
    r"-o telegraf": "there is no user telegraf here: the image of tests/telegraf/test_compose.py has such a folder",
    r"clpm-execd (inject|clear|set|status) ": "they need a stream: tests/control/test_live_control.py runs them",
    r"generate --journal ": "it needs the journal of a stream: tests/control/test_live_control.py runs it",
    r"^psql |--truth truth.csv$": "there is no PostgreSQL here: tests/telegraf/test_outputs.py has one",
    r"systemctl ": "systemd is not process 1 here: it checks the unit in tests/telegraf/test_service.py",
    r"apply-dashboard": "tests/telegraf/test_dashboards.py runs it against its own InfluxDB",
    r"\.venv/bin/pytest": "these tests are what it runs",
}
# Commands that run until they are stopped. They get Ctrl-C once they have produced data.
STREAMS = r"(\S*/)?(clpm-execd( --[a-z-]+( [^-\s]\S*)?)*|telegraf --config \S+)$"
ENDS_BY_ITSELF = "--count"
FIRST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/clpm-execd"
FIRST_COMMAND_CPU_SECONDS = 60.0  # up to its first lines: less than a minute on an idle machine


def _cpu_seconds_of_children() -> float:
    """Return the processor time of all processes that this one has waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def code_blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """The commands of the shell blocks, without comments."""
    joined = "".join(code_blocks(page, "sh")).replace("\\\n", " ")
    lines = (re.sub(r"\s+# .*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


class Clone:
    """A clone of the repository in an empty folder, with an InfluxDB and a Telegraf at hand."""

    def __init__(self, folder: Path, server: parts.InfluxDB, telegraf: Path) -> None:
        self.folder, self.root = folder, folder / "clone"
        self.server, self.bucket = server, server.new_bucket()
        self.settings = {"INFLUXDB_URL": server.url, "INFLUXDB_TOKEN": server.token, "INFLUXDB_ORG": server.org,
                         "INFLUXDB_BUCKET": self.bucket}
        self._copy_repository()
        programs = folder / "usr" / "local" / "bin"
        for path in (programs, folder / "etc/telegraf/telegraf.d", folder / "etc/systemd/system", folder / "opt"):
            path.mkdir(parents=True)
        (programs / "telegraf").symlink_to(telegraf)
        self._write_fast_pip(programs / "pip")
        self.environment = self._environment(programs)
        self.cpu_seconds: dict[str, float] = {}  # of the commands that have run

    def _environment(self, programs: Path) -> dict[str, str]:
        # What Python has compiled is kept for the next command.
        prefixes = ("INFLUXDB_", "CLPM_", "STREAM_", "LOG_", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
        certificate = parts.pip_setting("cert")
        path = os.pathsep.join([str(programs), str(self.root / ".venv" / "bin"), os.environ["PATH"]])
        return inherited | {"PATH": path, "HOME": str(self.folder),
                            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv")),
                            **({"PIP_CERT": certificate, "SSL_CERT_FILE": certificate} if certificate else {})}

    def _copy_repository(self) -> None:
        tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=parts.ROOT, capture_output=True,
                                 text=True, check=True).stdout.split("\n")
        for name in filter(None, tracked):
            if (parts.ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(parts.ROOT / name, self.root / name)

    def _write_fast_pip(self, path: Path) -> None:
        """Write a pip that calls uv. The first command uses the real ones; the others take a tenth of the time."""
        python = shlex.quote(sys.executable)
        path.write_text(f'#!/bin/sh\nsub=$1; shift\nexec {python} -m uv --quiet pip "$sub" '
                        f'--python "${{PIP_PYTHON:-{self.root}/.venv/bin/python}}" "$@"\n')
        path.chmod(0o755)

    def run(self, command: str) -> str:
        """Run a command and return its stdout. A stream is stopped with Ctrl-C after it has produced data."""
        line = re.sub(r"(?<![\w.])/(opt|etc|usr/local)/", rf"{self.folder}/\1/", command)
        if command != FIRST_COMMAND:
            line = re.sub(r"(\S+)/bin/pip (?=install)", r"PIP_PYTHON=\1/bin/python pip ", line)
            line = line.replace("python3 -m venv ", f"{shlex.quote(sys.executable)} -m uv --quiet venv ")
        environment = self.environment | (self.settings if "telegraf" in command else {})
        out, points_before = self.folder / "stdout", len(self.server.points(self.bucket))
        cpu_before = _cpu_seconds_of_children()
        with (
            out.open("wb") as stdout,
            (self.folder / "stderr").open("wb") as stderr,
            subprocess.Popen(["bash", "-c", line], cwd=self.root, env=environment, stdin=subprocess.DEVNULL,
                             stdout=stdout, stderr=stderr, start_new_session=True) as process,
        ):
            try:
                if self._is_stream(command):
                    parts.until(lambda: process.poll() is not None or self._has_data(command, points_before), 90,
                                f"data from {command!r}")
                    assert process.poll() is None, f"{command} ended by itself: {self._stderr()}"
                    os.killpg(process.pid, signal.SIGINT)
                status = process.wait(300)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        self.cpu_seconds[command] = _cpu_seconds_of_children() - cpu_before
        assert status == 0, f"{command}: status {status}: {self._stderr()}"
        return out.read_text()

    def _is_stream(self, command: str) -> bool:
        is_stream = command == FIRST_COMMAND or re.fullmatch(STREAMS, command) is not None
        return is_stream and ENDS_BY_ITSELF not in command

    def _has_data(self, command: str, points_before: int) -> bool:
        if "--direct" in command or "telegraf" in command:
            return len(self.server.points(self.bucket)) > points_before
        return "\n" in (self.folder / "stdout").read_text()

    def _stderr(self) -> str:
        return (self.folder / "stderr").read_text()[-2000:]

    def run_all(self, page: Path, preparations: Mapping[str, Callable[[], object]],
                apart_from: Sequence[str] = ()) -> None:
        """Run the commands of a page, apart from these and from those that ran before in this clone.

        preparations: what to do before a command that contains the key.
        """
        for command in commands_of(page):
            has_run = command in self.cpu_seconds
            if has_run or command in apart_from or any(re.search(pattern, command) for pattern in NOT_RUN_HERE):
                continue
            if command.startswith("export "):
                assert set(re.findall(r"(\w+)=", command)) <= set(self.settings), command
                continue
            try:
                for text, prepare in preparations.items():
                    if text in command:
                        prepare()
                self.run(command)
            except (AssertionError, pytest.fail.Exception, subprocess.TimeoutExpired) as failure:
                pytest.fail(f"{page.name}: {command}\n{failure}\n{self.cpu_seconds}")
