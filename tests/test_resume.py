"""The program with a state folder: killed at any moment and started again, its stream is the one of `generate`.

`generate` with the start of the first process is what the stream would have been had nothing happened. Lines may come
twice, the same; none is missing and none differs.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from command import environment
from tiers import CAMPAIGNS

KILLS = 50 if CAMPAIGNS else 3
FLOW = """
[output]
truth = true

[[loop]]
id = "FIC1"
[[loop.fault]]
kind = "stiction"
start = "2s"
ramp = "60s"
[[loop.fault]]
kind = "late"
share = 0.3
delay = 3.0
[[loop.move]]
at = "4s"
sp = 60.0
ramp = "90s"
"""
CASCADE = """
[[loop]]
id = "TIC1"
type = "temperature"
[[loop.fault]]
kind = "manual"
start = "5s"
duration = "5s"
repeat = "15s"

[[loop]]
id = "FIC2"
cascade = "TIC1"
"""
NEW = '\n[[loop]]\nid = "PIC1"\ntype = "pressure"\npv = 40.0\n'


def live(command: Sequence[str], out: Path, seconds: float, *, kill: bool) -> str:
    """Run the stream for this time and append its lines to `out`; return its log.

    One that is to be killed may be at any moment, one that is to be stopped has first got to work.
    """
    before = out.stat().st_size if out.exists() else 0
    with (out.open("ab") as lines, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=lines, stderr=subprocess.PIPE, text=True,
            env=environment(), cwd=out.parent) as process):
        while not kill and process.poll() is None and out.stat().st_size == before:
            time.sleep(0.02)
        time.sleep(seconds)
        (process.kill if kill else process.terminate)()
        assert process.stderr is not None
        logged = process.stderr.read()
    assert kill or process.returncode == 0, logged
    return logged


def samples(lines: Sequence[str]) -> list[str]:
    """Without ground truth."""
    return [line for line in lines if line.startswith("control_loops,")]


def stamps(lines: Sequence[str]) -> list[int]:
    return sorted({int(line.rpartition(" ")[2]) for line in samples(lines)})


def generate(command: Sequence[str], first: int, last: int, *options: str) -> list[str]:
    """Return the lines from the first to the last time, ns."""
    start = datetime.fromtimestamp(first // 10**9, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    result = subprocess.run(
        [*command, "generate", "--start", start, "--duration", f"{(last - first) // 10**9 + 1}s", *options],
        capture_output=True, text=True, env=environment(), timeout=120, check=True)
    return result.stdout.splitlines()


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_stream_that_is_killed_repeatedly_equals_generate(tmp_path: Path, clpm_execd: list[str]) -> None:
    (tmp_path / "loops.toml").write_text(FLOW + CASCADE)
    config = ("--config", str(tmp_path / "loops.toml"))
    command, out = [*clpm_execd, *config, "--state", str(tmp_path / "state")], tmp_path / "out.lp"
    chance = random.Random(5)
    live(command, out, 0.0, kill=False)
    for _ in range(KILLS):
        live(command, out, chance.uniform(0.4, 2.5) if KILLS < 10 else chance.uniform(0.4, 8.0), kill=True)
    log = live(command, out, 3.0, kill=False)
    assert "3 loops restored, 0 new, 0 removed" in log
    lines = [line for line in out.read_text().splitlines() if line]
    times = stamps(lines)
    assert times[-1] > time.time_ns() - 5 * 10**9, "it has caught up"
    assert set(lines) == set(generate(clpm_execd, times[0], times[-1], *config))


def test_a_stream_that_is_stopped_repeats_nothing(tmp_path: Path, clpm_execd: list[str]) -> None:
    command, out = [*clpm_execd, "--state", str(tmp_path / "state")], tmp_path / "out.lp"
    for _ in range(2):
        live(command, out, 1.6, kill=False)
    lines = out.read_text().splitlines()
    times = stamps(lines)
    assert lines == generate(clpm_execd, times[0], times[-1])


def test_a_new_loop_starts_at_the_resume_point_and_a_removed_one_ends(
        tmp_path: Path, clpm_execd: list[str]) -> None:
    file, out = tmp_path / "loops.toml", tmp_path / "out.lp"
    config = ("--config", str(file))
    command = [*clpm_execd, *config, "--state", str(tmp_path / "state")]
    file.write_text(FLOW + CASCADE)
    live(command, out, 1.6, kill=False)
    before = out.read_text().splitlines()
    file.write_text(FLOW + NEW)
    log = live(command, out, 2.0, kill=False)
    assert "1 loop restored, 1 new, 2 removed" in log
    after = samples(out.read_text().splitlines()[len(before):])
    assert {line.split("loop_id=")[1].split()[0] for line in after} == {"FIC1", "PIC1"}
    both, fresh = stamps([*before, *after]), [line for line in after if "PIC1" in line]
    assert both == list(range(both[0], both[-1] + 1, 10**9)), "no hole and no overlap"
    file.write_text(FLOW)
    complete = generate(clpm_execd, both[0], both[-1], *config)
    assert {line for line in [*samples(before), *after] if "FIC1" in line} == set(samples(complete))
    file.write_text(NEW)
    assert fresh == generate(clpm_execd, stamps(fresh)[0], stamps(fresh)[-1], *config)


def test_a_backfill_joins_the_live_stream_and_is_not_repeated(tmp_path: Path, clpm_execd: list[str]) -> None:
    command, out = [*clpm_execd, "--state", str(tmp_path / "state"), "--backfill", "2h"], tmp_path / "out.lp"
    start = time.monotonic()
    live(command, out, 0.5, kill=True)
    for _ in range(2):
        log = live(command, out, 2.5, kill=False)
    assert "W! --backfill is not repeated: the stream goes on where its checkpoint in" in log
    lines = out.read_text().splitlines()
    times = stamps(lines)
    assert 7200 <= len(times) <= 7202 + time.monotonic() - start
    assert times == list(range(times[0], times[-1] + 1, 10**9))
    assert sorted(set(lines)) == sorted(generate(clpm_execd, times[0], times[-1]))


def test_after_a_gap_over_the_limit_the_stream_starts_from_scratch(tmp_path: Path, clpm_execd: list[str]) -> None:
    command, out = [*clpm_execd, "--state", str(tmp_path / "state"), "--catch-up", "1s"], tmp_path / "out.lp"
    live(command, out, 1.2, kill=False)
    time.sleep(1.5)
    log = live(command, out, 1.2, kill=False)
    [warning] = [line for line in log.splitlines() if line.startswith("W! ")]
    assert re.fullmatch(r"W! the last stream ended .* ago, more than --max-gap 1 s; starting from scratch, .*", warning)


def test_a_checkpoint_of_another_kind_of_source_is_moved_away(tmp_path: Path, clpm_execd: list[str]) -> None:
    record = tmp_path / "record.csv"
    record.write_text("time,PV,OP,SP\n" + "".join(
        f"2025-01-10T10:05:{second:02d}Z,{second},50,60\n" for second in range(10)))
    command, out = [*clpm_execd, "--state", str(tmp_path / "state"), "--count", "1"], tmp_path / "out.lp"
    live(command, out, 1.5, kill=False)
    log = live([*command, "--replay", str(record)], out, 1.5, kill=False)
    [warning] = [line for line in log.splitlines() if line.startswith("W! ")]
    assert "it is of a plant, and this stream is of a record" in warning
    assert len(list((tmp_path / "state" / "corrupt").iterdir())) == 1
    assert "1 loop restored" in live([*command, "--replay", str(record)], out, 1.5, kill=False)
