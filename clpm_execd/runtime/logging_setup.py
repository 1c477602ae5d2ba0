"""The log: never on stdout, one line per message, no secret in it, and no failure of it that harms the stream.

Under Telegraf a line on stderr starts with its level (`E! `, `W! `, `I! `, `D! `, `T! `), a traceback is folded into
the line, control characters are escaped, and no line exceeds 4 KiB: a pipe takes such a line completely or not at all,
so a reader that has stopped costs lines of the log instead of the stream.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from clpm_execd.paths import follow_links, is_replaceable
from clpm_execd.runtime.readiness import wait_until_ready

TRACE = 5  # below logging.DEBUG, which is 10
MAX_LINE_BYTES = 4096  # PIPE_BUF of Linux: a write of so many bytes is atomic

MAX_LOG_FILE_BYTES = 10_000_000  # an editor opens it at once
ROTATED_LOG_FILES = 3  # besides the current one: at most 40 MB of a disk
_READER_WAIT_SECONDS = 0.2  # for a reader of stderr that is busy, before a line is lost


class _Formatter(logging.Formatter):
    """Folds a record into one line, and writes *** for every secret before anything is escaped or cut."""

    def __init__(self, layout: str, secrets: Collection[str], *, telegraf: bool) -> None:
        super().__init__(layout, "%Y-%m-%dT%H:%M:%S%z")
        self._secrets = secrets
        self._telegraf = telegraf

    def format(self, record: logging.LogRecord) -> str:
        try:
            text = super().format(record)
        except Exception as error:
            text = f"{record.msg!r} {record.args!r} ({error})"
        for secret in sorted(filter(None, self._secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        text = " | ".join(line.strip() for line in text.splitlines() if line.strip())
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        return _shorten(_choose_level_prefix(record.levelno) + text if self._telegraf else text)


class TelegrafHandler(logging.Handler):
    """Writes lines to a stream, and loses them rather than wait for a reader that has stopped."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lost_lines = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
            try:
                fd = self._stream.fileno()
            except (OSError, ValueError, AttributeError):
                self._stream.write(line)
                return
            self._write(fd, line.encode(errors="backslashreplace"))
        except Exception:
            self._lost_lines += 1

    def _write(self, fd: int, line: bytes) -> None:
        if not wait_until_ready((), (fd,), _READER_WAIT_SECONDS if not self._lost_lines else 0):
            self._lost_lines += 1
            return
        os.write(fd, line)
        if self._lost_lines and wait_until_ready((), (fd,), 0):
            count, self._lost_lines = self._lost_lines, 0
            os.write(fd, f"W! {count} log lines were lost while nobody read them\n".encode())


class _SpecialFileHandler(TelegrafHandler):
    """Writes to a pipe, a device or an open descriptor in the same way, and closes it in the end."""

    def close(self) -> None:
        self._stream.close()
        super().close()


def build_telegraf_handler(stream: TextIO, secrets: Collection[str] = ()) -> logging.Handler:
    """Return a handler whose lines Telegraf reads as the log of a plugin; secrets may grow later."""
    handler = TelegrafHandler(stream)
    handler.setFormatter(_Formatter("%(message)s", secrets, telegraf=True))
    return handler


def configure_logging(
    level: int | str, *, telegraf: bool, log_file: Path | None = None, secrets: Sequence[str] = ()
) -> Callable[[str], None]:
    """Set up the log of the process.

    Parameters
    ----------
    level : int or str
        The lowest level that is logged.
    telegraf : bool
        Whether the lines on stderr are for Telegraf; if not, they have a time and a level.
    log_file : Path, optional
        A file that takes all lines too, rotated at 10 MB; a pipe, a device or a descriptor such as /dev/stderr is not.
        One that cannot be opened is a warning, and for Telegraf one that stdout goes to.
    secrets : sequence of str
        Texts that never appear in the log.

    Returns
    -------
    callable
        It takes a further secret, and hides it from then on.
    """
    hidden_texts: set[str] = set()

    def hide(secret: str) -> None:
        hidden_texts.update({secret, secret.strip(), ascii(secret)[1:-1]} - {""})

    for secret in secrets:
        hide(secret)
    logging.raiseExceptions = False
    logging.addLevelName(TRACE, "TRACE")
    logging.captureWarnings(True)
    with_time = _Formatter("%(asctime)s %(levelname)s %(message)s", hidden_texts, telegraf=False)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    console = build_telegraf_handler(sys.stderr, hidden_texts)
    if not telegraf:
        console.setFormatter(with_time)
    root.addHandler(console)
    root.setLevel(level)
    # Its debug lines show request headers, the token among them. What its warnings report, the sender reports too.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if log_file is not None:
        _add_log_file(root, log_file, with_time, takes_stdout=not telegraf)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return hide


def _add_log_file(root: logging.Logger, path: Path, formatter: logging.Formatter, *, takes_stdout: bool) -> None:
    """Log to a file as well. takes_stdout: whether it may be where stdout goes, because no samples go there."""
    if not takes_stdout and _is_stdout(path):
        root.warning("the log file %s is where the samples go; logging to stderr only", path)
        return
    try:
        handler = _open_log_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        root.warning("cannot open the log file %s: %s; logging to stderr only", path, reason)
        return
    handler.setFormatter(formatter)
    root.addHandler(handler)


def _is_stdout(path: Path) -> bool:
    """Whether a path is the pipe or file that stdout goes to; lines on a terminal disturb no reader of samples."""
    try:
        file, stdout = os.stat(follow_links(path)), os.fstat(1)
    except (OSError, ValueError):  # there is no such file yet, or stdout is closed
        return False
    return os.path.samestat(file, stdout) and not stat.S_ISCHR(stdout.st_mode)


def _open_log_file(path: Path) -> logging.Handler:
    """Return the handler of a log file; what is not a regular file is neither renamed nor waited for."""
    target = follow_links(path)
    if isinstance(target, int):
        return _SpecialFileHandler(os.fdopen(os.dup(target), "w"))
    if not is_replaceable(target):
        return _SpecialFileHandler(os.fdopen(os.open(target, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)), "w"))
    # Not at the top: it imports pickle and sockets, and Telegraf waits for the first line.
    from logging.handlers import RotatingFileHandler

    class RotatingLogFile(RotatingFileHandler):
        """Goes on in the same file where it cannot be rotated, and tries again once that has grown as much again."""

        def doRollover(self) -> None:  # noqa: N802 - the name in the standard library
            try:
                super().doRollover()
            except OSError as error:
                is_first = self.maxBytes == MAX_LOG_FILE_BYTES
                self.maxBytes += MAX_LOG_FILE_BYTES
                self.stream = self._open()
                if is_first:
                    logging.getLogger("clpm_execd").warning(
                        "cannot rotate the log file %s: %s; it grows beyond %d MB", path, error.strerror,
                        MAX_LOG_FILE_BYTES // 10**6)

    return RotatingLogFile(target, maxBytes=MAX_LOG_FILE_BYTES, backupCount=ROTATED_LOG_FILES, encoding="utf-8",
                           errors="backslashreplace")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("clpm_execd").critical("unhandled exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _choose_level_prefix(level: int) -> str:
    for lowest, prefix in ((logging.ERROR, "E! "), (logging.WARNING, "W! "), (logging.INFO, "I! ")):
        if level >= lowest:
            return prefix
    return "D! " if level >= logging.DEBUG else "T! "


def _shorten(text: str) -> str:
    """Return at most a line's bytes with its LF, without the middle: a traceback says at its end what happened."""
    raw = text.encode(errors="backslashreplace")
    if len(raw) < MAX_LINE_BYTES:
        return text
    half = (MAX_LINE_BYTES - 8) // 2
    return raw[:half].decode(errors="ignore") + " ... " + raw[-half:].decode(errors="ignore")
