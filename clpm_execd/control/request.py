"""A request to a running stream, and its answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clpm_execd.control.socket_path import short_address
from clpm_execd.problems import BadInput, Problem

ANSWER_TIMEOUT_SECONDS = 10.0  # a Block of a backfill takes less than 1 s, and Telegraf may not read for some


def send_request(path: Path, request: Mapping[str, Any]) -> str:
    """Return the text with which the stream answers a request.

    Parameters
    ----------
    path : Path
        The socket of the stream.
    request : mapping
        The request as `changes.read_change` takes it, or `{"status": {}}`.

    Raises
    ------
    BadInput
        There is no stream, it does not answer, or it refuses the request.
    """
    where = f"control socket {path}"
    try:
        answer = _exchange(path, json.dumps(request).encode() + b"\n")
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        remedy = "start one, or name its folder with --state or its socket with --control"
        raise BadInput([Problem(where, "no stream is running there", remedy)]) from None
    except TimeoutError:
        what = f"no answer within {ANSWER_TIMEOUT_SECONDS:g} s"
        remedy = "see whether the stream is stopped, or its reader does not read"
        raise BadInput([Problem(where, what, remedy)]) from None
    except OSError as error:
        what = f"cannot be used: {error.strerror or error}"
        raise BadInput([Problem(where, what, "run this command as the user of the stream")]) from None
    try:
        message = json.loads(answer)
        problems = [Problem(*map(str, problem)) for problem in message.get("problems", ())]
        text = str(message.get("text", ""))
    except (ValueError, TypeError, AttributeError):
        raise BadInput([Problem(where, "the stream ended before it answered", "ask again once it runs")]) from None
    if problems:
        raise BadInput(problems)
    return text


def _exchange(path: Path, request: bytes) -> bytes:
    with short_address(path) as address, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        connection.connect(address)
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    return answer
