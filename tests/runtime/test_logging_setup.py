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
        lost_lines = 100 - len(received)
        assert os.read(read, 1 << 20).decode().splitlines() == [
            "I! read again",
            f"W! {lost_lines} log lines were lost while nobody read them",
        ]
        os.close(read)
        log.info("into nothing")


def test_a_log_line_for_a_closed_stderr_is_dropped_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    stream.close()
    logger(stream).error("into nothing")
    assert capsys.readouterr().err == ""


def log_into(path: Path, *lines: str) -> None:
    logs.configure_logging(logging.INFO, telegraf=True, log_file=path)
    for line in lines:
        logging.getLogger("clpm_execd").info("%s", line)


def test_a_log_file_behind_a_link_is_rotated_next_to_its_target(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_FILE_BYTES", 100)
    (tmp_path / "logs").mkdir()
    link = tmp_path / "link"
    link.symlink_to("logs/log")
    log_into(link, "one" + "x" * 90, "two" + "x" * 90)
    assert link.is_symlink()
    assert "two" in (tmp_path / "logs" / "log").read_text()
    assert "one" in (tmp_path / "logs" / "log.1").read_text()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there are no names of descriptors here")
def test_a_log_file_that_is_an_open_descriptor_is_not_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /dev/stderr, the log of a container, with stderr redirected to a file."""
    monkeypatch.setattr(logs, "MAX_LOG_FILE_BYTES", 100)
    link = tmp_path / "link"
    with open(tmp_path / "file", "ab") as stderr:
        link.symlink_to(f"/proc/self/fd/{stderr.fileno()}")
        log_into(link, "one" + "x" * 90, "two" + "x" * 90)
    text = (tmp_path / "file").read_text()
    assert "one" in text
    assert "two" in text
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]
    assert link.is_symlink()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there are no names of descriptors here")
def test_a_log_file_never_takes_the_samples_of_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    for path in (Path("/dev/stdout"), tmp_path / "link"):
        log_into(path, "a line")
        samples, log = capfd.readouterr()
        assert samples == ""
        assert log == f"W! the log file {path} is where the samples go; logging to stderr only\nI! a line\n"
    logs.configure_logging("INFO", telegraf=False, log_file=Path("/dev/stdout"))  # with --direct no samples go there
    logging.getLogger("clpm_execd").info("a line")
    assert capfd.readouterr().out.endswith("INFO a line\n")


def test_a_log_file_that_is_a_pipe_never_stops_the_stream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    log_into(pipe, "nobody reads")
    assert f"W! cannot open the log file {pipe}: No such device or address" in capfd.readouterr().err
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log_into(pipe, "first", *["x" * 4000] * 20)  # a pipe holds 64 KiB
    assert b"first" in os.read(reader, 100)
    os.close(reader)
    log_into(pipe, "still nobody")
    assert pipe.is_fifo()


def test_a_log_that_cannot_be_rotated_continues_in_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logs, "MAX_LOG_FILE_BYTES", 100)

    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "log"
    path.touch()
    monkeypatch.setattr(os, "rename", refuse)
    log_into(path, *(f"line {number} " + "x" * 60 for number in range(20)))
    lines = path.read_text().splitlines()
    assert [number for number in range(20) if not any(f"line {number} " in line for line in lines)] == []
    assert capfd.readouterr().err.count("cannot rotate the log file") == 1
