"""What a live stream costs the machine it shares: processor, memory, wake-ups."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from parts import children
from results import Results
from tiers import CAMPAIGNS

SECONDS = 30 if CAMPAIGNS else 3


class Live:
    """A stream that runs, read by nobody in particular, and what the kernel says of it."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """Seconds so far, of all threads."""
        return sum(int(path.read_text().split()[0]) for path in self._proc.glob("task/*/schedstat")) / 1e9

    def status(self, name: str) -> int:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def live(command: list[str], folder: Path) -> Iterator[Live]:
    """From its first line on."""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        out = process.stdout.fileno()
        os.read(out, 1)
        reader = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(out, 1 << 20), b"")])
        reader.start()
        time.sleep(1.5)
        yield Live(process.pid)
        process.terminate()
        reader.join()


def test_five_loops(clpm_execd: list[str], tmp_path: Path, results: Results) -> None:
    with live(clpm_execd, tmp_path) as stream:
        cpu, switches, start = stream.cpu(), stream.status("voluntary_ctxt_switches"), time.monotonic()
        time.sleep(SECONDS)
        passed = time.monotonic() - start
        table = "five loops at 1 s, live"
        results.add(table, "share of a core", 100 * (stream.cpu() - cpu) / passed, "%")
        results.add(table, "wake-ups", (stream.status("voluntary_ctxt_switches") - switches) / passed, "per second")
        results.add(table, "memory", stream.status("VmRSS") / 1024, "MiB")


def test_a_hundred_thousand_loops(clpm_execd: list[str], tmp_path: Path, results: Results) -> None:
    loops = 100_000 if CAMPAIGNS else 5000
    (tmp_path / "loops.toml").write_text(f'[[loop]]\nid = "FIC{{:06d}}"\ntype = "flow"\ncount = {loops}\n')
    with live(clpm_execd, tmp_path) as stream:
        base = stream.status("VmRSS")
    with live([*clpm_execd, "--config", "loops.toml"], tmp_path) as stream:
        cpu, start = stream.cpu(), time.monotonic()
        time.sleep(SECONDS)
        table = f"{loops:,} loops at 1 s, live"
        results.add(table, "share of a core", 100 * (stream.cpu() - cpu) / (time.monotonic() - start), "%")
        results.add(table, "memory a loop, over five loops", (stream.status("VmRSS") - base) * 1024 / loops, "bytes")


def peak(command: list[str], folder: Path) -> int:
    """KiB, of the process and the one that works ahead together."""
    peaks: dict[int, int] = {}
    with subprocess.Popen(command, cwd=folder) as process:
        while process.poll() is None:
            for pid in (process.pid, *children(process.pid)):
                with contextlib.suppress(OSError, StopIteration):
                    peaks[pid] = Live(pid).status("VmHWM")
            time.sleep(0.05)
    assert process.returncode == 0
    return sum(peaks.values())


def test_memory_does_not_grow_with_duration(clpm_execd: list[str], tmp_path: Path, results: Results) -> None:
    """Both are long enough for the extra `fast`, where it is installed, or both too short."""
    def generate(hours: int) -> int:
        return peak([*clpm_execd, "generate", "--duration", f"{hours}h", "--output", os.devnull], tmp_path)

    hours = (240, 2400) if CAMPAIGNS else (4, 12)
    short, long = (generate(each) for each in hours)
    table = "peak memory of generate, five loops"
    results.add(table, f"{hours[0]} hours", short / 1024, "MiB")
    results.add(table, f"{hours[1]} hours", long / 1024, "MiB", long / short, f"this / {hours[0]} hours")
