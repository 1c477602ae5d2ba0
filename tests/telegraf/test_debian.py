"""The .deb on a bare Debian beside the real Telegraf: points arrive, upgrades keep the state, a purge leaves nothing.

Each test has a copy of a root of Debian without a network. Telegraf's own package is made here of the real program,
with the user and the folders that InfluxData's has.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import parts
import pytest

import clpm_execd

pytestmark = [pytest.mark.campaign, pytest.mark.process, pytest.mark.timeout(600)]

SUITES = ("bookworm", "trixie")
DROP_IN = "etc/telegraf/telegraf.d/clpm-execd.conf"
STATE = "var/lib/clpm-execd-telegraf"
NEXT_VERSION = f"{clpm_execd.__version__}.1"
TELEGRAF_PACKAGE = """
name: telegraf
arch: amd64
version: 1.0.0
maintainer: tests
deb: {{compression: none}}
scripts: {{preinstall: {folder}/preinstall.sh}}
contents:
  - {{src: {program}, dst: /usr/bin/telegraf, file_info: {{mode: 0755}}}}
  - {{src: {folder}/telegraf.conf, dst: /etc/telegraf/telegraf.conf, type: config}}
  - {{dst: /etc/telegraf/telegraf.d, type: dir}}
"""
TELEGRAF_CONFIGURATION = """
[agent]
  interval = "1s"
  flush_interval = "200ms"
  omit_hostname = true
[[inputs.internal]]
[[outputs.file]]
  namepass = ["control_loops"]
  files = ["/tmp/points.lp"]
  data_format = "influx"
"""
# What dpkg itself writes.
NOT_OF_THE_PACKAGE = re.compile(r"(dev|proc|sys|tmp|var/lib/dpkg|var/cache|var/log/(dpkg|alternatives)\.log)(/|$)")


class Debian:
    """A root of Debian of a test's own, entered without a network and with processes that end with the command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "tmp" / "telegraf.log"

    def command(self, *words: str) -> list[str]:
        inside = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        return ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root / 'proc'}",
                "chroot", str(self.root), *inside, *words]

    def run(self, *words: str) -> str:
        """Run a command to its end, and return what it printed; it must succeed."""
        result = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=240, check=False)
        assert result.returncode == 0, f"{' '.join(words)}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def install(self, *packages: Path) -> None:
        for package in packages:
            shutil.copy(package, self.root / "tmp")
        self.run("dpkg", "--force-confdef", "--force-confold", "--install", *(f"/tmp/{path.name}" for path in packages))

    @contextlib.contextmanager
    def telegraf(self) -> Iterator[None]:
        """Run Telegraf as its service does, and stop it as systemd does."""
        words = ("setpriv", "--reuid", "telegraf", "--regid", "telegraf", "--clear-groups", "telegraf", "--config",
                 "/etc/telegraf/telegraf.conf", "--config-directory", "/etc/telegraf/telegraf.d")
        with parts.running(self.command(*words), self.log) as process:
            yield
            [agent] = parts.children(process.pid)
            os.kill(agent, signal.SIGTERM)
            assert process.wait(20) == 0
        assert " E! " not in self.log.read_text()

    def points(self) -> list[parts.Point]:
        return parts.points_of(self.root / "tmp" / "points.lp")

    def receive(self, number: int) -> None:
        """Run Telegraf until this number of points more have arrived."""
        before = len(self.points())
        with self.telegraf():
            parts.until(lambda: len(self.points()) >= before + number, 40, f"{number} points; see {self.log}")

    def files(self) -> set[str]:
        paths = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return {path for path in paths if not NOT_OF_THE_PACKAGE.match(path)}


def make_packages(repository: Path, folder: Path) -> Path:
    """Return the .deb of this repository, made as a release is."""
    for command in (["uv", "build", "--quiet", "--out-dir", str(folder), "."], [".packaging/build", str(folder)]):
        result = subprocess.run(command, cwd=repository, env=parts.uv_environment(), capture_output=True, text=True,
                                check=False)
        assert result.returncode == 0, result.stderr
    [package] = folder.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts.binary("nfpm", "nfpm")
    return make_packages(parts.ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def next_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A later version, with other defaults in the file of settings."""
    repository = tmp_path_factory.mktemp("next") / "repository"
    files = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__")
    shutil.copytree(parts.ROOT, repository, ignore=files)
    version = repository / "clpm_execd" / "version.py"
    version.write_text(version.read_text().replace(clpm_execd.__version__, NEXT_VERSION))
    (repository / "env.example").write_text((repository / "env.example").read_text() + "# A new default.\n")
    return make_packages(repository, tmp_path_factory.mktemp("next-dist"))


@pytest.fixture(scope="module")
def telegraf_package(telegraf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("telegraf")
    (folder / "preinstall.sh").write_text(
        "#!/bin/sh\nid telegraf >/dev/null 2>&1 || useradd --system --user-group --no-create-home "
        "--shell /bin/false --home-dir /etc/telegraf telegraf\n")
    (folder / "telegraf.conf").write_text(TELEGRAF_CONFIGURATION)
    (folder / "nfpm.yaml").write_text(TELEGRAF_PACKAGE.format(folder=folder, program=telegraf))
    subprocess.run([parts.binary("nfpm", "nfpm"), "package", "--config", folder / "nfpm.yaml", "--packager", "deb",
                    "--target", folder], check=True, capture_output=True)
    return next(folder.glob("*.deb"))


@pytest.fixture(params=SUITES)
def debian(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Debian]:
    base, root = parts.debian_root(request.param), tmp_path / "root"
    changes, work = tmp_path / "changes", tmp_path / "work"
    for folder in (root, changes, work):
        folder.mkdir()
    layers = f"lowerdir={base},upperdir={changes},workdir={work}"
    is_mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], capture_output=True,
                                check=False).returncode == 0
    if not is_mounted:  # on some file systems
        subprocess.run(["cp", "-a", f"{base}/.", root], check=True)
    yield Debian(root)
    if is_mounted:
        subprocess.run(["umount", root], check=True)
    shutil.rmtree(root)
    shutil.rmtree(changes)


def assert_whole(points: list[parts.Point]) -> None:
    """Five loops at each second, each once."""
    assert len({(point.time, point.loop) for point in points}) == len(points)
    times = sorted({point.time for point in points})
    assert len(points) == 5 * len(times)
    assert {later - before for before, later in itertools.pairwise(times)} == {parts.SECOND}


def test_points_arrive_and_secrets_are_the_services_own(debian: Debian, package: Path, telegraf_package: Path) -> None:
    debian.install(telegraf_package)
    debian.install(package)
    assert debian.run("clpm-execd", "--version") == f"clpm-execd {clpm_execd.__version__}\n"
    assert debian.run("clpm-execd", "check", "--config", "/etc/clpm-execd/loops.toml") == "ok: 5 loops\n"
    debian.receive(25)
    assert_whole(debian.points())
    rights = debian.run("stat", "--format", "%a %U:%G %n", "/etc/clpm-execd/env", "/etc/clpm-execd/token", f"/{STATE}")
    assert rights.splitlines() == ["640 root:root /etc/clpm-execd/env", "600 root:root /etc/clpm-execd/token",
                                   f"700 telegraf:telegraf /{STATE}"]


def test_telegraf_may_be_installed_later(debian: Debian, package: Path, telegraf_package: Path) -> None:
    debian.install(package)
    assert not (debian.root / STATE).exists()
    debian.install(telegraf_package)
    debian.receive(10)
    assert any((debian.root / STATE).iterdir())


def test_an_upgrade_keeps_state_and_settings(
    debian: Debian, package: Path, next_package: Path, telegraf_package: Path
) -> None:
    debian.install(telegraf_package, package)
    settings = debian.root / "etc" / "clpm-execd" / "env"
    settings.write_text("INFLUXDB_URL=http://plant:8086\n")
    (debian.root / "etc" / "clpm-execd" / "token").write_text("secret")
    debian.receive(25)
    debian.install(next_package)
    assert debian.run("clpm-execd", "--version") == f"clpm-execd {NEXT_VERSION}\n"
    assert settings.read_text() == "INFLUXDB_URL=http://plant:8086\n"
    assert (debian.root / "etc" / "clpm-execd" / "token").read_text() == "secret"
    debian.receive(50)  # from the last point on, without a gap
    assert_whole(debian.points())


def test_a_removal_lets_telegraf_run_and_can_be_undone(debian: Debian, package: Path, telegraf_package: Path) -> None:
    debian.install(telegraf_package, package)
    drop_in = debian.root / DROP_IN
    text = drop_in.read_text() + "# A change of the site.\n"
    drop_in.write_text(text)
    debian.receive(25)
    debian.run("dpkg", "--remove", "clpm-execd")
    assert not (debian.root / "usr" / "lib" / "clpm-execd").exists()
    with debian.telegraf():
        parts.until(lambda: "Loaded inputs: internal\n" in debian.log.read_text(), 20, "Telegraf without the plugin")
    debian.install(package)
    assert drop_in.read_text() == text
    debian.receive(50)
    assert_whole(debian.points())


def test_a_purge_leaves_nothing(debian: Debian, package: Path, next_package: Path, telegraf_package: Path) -> None:
    debian.install(telegraf_package)
    before = debian.files()
    debian.install(package)
    debian.install(next_package)
    debian.receive(10)
    debian.run("dpkg", "--purge", "clpm-execd")
    assert debian.files() == before
    debian.install(package)
    debian.run("dpkg", "--remove", "clpm-execd")
    debian.run("dpkg", "--purge", "clpm-execd")
    assert debian.files() == before


def test_the_values_are_those_of_every_other_platform(debian: Debian, package: Path) -> None:
    debian.install(package)
    golden = parts.ROOT / "tests" / "golden"
    expected = subprocess.run([sys.executable, golden / "digest.py", "--expected"], capture_output=True, text=True,
                              check=True).stdout
    shutil.copytree(golden, debian.root / "tmp" / "golden")
    assert debian.run("env", "PYTHONPATH=/usr/lib/clpm-execd", "python3", "/tmp/golden/digest.py") == expected
