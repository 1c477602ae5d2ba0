"""What every test may ask for: the program under test, and the real parts it meets (see parts.py).

The tiers of the tests and the switch for the campaigns, CLPM_LONG=1, are in tiers.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# As the program sets it: one thread for small matrices. To be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# pytest imports test files by their path and leaves this folder off the module path.
sys.path.append(str(Path(__file__).parent))

import parts

pytest_plugins = ["tiers"]


def pytest_configure() -> None:
    """Let tests close terminals under `nohup` too, which ignores the signal, as the program then does."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def clpm_execd() -> list[str]:
    """The command of the program under test."""
    return [sys.executable, "-m", "clpm_execd"]


@pytest.fixture(scope="session")
def telegraf() -> Path:
    """The binary of the real Telegraf."""
    return parts.telegraf()


@pytest.fixture
def collector(telegraf: Path, tmp_path: Path, clpm_execd: list[str]) -> parts.Telegraf:
    """The real Telegraf around the program, with a folder, a log and an output file of the test's own."""
    return parts.Telegraf(telegraf, tmp_path, clpm_execd)


@pytest.fixture(scope="session")
def nats_server() -> Path:
    """The binary of the real NATS server."""
    return parts.binary("nats", "nats-server")


@pytest.fixture(scope="session")
def influxd() -> Path:
    """The binary of the real InfluxDB 2."""
    return parts.binary("influxdb", "influxd")


@pytest.fixture(scope="session")
def influxdb(influxd: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.InfluxDB]:
    """A real InfluxDB 2 for the whole run; a test takes a `new_bucket()`."""
    with parts.influxdb(influxd, tmp_path_factory.mktemp("influxdb")) as server:
        yield server


@pytest.fixture(scope="session")
def podman() -> parts.Podman:
    """Containers, with the base images in place."""
    folder = parts.PARTS.parent / f"containers-{parts.version('images')}"
    if not list(folder.glob("images-*")):
        parts.missing("containers")
    return parts.Podman(folder)
