"""The log: never on stdout, one line a message, no secret in it, and no failure of it that harms the stream.

Under Telegraf a line on stderr begins with its level (`E! `, `W! `, `I! `, `D! `, `T! `), a traceback is
folded into the line, control characters are escaped, and no line exceeds 4 KiB: a pipe takes such a line
whole or not at all, so that a reader that has stopped costs lines of the log instead of the stream.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

TRACE = 5
LINE_BYTES = 4096

LOG_FILE_BYTES = 10_000_000
LOG_FILES_KEPT = 3


class _Formatter(logging.Formatter):
    """Folds a record into one line, and puts *** for every secret before anything is escaped or cut."""

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
        return _cut(_prefix(record.levelno) + text if self._telegraf else text)


class TelegrafHandler(logging.Handler):
    """Lines to a stream; lost rather than waited for when nobody reads it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lost = 0

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
            self._lost += 1

    def _write(self, fd: int, line: bytes) -> None:
        if not select.select((), (fd,), (), 0.2 if not self._lost else 0)[1]:
            self._lost += 1
            return
        os.write(fd, line)
        if self._lost and select.select((), (fd,), (), 0)[1]:
            lost, self._lost = self._lost, 0
            os.write(fd, f"W! {lost} lines of this log were lost while nobody read it\n".encode())


def telegraf_handler(stream: TextIO, secrets: Collection[str] = ()) -> logging.Handler:
    """A handler whose lines Telegraf reads as a plugin's log; secrets may grow."""
    handler = TelegrafHandler(stream)
    handler.setFormatter(_Formatter("%(message)s", secrets, telegraf=True))
    return handler


def configure(
    level: int | str, *, telegraf: bool, log_file: Path | None = None, secrets: Sequence[str] = ()
) -> Callable[[str], None]:
    """Set up the process's log; the result hides a further secret from it.

    telegraf: lines for Telegraf on stderr, else lines with time and level. log_file: a file besides,
    rotated at 10 MB; one that cannot be opened is a warning.
    """
    hidden: set[str] = set()

    def hide(secret: str) -> None:
        hidden.update({secret, secret.strip(), ascii(secret)[1:-1]} - {""})

    for secret in secrets:
        hide(secret)
    logging.raiseExceptions = False
    logging.addLevelName(TRACE, "TRACE")
    logging.captureWarnings(True)
    timed = _Formatter("%(asctime)s %(levelname)s %(message)s", hidden, telegraf=False)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    console = telegraf_handler(sys.stderr, hidden)
    if not telegraf:
        console.setFormatter(timed)
    root.addHandler(console)
    root.setLevel(level)
    # Its debugging lines show request headers, the token among them; its warnings are said better here.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if log_file is not None:
        _add_file(root, log_file, timed)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    return hide


def _add_file(root: logging.Logger, path: Path, formatter: logging.Formatter) -> None:
    # Not at the top: it imports pickle and sockets, and the first line under Telegraf is awaited.
    from logging.handlers import RotatingFileHandler

    try:
        handler = RotatingFileHandler(
            path,
            maxBytes=LOG_FILE_BYTES,
            backupCount=LOG_FILES_KEPT,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except (OSError, ValueError) as error:
        root.warning("cannot open the log file %s: %s", path, getattr(error, "strerror", None) or error)
        return
    handler.setFormatter(formatter)
    root.addHandler(handler)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log = logging.getLogger("clpm_execd")
    log.critical("stopped by a fault of the program", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _prefix(level: int) -> str:
    for least, prefix in ((logging.ERROR, "E! "), (logging.WARNING, "W! "), (logging.INFO, "I! ")):
        if level >= least:
            return prefix
    return "D! " if level >= logging.DEBUG else "T! "


def _cut(text: str) -> str:
    """At most a line's bytes with its LF; the middle goes, for a traceback says what happened at its end."""
    raw = text.encode(errors="backslashreplace")
    if len(raw) < LINE_BYTES:
        return text
    half = (LINE_BYTES - 8) // 2
    return raw[:half].decode(errors="ignore") + " ... " + raw[-half:].decode(errors="ignore")
