"""The tiers of the tests, and the one switch for the campaigns.

    pytest -m unit          in under a minute: no other process, no server, nothing that computes for long
    pytest                  every test, the real Telegraf, InfluxDB and containers included
    CLPM_LONG=1 pytest      the campaigns too: large populations, many kills, long outages

A test is a unit test unless it is marked otherwise. `process` is for a test that starts another program or needs a
server; one that asks for a fixture of PROCESS_FIXTURES has the mark by itself. `slow` is for a test that computes
or waits for more than about a second. A unit test that starts a process all the same fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import hypothesis
import pytest

# Whether the campaigns run: sizes and durations that show the shares, where a default run shows that they can be shown.
CAMPAIGNS = bool(os.environ.get("CLPM_LONG"))


def examples(count: int) -> int:
    """Return how many examples hypothesis draws: so many in a campaign, others each time; else a third, the same."""
    return count if CAMPAIGNS else -(-count // 3)


MARKS = {
    "unit": "no other process, no server, nothing that computes for long; given to every test without another mark",
    "process": "starts another program, or needs a server",
    "slow": "computes or waits for more than about a second",
    "campaign": "takes minutes: runs with CLPM_LONG=1 only",
}

PROCESS_FIXTURES = {"clpm_execd", "collector", "database", "influxd", "influxdb", "nats_server", "podman", "telegraf"}

_STARTS_OF_PROCESSES = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}


class _Guard:
    """While it is on, no process starts."""

    def __init__(self) -> None:
        self.is_on = False
        sys.addaudithook(self._on_event)  # there is no way to remove one

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event in _STARTS_OF_PROCESSES:
            pytest.fail(f"a unit test starts a process ({event} {arguments[0] if arguments else ''}): "
                        "call the program in this process, or mark the test with pytest.mark.process")


_GUARD = _Guard()


def pytest_configure(config: pytest.Config) -> None:
    # An example that takes long on a busy machine is no failure.
    hypothesis.settings.register_profile("ours", deadline=None, max_examples=examples(100), derandomize=not CAMPAIGNS)
    hypothesis.settings.load_profile("ours")
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


@pytest.hookimpl(tryfirst=True)  # before -m chooses among the tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its tier, and put the tests that take longest first."""
    for item in items:
        if PROCESS_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("process")
        if item.path.parent.name == "benchmarks":
            item.add_marker("slow")
        if item.get_closest_marker("campaign") and not CAMPAIGNS:
            item.add_marker(pytest.mark.skip(reason="a campaign: CLPM_LONG=1"))
        if not any(item.get_closest_marker(name) for name in ("process", "slow", "campaign")):
            item.add_marker("unit")
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, bool]:
    """Processes first, which mostly wait, unit tests last, and modules that one worker runs before single tests."""
    tier = next(k for k, name in enumerate(("process", "slow", "campaign", "unit")) if item.get_closest_marker(name))
    return tier, not _shares_fixtures(item.path)


@cache
def _shares_fixtures(module: Path) -> bool:
    """Whether the tests of a module share a fixture or a cached result, which one worker then makes once."""
    text = module.read_text()
    return 'scope="module"' in text or "\n@cache\n" in text


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Return the scheduler of `--dist loadscope`, whose scope is a test where a module shares nothing."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return module if _shares_fixtures(config.rootpath / module) else nodeid

    return Scheduling(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _GUARD.is_on = item.get_closest_marker("unit") is not None
    try:
        return (yield)
    finally:
        _GUARD.is_on = False
