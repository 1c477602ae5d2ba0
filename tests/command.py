"""The command `clpm-execd` called within the tests' own process: no new Python, and so in milliseconds.

What a command changes of its process is put back: the working folder, the environment, the standard descriptors, signal
handlers and the log. A test of a signal, a pipe, a terminal or of what is imported needs a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from clpm_execd.__main__ import main
from clpm_execd.outputs import prefetch

PROGRAM_SETTINGS = ("INFLUXDB_", "CLPM_", "STREAM_", "LOG_")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
            signal.SIGALRM)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tests' own environment without any setting of the program, and these variables besides."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PROGRAM_SETTINGS)}
    return own | dict(more or {})


def run_command(
    *words: str | Path, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `clpm-execd` with these words in `folder`, nothing on stdin, until it ends by itself."""
    arguments = ["clpm-execd", *map(str, words)]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        with _as_a_process(arguments, folder, environment(env), stdout.fileno(), stderr.fileno()):
            try:
                status = main()
            except SystemExit as end:
                status = _exit_status(end)
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                status = 1
        output, errors = (_text_of(stream.fileno()) for stream in (stdout, stderr))
    return subprocess.CompletedProcess(arguments, status, output, errors)


def run_process(
    command: Sequence[str | Path], *, folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run any command in a process of its own, in `folder`, nothing on stdin, until it ends by itself."""
    return subprocess.run(list(map(str, command)), cwd=folder, env=environment(env), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)


def _exit_status(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
        return 1
    return end.code or 0


def _text_of(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode().replace("\r\n", "\n")


@contextlib.contextmanager
def _as_a_process(arguments: list[str], folder: Path, env: Mapping[str, str], stdout: int, stderr: int
                  ) -> Iterator[None]:
    """The state of a process that has just been started, and afterwards the state that was before."""
    with (
        _descriptors(stdout, stderr), _streams(), _signal_handlers(), _log(), _working_folder(folder),
        _environment(env), _excepthooks(), warnings.catch_warnings(),
        mock.patch.object(prefetch, "count_processors", return_value=1),  # so that it starts no second process
    ):
        before, sys.argv = sys.argv, arguments
        try:
            yield
        finally:
            sys.argv = before


@contextlib.contextmanager
def _descriptors(stdout: int, stderr: int) -> Iterator[None]:
    """Descriptors 0, 1 and 2 on /dev/null and on these files."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(fd) for fd in range(3)]
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        for fd, target in enumerate((nothing, stdout, stderr)):
            os.dup2(target, fd)
        yield
    finally:
        for fd, saved in enumerate(before):
            os.dup2(saved, fd)
            os.close(saved)
        os.close(nothing)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Python's streams on the descriptors, as it opens them where it starts."""
    before = sys.stdin, sys.stdout, sys.stderr
    with (
        open(0, encoding="utf-8", closefd=False) as stdin,
        open(1, "w", encoding="utf-8", closefd=False) as stdout,
        open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False) as stderr,
    ):
        sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        handler = signal.getsignal(signal.SIGTERM)
        signal.set_wakeup_fd(wakeup)
        for number, old in before.items():
            signal.signal(number, old)
        if handler is not before[signal.SIGTERM]:
            handler.__self__.close()  # type: ignore[union-attr]  # the pipe of the program's own Signals


@contextlib.contextmanager
def _log() -> Iterator[None]:
    """A root logger without handlers; those of pytest are back afterwards."""
    root, http = logging.getLogger(), logging.getLogger("urllib3")
    before = root.handlers, root.level, http.level, logging.raiseExceptions
    root.handlers = []
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        logging.captureWarnings(False)
        root.handlers, logging.raiseExceptions = before[0], before[3]
        root.setLevel(before[1])
        http.setLevel(before[2])


@contextlib.contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _excepthooks() -> Iterator[None]:
    before = sys.excepthook, threading.excepthook
    sys.excepthook = lambda kind, error, trace: traceback.print_exception(kind, error, trace)
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = before
