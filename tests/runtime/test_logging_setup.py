"""The log is what Telegraf can read, holds no secret, and never stops the stream."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clpm_execd.runtime import logging_setup as logs


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions, sys.excepthook, threading.excepthook
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, level, logging.raiseExceptions, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("urllib3").setLevel(logging.NOTSET)


def logger(stream: io.StringIO, *secrets: str) -> logging.Logger:
    log = logging.Logger("test", logs.TRACE)
    log.addHandler(logs.build_telegraf_handler(stream, secrets))
    return log


def test_the_prefix_is_the_level_for_telegraf() -> None:
    out = io.StringIO()
    log = logger(out)
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, logs.TRACE):
        log.log(level, "n = %d", 3)
    assert out.getvalue() == "".join(f"{c}! n = 3\n" for c in "EEWIDT")


def test_a_traceback_is_one_line_that_ends_with_the_error() -> None:
    out = io.StringIO()
    try:
        raise RuntimeError("valve\nstuck" + "x" * 100_000 + "the end")
    except RuntimeError:
        logger(out).exception("tick failed")
    [line] = out.getvalue().splitlines()
    assert line.startswith("E! tick failed | Traceback (most recent call last): | File ")
    assert line.endswith("the end")
    assert len(out.getvalue().encode()) <= logs.MAX_LINE_BYTES


def test_control_characters_and_lone_surrogates_are_escaped() -> None:
    out = io.StringIO()
    logger(out).warning("a\x1b[31m\r\nb\x00\u2028c \ud800 漢\t.")
    assert out.getvalue() == "W! a\\x1b[31m | b\\x00 | c \\ud800 漢\\t.\n"


def test_a_message_that_cannot_be_formatted_is_logged_unformatted() -> None:
    out = io.StringIO()
    logger(out).info("%d of %d", "x")
    assert out.getvalue().startswith("I! '%d of %d' ('x',) (")


def test_a_secret_is_not_logged() -> None:
    out = io.StringIO()
    log = logger(out, "my-token==", "")
    try:
        raise ValueError("Token my-token== refused")
    except ValueError:
        log.exception("sending %s", {"Authorization": "Token my-token=="})
    assert "my-token" not in out.getvalue()
    assert out.getvalue().count("Token ***") == 3


def test_the_configured_log_goes_to_stderr_and_to_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
    path = tmp_path / "data_streaming_service.log"
    hide = logs.configure_logging("INFO", telegraf=True, log_file=path, secrets=["s3cret\n"])
    hide("another")
    log = logging.getLogger("clpm_execd.outputs")
    log.info("with s3cret and another")
    log.debug("not shown")
    sys.excepthook(RuntimeError, RuntimeError("s3cret"), None)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["I! with *** and ***", "E! unhandled exception | RuntimeError: ***"]
    first, second = path.read_text().splitlines()
    assert first.endswith("INFO with *** and ***")
    assert second.endswith("RuntimeError: ***")
    sys.stderr.close()


def test_a_file_that_cannot_be_opened_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with os.fdopen(os.dup(2), "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        logs.configure_logging("INFO", telegraf=True, log_file=tmp_path / "none" / "x.log")
    assert capfd.readouterr().err.startswith("W! cannot open the log file")


def test_without_a_reader_of_stderr_lines_are_lost_and_counted() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        log = logging.Logger("test")
        log.addHandler(logs.build_telegraf_handler(stream))
        for _ in range(100):
            log.info("x" * 3000)
        received = os.read(read, 1 << 20).splitlines()
        assert all(line == b"I! " + b"x" * 3000 for line in received)
        log.info("read again")
        lost = 100 - len(received)
        assert os.read(read, 1 << 20).decode().splitlines() == [
            "I! read again",
            f"W! {lost} log lines were lost while nobody read them",
        ]
        os.close(read)
        log.info("into nothing")


def test_a_closed_stderr_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    logger(stream).error("into nothing")
