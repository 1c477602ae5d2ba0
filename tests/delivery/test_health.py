"""The health check: acknowledged writes, and nothing else, make a stream healthy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.delivery.health import Acknowledgement, AcknowledgementRecorder, read_last_acknowledgement
from clpm_execd.influx.answer import Answer, TransportError


class Server:
    """A Writer whose answers and whose clock a test sets."""

    target = "nowhere"

    def __init__(self) -> None:
        self.answer = Answer(204)
        self.now = 1_000_000.0

    def __call__(self, body: bytes) -> Answer:
        return self.answer

    def close(self) -> None:
        pass


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def recorder(server: Server, tmp_path: Path) -> AcknowledgementRecorder:
    return AcknowledgementRecorder(server, tmp_path, 1.0, lambda: server.now)


def test_an_acknowledgement_is_recorded(server: Server, recorder: AcknowledgementRecorder, tmp_path: Path) -> None:
    assert read_last_acknowledgement(tmp_path) is None
    assert recorder(b"a b=1 1\n") == Answer(204)
    assert read_last_acknowledgement(tmp_path) == Acknowledgement(server.now, 1.0)
    assert (tmp_path / "acknowledged").read_text() == '{"when": 1000000.0, "interval": 1.0}'


@pytest.mark.parametrize("answer", [
    Answer(503), Answer(401), Answer(400), Answer(200), Answer(None, error=TransportError.TIMEOUT),
])
def test_any_other_answer_is_not_recorded(
    server: Server, recorder: AcknowledgementRecorder, tmp_path: Path, answer: Answer
) -> None:
    server.answer = answer
    assert recorder(b"a b=1 1\n") is answer
    assert read_last_acknowledgement(tmp_path) is None


def test_the_file_is_written_once_a_second_also_when_the_clock_is_set_back(
    server: Server, recorder: AcknowledgementRecorder, tmp_path: Path
) -> None:
    times = []
    for now in (10.0, 10.5, 11.0, 11.9, 5.0, 5.5):
        server.now = now
        recorder(b"a b=1 1\n")
        acknowledgement = read_last_acknowledgement(tmp_path)
        assert acknowledgement
        times.append(acknowledgement.time)
    assert times == [10.0, 10.0, 11.0, 11.0, 5.0, 5.0]


def test_a_folder_that_cannot_be_written_does_not_stop_the_stream(server: Server, tmp_path: Path) -> None:
    assert AcknowledgementRecorder(server, tmp_path / "none", 1.0)(b"a b=1 1\n") == Answer(204)


def test_an_acknowledgement_counts_for_a_minute_or_three_sample_intervals() -> None:
    for interval, healthy_for in ((1.0, 60.0), (900.0, 2700.0)):
        assert Acknowledgement(1000.0, interval).is_recent(1000.0 + healthy_for)
        assert not Acknowledgement(1000.0, interval).is_recent(1000.1 + healthy_for)


def test_an_acknowledgement_in_the_future_does_not_count() -> None:
    """After the clock was set back, a stream that has stopped would look healthy until the clock has passed it."""
    assert not Acknowledgement(1000.0, 1.0).is_recent(414.0)
    assert Acknowledgement(1000.0, 1.0).is_recent(999.1), "a clock that is being disciplined"


def test_a_damaged_file_is_no_acknowledgement(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"when": "x", "interval": 1}', '{"when": 1}'):
        (tmp_path / "acknowledged").write_text(text)
        assert read_last_acknowledgement(tmp_path) is None


def test_the_command_prints_healthy_or_unhealthy(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        result = run_command("health", *words, folder=tmp_path)
        return result.returncode, result.stdout + result.stderr

    assert run() == (2, "--state: is not set; name the state folder of the stream, or set CLPM_STATE\n")
    assert run("--state", ".")[0] == 1
    for age, status, word in ((5, 0, "healthy"), (500, 1, "unhealthy")):
        AcknowledgementRecorder(Server(), tmp_path, 1.0, lambda age=age: time.time() - age)(b"a b=1 1\n")
        code, text = run("--state", ".")
        assert (code, text.split(":")[0]) == (status, word)
