"""Many loops fitted to their records and compared with them, on all cores.

A process fits one loop at a time on one thread. Few or short loops are fitted in this process, because starting another
one takes longer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection

from clpm_execd.evaluation.learned_vs_record import LoopFit, compare_with_record
from clpm_execd.identification.learn import learn
from clpm_execd.records.record import Record

MIN_PARALLEL_SAMPLES = 4000  # of all loops together: fewer are fitted in the time in which two processes start
POLL_SECONDS = 0.2  # between looks at a request to stop


@dataclass(frozen=True, slots=True)
class FitTask:
    """A loop to be fitted.

    Parameters
    ----------
    source : str
        The file or files of the record.
    record : Record
        Of this loop alone.
    span, op_span : tuple of float, optional
        The ranges of PV and OP, as `identification.learn.learn` takes them.
    kind : str, optional
        The loop type.
    """

    source: str
    record: Record
    span: tuple[float, float] | None = None
    op_span: tuple[float, float] | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class FailedFit:
    """A loop that could not be fitted.

    Parameters
    ----------
    source, loop_id : str
        The file or files of the record, and the loop in it.
    reason : str
        What went wrong, in a phrase.
    """

    source: str
    loop_id: str
    reason: str

    @classmethod
    def of(cls, task: FitTask, reason: str) -> FailedFit:
        """Return the failure of a task."""
        return cls(task.source, task.record.loops[0], reason)


def fit_loop(task: FitTask) -> LoopFit | FailedFit:
    """Return the loop of a task, fitted and compared with its record; no warning of a library reaches the terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learned = learn(task.record, 0, span=task.span, op_span=task.op_span, kind=task.kind)
            return LoopFit(task.source, learned, compare_with_record(task.record, 0, learned))
    except Exception as error:  # whatever it is concerns this loop alone: the others are fitted all the same
        return FailedFit.of(task, f"{type(error).__name__}: {error}")


def fit_loops(tasks: Sequence[FitTask], *, should_stop: Callable[[], bool], on_fit: Callable[[int], None]
              ) -> list[LoopFit | FailedFit]:
    """Return the loops of all tasks, in their order; fewer after a request to stop.

    Parameters
    ----------
    tasks : sequence of FitTask
        The loops.
    should_stop : callable
        Whether to stop, which is asked several times per second.
    on_fit : callable
        Called whenever a loop is fitted, with the number of those that are.
    """
    samples = sum(len(task.record.times) for task in tasks)
    workers = min(_count_cores(), len(tasks))
    if workers > 1 and samples >= MIN_PARALLEL_SAMPLES:
        return _fit_in_processes(tasks, workers, should_stop, on_fit)
    fits: list[LoopFit | FailedFit] = []
    for task in tasks:
        if should_stop():
            break
        fits.append(fit_loop(task))
        on_fit(len(fits))
    return fits


def _count_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _fit_in_processes(tasks: Sequence[FitTask], workers: int, should_stop: Callable[[], bool],
                      on_fit: Callable[[int], None]) -> list[LoopFit | FailedFit]:
    with _start_pool(workers) as pool:
        futures = [pool.submit(fit_loop, task) for task in tasks]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
            for k in range(len(done)):
                on_fit(len(futures) - len(pending) - len(done) + k + 1)
            if should_stop():
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                return []
        is_fitted = [not isinstance(future.exception(), BrokenProcessPool) for future in futures]
    # A process that is killed takes all loops with it that wait: each of these gets a process of its own.
    return [future.result() if fitted else _fit_alone(task)
            for task, future, fitted in zip(tasks, futures, is_fitted, strict=True)]


def _fit_alone(task: FitTask) -> LoopFit | FailedFit:
    with _start_pool(1) as pool:
        try:
            return pool.submit(fit_loop, task).result()
        except BrokenProcessPool:
            return FailedFit.of(task, "its process was killed, perhaps because the memory was full")


def _start_pool(workers: int) -> ProcessPoolExecutor:
    # A forked process would inherit the threads' locks of the libraries that are loaded.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_first_process)


def _follow_first_process() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the first process, and end when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first_process = multiprocessing.parent_process()
    if first_process is not None:
        threading.Thread(target=_end_after, args=(first_process.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
