"""A health check sees acknowledgements, and nothing else, as a sign of life."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from command import run_command

from clpm_execd.delivery.health import Acknowledged, Heartbeat, last_acknowledged
from clpm_execd.influx.answer import Answer, TransportError


class Server:
    """A Writer whose answers are set, and a clock."""

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
def heartbeat(server: Server, tmp_path: Path) -> Heartbeat:
    return Heartbeat(server, tmp_path, 1.0, lambda: server.now)


def test_an_acknowledgement_is_noted(server: Server, heartbeat: Heartbeat, tmp_path: Path) -> None:
    assert last_acknowledged(tmp_path) is None
    assert heartbeat(b"a b=1 1\n") == Answer(204)
    assert last_acknowledged(tmp_path) == Acknowledged(server.now, 1.0)


@pytest.mark.parametrize("answer", [
    Answer(503), Answer(401), Answer(400), Answer(200), Answer(None, error=TransportError.TIMEOUT),
])
def test_any_other_answer_is_not(server: Server, heartbeat: Heartbeat, tmp_path: Path, answer: Answer) -> None:
    server.answer = answer
    assert heartbeat(b"a b=1 1\n") is answer
    assert last_acknowledged(tmp_path) is None


def test_it_is_written_once_a_second_whichever_way_the_clock_is_set(server: Server, heartbeat: Heartbeat,
                                                                    tmp_path: Path) -> None:
    noted = []
    for now in (10.0, 10.5, 11.0, 11.9, 5.0, 5.5):
        server.now = now
        heartbeat(b"a b=1 1\n")
        found = last_acknowledged(tmp_path)
        assert found
        noted.append(found.when)
    assert noted == [10.0, 10.0, 11.0, 11.0, 5.0, 5.0]


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_stream(server: Server, tmp_path: Path) -> None:
    assert Heartbeat(server, tmp_path / "none", 1.0)(b"a b=1 1\n") == Answer(204)


def test_samples_that_are_far_apart_are_waited_for(tmp_path: Path) -> None:
    assert Acknowledged(0.0, 1.0).fresh_for == 60.0
    assert Acknowledged(0.0, 900.0).fresh_for == 2700.0
    for text in ("", "{", "[]", '{"when": "x", "interval": 1}', '{"when": 1}'):
        (tmp_path / "acknowledged").write_text(text)
        assert last_acknowledged(tmp_path) is None


def test_the_command_tells_healthy_from_unhealthy(tmp_path: Path) -> None:
    def said(*words: str) -> tuple[int, str]:
        done = run_command("health", *words, folder=tmp_path)
        return done.returncode, done.stdout + done.stderr

    assert said() == (2, "--state: is not set; name the state folder of the stream, or set CLPM_STATE\n")
    assert said("--state", ".")[0] == 1
    for age, status, word in ((5, 0, "healthy"), (500, 1, "unhealthy")):
        Heartbeat(Server(), tmp_path, 1.0, lambda age=age: time.time() - age)(b"a b=1 1\n")
        code, text = said("--state", ".")
        assert (code, text.split(":")[0]) == (status, word)
