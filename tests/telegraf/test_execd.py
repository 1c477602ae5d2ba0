"""The shipped configurations under the real Telegraf: what the loops send is what arrives, once, and it ends well."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from parts import ROOT, SECOND, InfluxDB, Point, Telegraf, children, runs, until
from tiers import CAMPAIGNS

SHIPPED = ROOT / "telegraf"
DROP_IN = SHIPPED / "clpm-execd.conf"
LOOPS = {"TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034"}

INSTANTS = 60 if CAMPAIGNS else 12
LONGEST_START = 10  # s: a busy machine takes some to start Python; who waits for another process waits for 12


def instants(points: list[Point]) -> list[int]:
    return sorted({point.time for point in points})


def assert_whole(points: list[Point], breaks: int = 0) -> None:
    """Five loops at every instant, each once, PV, OP and SP in all; at most `breaks` holes in the grid."""
    times = instants(points)
    assert all(stamp % SECOND == 0 for stamp in times), "a sample lies off the grid"
    twice = {key: n for key, n in Counter((p.time, p.loop) for p in points).items() if n > 1}
    assert not twice, f"more than one point for a loop and instant: {twice}"
    assert {point.loop for point in points} == LOOPS
    assert len(points) == len(times) * len(LOOPS), "a loop is missing at some instant"
    assert all(set(point.fields) == {"PV", "OP", "SP"} for point in points)
    holes = [later - before for before, later in itertools.pairwise(times) if later - before != SECOND]
    assert len(holes) <= breaks, f"the stream has holes: {holes}"


def complaints(log: list[str]) -> list[str]:
    return [line for line in log if " E! " in line]


def stop(agent: subprocess.Popen[bytes], log: Path, how: signal.Signals) -> float:
    """Send the signal; return the seconds until the agent has ended."""
    start = time.monotonic()
    agent.send_signal(how)
    until(lambda: agent.poll() is not None, 20, f"Telegraf's end after {how.name}; see {log}")
    return time.monotonic() - start


@pytest.mark.parametrize("name", ["telegraf.conf", "clpm-execd.conf"])
def test_telegraf_accepts_the_shipped_configuration(collector: Telegraf, name: str) -> None:
    collector.environment |= {f"INFLUXDB_{key}": "x" for key in ("URL", "TOKEN", "ORG", "BUCKET")}
    checked = collector.once("config", "check", "--config", str(SHIPPED / name))
    assert checked.returncode == 0, checked.stderr
    assert not complaints(checked.stderr.splitlines())


def test_telegraf_once_delivers_a_metric_for_each_loop(collector: Telegraf) -> None:
    ran = collector.once(*collector.command(collector.file_output(), DROP_IN, options=("--once",))[1:])
    assert ran.returncode == 0, ran.stderr
    assert not complaints(ran.stderr.splitlines())
    points = collector.points()
    assert points
    assert_whole(points)  # of a slow start it may be more than one instant


@pytest.mark.timeout(INSTANTS + 120)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_every_loop_has_one_point_in_influxdb_for_every_instant(
    collector: Telegraf, influxdb: InfluxDB, how: signal.Signals
) -> None:
    bucket = influxdb.new_bucket()
    settings = {
        "INFLUXDB_URL": influxdb.url,
        "INFLUXDB_TOKEN": influxdb.token,
        "INFLUXDB_ORG": influxdb.org,
        "INFLUXDB_BUCKET": bucket,
    }
    # The same metrics into a file: there a point sent twice stays two, where InfluxDB would keep one.
    beside = collector.config(
        "beside.conf", f'[[outputs.file]]\n  files = ["{collector.output}"]\n  data_format = "influx"\n'
    )
    least = INSTANTS if how is signal.SIGTERM else 3
    with collector.agent(SHIPPED / "telegraf.conf", beside, **settings) as agent:
        until(
            lambda: agent.poll() is not None or len(instants(influxdb.points(bucket))) >= least,
            least + 30,
            f"{least} instants in InfluxDB; see {collector.log}",
        )
        assert agent.poll() is None, collector.logged()[-5:]
        took = stop(agent, collector.log, how)
    points = influxdb.points(bucket)
    assert_whole(points)
    assert len(instants(points)) >= least
    sent = collector.points()
    assert_whole(sent)
    assert [(p.time, p.loop, p.mode, p.fields) for p in points] == sorted(
        (p.time, p.loop, p.mode, p.fields) for p in sent
    )
    assert not complaints(collector.logged())
    assert took < 2.0


def test_a_reload_repeats_nothing_and_each_process_leaves_no_hole(collector: Telegraf) -> None:
    with collector.agent(collector.file_output(), DROP_IN) as agent:
        until(lambda: len(instants(collector.points())) >= 4, 30, f"four instants; see {collector.log}")
        agent.send_signal(signal.SIGHUP)
        until(
            lambda: sum("Starting process" in line for line in collector.logged()) == 2,
            20,
            f"the second process; see {collector.log}",
        )
        before = len(instants(collector.points()))
        until(
            lambda: len(instants(collector.points())) >= before + 4,
            30,
            f"four more instants; see {collector.log}",
        )
        stop(agent, collector.log, signal.SIGTERM)
    points = collector.points()
    assert_whole(points, breaks=1)
    times = instants(points)
    assert times[-1] - times[0] < (len(times) + LONGEST_START) * SECOND, "the new process took its time"
    assert not complaints(collector.logged())


def test_a_wrong_loops_file_is_one_readable_error(collector: Telegraf) -> None:
    loops = collector.config("loops.toml", '[[loop]]\nid = "TIC1"\n\n[loop.valve]\nlagg = 1.0\n')
    with collector.agent(collector.file_output(), DROP_IN, CLPM_LOOPS=str(loops)) as agent:
        until(
            lambda: any("exited: exit status 2" in line for line in collector.logged()),
            30,
            f"the plugin's refusal, exit status 2; see {collector.log}",
        )
        assert agent.poll() is None, "a wrong loops.toml must not end Telegraf"
    log = collector.logged()
    ended = next(number for number, line in enumerate(log) if "exited: exit status 2" in line)
    errors = complaints(log[:ended])
    assert len(errors) == 1, errors
    assert "loops.toml" in errors[0]
    assert "lagg" in errors[0]
    assert re.search(r"\blag\b", errors[0]), "the key that was meant is not offered"
    assert not collector.points()


def test_a_killed_plugin_is_started_again_and_repeats_nothing(collector: Telegraf) -> None:
    with collector.agent(collector.file_output(), collector.restarting_soon(DROP_IN)) as agent:
        until(lambda: len(instants(collector.points())) >= 2, 30, f"two instants; see {collector.log}")
        (plugin,) = children(agent.pid)
        os.kill(plugin, signal.SIGKILL)
        until(
            lambda: any(child != plugin for child in children(agent.pid)),
            20,
            f"a new process; see {collector.log}",
        )
        before = len(instants(collector.points()))
        until(
            lambda: len(instants(collector.points())) >= before + 3,
            30,
            f"three more instants; see {collector.log}",
        )
        stop(agent, collector.log, signal.SIGTERM)
    assert_whole(collector.points(), breaks=1)


def test_the_plugin_leaves_when_telegraf_is_killed(collector: Telegraf) -> None:
    with collector.agent(collector.file_output(), DROP_IN) as agent:
        until(collector.points, 30, f"the first point; see {collector.log}")
        (plugin,) = children(agent.pid)
        agent.kill()
        agent.wait(10)
        until(lambda: not runs(plugin), 5, "the plugin's end after its Telegraf's")
