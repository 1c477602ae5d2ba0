"""Many loops are fitted in parallel, and a failure of one does not affect the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_records import flow, record_of, run

from clpm_execd.evaluation import fitting
from clpm_execd.evaluation.fitting import FailedFit, FitTask, fit_loops
from clpm_execd.evaluation.learned_vs_record import LoopFit


class KillsItsProcess(str):
    """A loop type whose arrival in another process ends that."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (1,)


def tasks(*kinds: str) -> list[FitTask]:
    record = record_of(run(flow(), 200))
    return [FitTask(f"{k}.csv", record, kind=kind) for k, kind in enumerate(kinds)]


def fit(tasks: list[FitTask]) -> list[LoopFit | FailedFit]:
    return fit_loops(tasks, should_stop=lambda: False, on_fit=lambda _: None)


@pytest.mark.slow
def test_a_loop_that_cannot_be_fitted_leaves_the_others_fitted() -> None:
    first, second, third = fit(tasks("flow", "no such type", "flow"))
    assert isinstance(first, LoopFit)
    assert isinstance(third, LoopFit)
    assert isinstance(second, FailedFit)
    assert (second.source, second.loop_id) == ("1.csv", "FIC101")
    assert "no such type" in second.reason


@pytest.mark.campaign
def test_a_process_that_is_killed_takes_its_own_loop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MIN_PARALLEL_SAMPLES", 0)
    monkeypatch.setattr(fitting, "_count_cores", lambda: 2)
    killed, fitted = fit(tasks(KillsItsProcess("flow"), "flow"))
    assert isinstance(killed, FailedFit)
    assert killed.reason.startswith("its process was killed")
    assert isinstance(fitted, LoopFit)


@pytest.mark.process
def test_the_processes_of_a_fit_end_when_the_first_one_is_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
import os, time
from clpm_execd.evaluation.fitting import _start_pool
if __name__ == "__main__":
    pool = _start_pool(1)
    pool.submit(os.getpid).result()
    pool.submit(time.sleep, 600)
    print("fitting", flush=True)
    time.sleep(600)
""")
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fitting\n"
        process.kill()
        assert process.communicate(timeout=10) == ("", None)  # the end of stdout, which all of them have
