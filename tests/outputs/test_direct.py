"""The direct stream: the backlog, the sender's way with every answer, and the live loop, against no real clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from clpm_execd.delivery.disk_queue import Spool
from clpm_execd.delivery.memory_queue import MOST_BYTES, MOST_LINES, Backlog, batches, halves, split
from clpm_execd.delivery.quarantine import Quarantine
from clpm_execd.delivery.sender import DOUBT, LONGEST, SHORTEST, Sender, pause
from clpm_execd.encoding.line_protocol import LineProtocol
from clpm_execd.influx.client import Answer, Fault
from clpm_execd.outputs import direct
from clpm_execd.outputs.self_metrics import Metrics
from clpm_execd.plant.block import Block
from clpm_execd.runtime.os_signals import Signals

SECOND = 1_000_000_000
WRITTEN = Answer(204)
LOG = logging.getLogger("clpm_execd")


def lines(*values: int) -> bytes:
    return b"".join(b"m,loop_id=A PV=%d %d\n" % (value, value) for value in values)


# The backlog


def test_lines_leave_in_order_and_only_when_acknowledged() -> None:
    backlog = Backlog()
    backlog.put(lines(1, 2))
    backlog.put(lines(3))
    first = backlog.peek()
    assert first is not None
    assert (first.body, first.points) == (lines(1, 2, 3), 3)
    backlog.put(lines(4))
    assert backlog.peek() == first
    backlog.ack()
    assert backlog.points == 1
    second = backlog.peek()
    assert second is not None
    assert second.body == lines(4)
    backlog.ack()
    assert backlog.peek() is None


def test_every_batch_fits_a_request_and_nothing_is_lost_between_them() -> None:
    for body in (lines(*range(25_000)), lines(7) + b"m " + b"x" * 2 * MOST_BYTES + b"\n" + lines(8), b"a\rb\n" * 9):
        parts = list(batches(body))
        assert b"".join(part.body for part in parts) == body
        assert [part.points for part in parts] == [part.body.count(b"\n") for part in parts]
        assert all(part.points <= MOST_LINES for part in parts)
        assert all(len(part.body) <= MOST_BYTES or part.points == 1 for part in parts)


def test_halves_are_whole_lines() -> None:
    for body in (lines(1, 2), lines(1, 2, 3), b"short\n" + b"x" * 100 + b"\n", b"x" * 100 + b"\nshort\n"):
        first, second = halves(body)
        assert first + second == body
        assert first.endswith(b"\n")
        assert second.endswith(b"\n")


def test_a_full_backlog_gives_up_the_oldest_but_not_what_is_being_sent() -> None:
    tick = lines(*range(1000, 1000 + MOST_LINES))
    backlog = Backlog(cap=3 * len(lines(*range(20_000, 20_000 + MOST_LINES))))
    for _ in range(3):
        backlog.put(tick)
    held = backlog.peek()
    for start in (20_000, 30_000):
        backlog.put(lines(*range(start, start + MOST_LINES)))
    assert backlog.dropped == 2 * MOST_LINES
    assert backlog.points == 3 * MOST_LINES
    assert backlog.peek() == held
    backlog.ack()
    following = backlog.peek()
    assert following is not None
    assert following.body.startswith(lines(20_000))


# The sender


@dataclass
class Server:
    """Answers by `policy`; keeps each line it takes. A writer as the live loop wants one."""

    policy: Callable[[bytes], Answer] = lambda body: WRITTEN
    taken: list[bytes] = field(default_factory=list)
    posts: list[bytes] = field(default_factory=list)
    target: str = "http://influx.example:8086, organization 'o', bucket 'b'"

    def __call__(self, body: bytes) -> Answer:
        self.posts.append(body)
        answer = self.policy(body)
        if answer.status == 204:
            self.taken += split(body)
        return answer

    def close(self) -> None:
        pass


class Bench:
    """A sender whose rests take no time, with what it quarantined."""

    def __init__(self, policy: Callable[[bytes], Answer], cap: int = 64_000_000) -> None:
        self.seconds = 0.0
        self.server = Server(policy)
        self.backlog = Backlog(cap)
        self.quarantined: list[bytes] = []
        self.words: dict[bytes, str] = {}
        self.sender = Sender(
            self.backlog, self.server, target=self.server.target, log=LOG, quarantine=self._quarantine,
            seconds=lambda: self.seconds, chance=lambda: 0.0,
        )  # fmt: skip

    def _quarantine(self, refused: Mapping[str, Sequence[bytes]]) -> None:
        for words, some in refused.items():
            self.quarantined += some
            self.words |= dict.fromkeys(some, words)

    def run(self, tries: int = 100_000) -> list[float]:
        """Step until nothing waits, or so often; the rests it wanted."""
        rests: list[float] = []
        while len(rests) < tries and (rest := self.sender.step()) is not None:
            self.seconds += rest
            rests.append(rest)
        return rests


def answers(*given: Answer) -> Callable[[bytes], Answer]:
    left = list(given)
    return lambda body: left.pop(0) if left else WRITTEN


def test_pauses_grow_to_their_limit_and_obey_retry_after() -> None:
    unknown = Answer(503)
    assert [pause(n, unknown, lambda: 0.0) for n in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert all(SHORTEST <= pause(n, unknown) <= LONGEST for n in range(2000))
    assert pause(0, Answer(429, retry_after=30), lambda: 0.0) == 30
    assert pause(0, Answer(429, retry_after=9e9), lambda: 0.0) == 60
    assert pause(0, Answer(401), lambda: 0.0) == LONGEST


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(None, fault=Fault.CLOSED), Answer(None, fault=Fault.LATE), Answer(500), Answer(503), Answer(429),
        Answer(408), Answer(200), Answer(302), Answer(401), Answer(403), Answer(404),
    ],
)  # fmt: skip
def test_an_outage_loses_nothing_and_is_told_once_at_each_end(
    trouble: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(answers(*[trouble] * 50))
    bench.backlog.put(lines(1, 2, 3))
    bench.run(40)
    bench.backlog.put(lines(4))
    bench.run()
    assert bench.server.taken == split(lines(1, 2, 3, 4))
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2
    assert str(trouble) in told[0]
    assert "again after" in told[1]
    assert "0 were given up" in told[1]


def test_a_connection_closed_while_idle_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(answers(Answer(None, fault=Fault.CUT)))
    bench.backlog.put(lines(1))
    assert max(bench.run()) < SHORTEST
    assert bench.server.taken == [lines(1)]
    assert not caplog.records


def test_what_an_outage_cost_is_told_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    tick = lines(*range(1000, 1000 + MOST_LINES))
    bench = Bench(answers(*[Answer(503)] * 9), cap=2 * len(tick))
    for _ in range(4):
        bench.backlog.put(tick)
        bench.run(2)
    bench.run()
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 3
    assert "backlog is full" in told[1]
    assert f"{bench.backlog.dropped} were given up" in told[2]
    assert bench.backlog.dropped > 0


def test_what_is_too_large_is_halved_until_it_is_taken() -> None:
    bench = Bench(lambda body: Answer(413) if body.count(b"\n") > 3 else WRITTEN)
    bench.backlog.put(lines(*range(100)))
    bench.run()
    assert bench.server.taken == split(lines(*range(100)))


def test_a_single_line_that_is_too_large_is_refused() -> None:
    bench = Bench(lambda body: Answer(413))
    bench.backlog.put(lines(1))
    bench.run()
    assert bench.quarantined == [lines(1)]


@pytest.mark.parametrize("status", [400, 422])
def test_only_the_lines_that_are_refused_are_given_up(status: int, caplog: pytest.LogCaptureFixture) -> None:
    bad = {13, 500, 999}
    policy = lambda body: Answer(status, "no") if any(lines(b) in body for b in bad) else WRITTEN  # noqa: E731
    bench = Bench(policy)
    bench.backlog.put(lines(*range(1000)))
    assert sum(bench.run()) == 0
    assert bench.quarantined == split(lines(*sorted(bad)))
    assert bench.server.taken == split(lines(*sorted(set(range(1000)) - bad)))
    assert bench.sender.refused == 3
    assert len(bench.server.posts) < 80
    told = [record.message for record in caplog.records]
    assert told == [f"3 points refused: HTTP status {status}: no; such as: m,loop_id=A PV=13 13"]


def test_each_refused_line_of_a_batch_is_filed_under_the_servers_message_about_it() -> None:
    late = "points beyond retention"
    messages = {lines(13): "field type conflict", lines(500): late, lines(999): late}

    def refuse_bad(body: bytes) -> Answer:
        return next((Answer(422, message) for bad, message in messages.items() if bad in body), WRITTEN)

    bench = Bench(refuse_bad)
    bench.backlog.put(lines(*range(1000)))
    bench.run()
    assert bench.words == {line: f"HTTP status 422: {message}" for line, message in messages.items()}


def test_a_server_that_refuses_everything_is_believed_to_be_at_fault_for_a_minute() -> None:
    start: list[float] = []
    bench = Bench(lambda body: WRITTEN if bench.seconds > 0.9 * DOUBT else Answer(400, "starting"))
    bench.backlog.put(lines(*range(1000)))
    bench.run()
    assert bench.server.taken == split(lines(*range(1000)))
    assert bench.quarantined == start


def test_what_is_refused_for_longer_than_a_minute_is_given_up_line_by_line() -> None:
    bench = Bench(lambda body: Answer(422, "type conflict") if b"PV=" in body else WRITTEN)
    bench.backlog.put(lines(1, 2, 3))
    bench.run()
    assert bench.quarantined == split(lines(1, 2, 3))
    assert DOUBT <= bench.seconds < 2 * DOUBT
    bench.backlog.put(b"m,loop_id=B OP=1 1\n")
    bench.run()
    assert bench.server.taken == [b"m,loop_id=B OP=1 1\n"]


def test_doubt_begins_anew_once_the_server_takes_points_again() -> None:
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body or bench.seconds > 4 * DOUBT else WRITTEN)
    bench.backlog.put(b"m,loop_id=X PV=1 1\n")
    bench.run()
    assert bench.quarantined == [b"m,loop_id=X PV=1 1\n"]
    bench.backlog.put(lines(1) + b"m,loop_id=X PV=1 1\n")
    bench.run()
    bench.seconds = start = 5 * DOUBT
    bench.backlog.put(lines(2))
    bench.run()
    assert bench.seconds - start >= DOUBT


def test_bad_lines_that_always_come_first_hold_the_stream_up_only_once() -> None:
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
    for _ in range(10):
        bench.backlog.put(b"m,loop_id=X PV=1 1\n" * 50 + lines(*range(50)))
        bench.run()
    assert bench.sender.refused == 500
    assert len(bench.server.taken) == 500
    assert bench.seconds < 2 * DOUBT


def test_a_batch_that_is_refused_whole_holds_up_no_other(tmp_path: Path) -> None:
    for backlog in (Backlog(), Spool(tmp_path, LOG)):
        bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
        bench.sender._waiting = backlog
        backlog.put(b"m,loop_id=X PV=1 1\n" * 50)
        assert bench.run(1)
        backlog.put(lines(1))
        while bench.server.taken != [lines(1)]:
            bench.seconds += bench.sender.step() or 0.0
        while (rest := bench.sender.step()) is not None:
            bench.seconds += rest
        assert bench.seconds < 5
        assert bench.quarantined == [b"m,loop_id=X PV=1 1\n"] * 50
        assert backlog.points == 0


def test_many_batches_that_are_refused_whole_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clpm_execd.delivery.memory_queue.MOST_LINES", 100)
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
    bad = [b"m,loop_id=X PV=1 %d\n" % k for k in range(500)]
    bench.backlog.put(b"".join(bad))
    for second in range(10):
        bench.backlog.put(lines(second))
        bench.run(200)
    bench.run()
    assert len(bench.server.taken) == 10
    assert sorted(bench.quarantined) == sorted(bad)
    assert bench.seconds < DOUBT


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_long_search_for_refused_lines_does_not_hold_up_the_newest(where: str, tmp_path: Path) -> None:
    backlog = Backlog() if where == "memory" else Spool(tmp_path, LOG)
    bad = b"".join(b"m,loop_id=X PV=1 %d\n" % k for k in range(3000))
    late: list[float] = []
    put: dict[bytes, float] = {}

    def policy(body: bytes) -> Answer:
        bench.seconds += 0.01
        if b"loop_id=X" in body:
            return Answer(422, "no")
        late.extend(bench.seconds - put[line] for line in split(body) if line in put)
        return WRITTEN

    bench = Bench(policy)
    bench.sender._waiting = backlog
    backlog.put(lines(*range(1000)) + bad + lines(*range(1000, 2000)))
    live = 2000
    while (rest := bench.sender.step()) is not None:
        bench.seconds += rest
        if live - 2000 < bench.seconds < 60:
            put[lines(live)] = bench.seconds
            backlog.put(lines(live))
            live += 1
    assert bench.seconds > 60
    assert len(late) == live - 2000
    assert max(late) < 5
    assert sorted(set(bench.server.taken)) == sorted(split(lines(*range(live))))
    assert sorted(bench.quarantined) == sorted(split(bad))
    assert (backlog.points, backlog.size) == (0, 0)


def test_refused_lines_that_cannot_be_put_away_are_not_acknowledged() -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(1) in body else WRITTEN)
    full = [True, True]
    keep = bench.sender._quarantine
    assert keep is not None

    def put_away(refused: Mapping[str, Sequence[bytes]]) -> None:
        if full:
            full.pop()
            raise OSError(28, "No space left on device")
        keep(refused)

    bench.sender._quarantine = put_away
    bench.backlog.put(lines(2, 1))
    rests = [bench.sender._guarded_step() for _ in range(9)]
    assert rests.count(LONGEST) == 2
    assert bench.quarantined == [lines(1)]
    assert bench.backlog.points == 0


def test_a_full_disk_under_the_quarantine_does_not_keep_the_spool_from_making_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(1) in body else WRITTEN)
    spool = bench.sender._waiting = Spool(tmp_path, LOG)
    keep = bench.sender._quarantine
    assert keep is not None

    def put_away(refused: Mapping[str, Sequence[bytes]]) -> None:
        if len(list(spool.folder.iterdir())) > 1:
            raise OSError(28, "No space left on device")
        keep(refused)

    bench.sender._quarantine = put_away
    for start in range(0, 5 * MOST_LINES, MOST_LINES):
        spool.put(lines(*range(start, start + MOST_LINES)))
    while (rest := bench.sender.step()) is not None:
        bench.seconds += rest
    assert bench.quarantined == [lines(1)]
    assert len(set(bench.server.taken)) == 5 * MOST_LINES - 1
    assert bench.seconds < 5
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]


def test_refusals_that_go_on_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(13) in body else WRITTEN)
    for _ in range(600):
        bench.backlog.put(lines(13, 14))
        bench.run()
        bench.seconds += 1
    refused = [record.message for record in caplog.records if "refused" in record.message]
    assert len(refused) == 10
    assert refused[1].startswith("60 points refused")


# The live loop


class Clock:
    """Time that passes only while waited for, and the sender's thread a moment to run in."""

    def __init__(self, start: int, until: Callable[[], bool] = lambda: False) -> None:
        self.start = self.time = start
        self.stop_when = until
        self.signals = Signals()

    def now(self) -> int:
        return self.time

    def elapsed(self) -> int:
        return self.time - self.start

    def wait(self, ns: int, read: Sequence[int] = (), write: Sequence[int] = ()) -> set[int]:
        time.sleep(0.0005)
        self.time += max(ns, 1)
        if self.stop_when():
            self.signals.ask_stop()
        return set()


class Plant:
    """Two loops at 1 s, PV the instant's number."""

    loops = ("A", "B")
    interval = SECOND

    def __init__(self, next_time: int) -> None:
        self.next_time = next_time

    def advance(self, n: int) -> Block:
        times = self.next_time + self.interval * np.arange(n, dtype=np.int64)
        self.next_time += n * self.interval
        values = np.repeat((times // SECOND % 1_000_000)[:, None], 2, axis=1).astype(float)
        whole = np.zeros((n, 2), dtype=np.int16)
        return Block(self.loops, times, values, values, values, whole.astype(np.int8), values, values, whole)


T0 = 1_700_000_000 * SECOND


def stream(
    server: Server, clock: Clock, *, behind: int = 0, count: int | None = None, cap: int = 64_000_000
) -> Backlog:
    plant = Plant(T0 - behind * SECOND)
    backlog = Backlog(cap)
    status = direct.run(
        plant, LineProtocol(plant.loops), server,
        clock=clock, signals=clock.signals, log=LOG, count=count, waiting=backlog,
    )  # fmt: skip
    assert status == 0
    return backlog


def stamps(server: Server) -> list[int]:
    return sorted(int(line.split()[-1]) for line in server.taken)


def test_every_instant_of_every_loop_arrives_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    stream(server, Clock(T0), behind=100, count=250)
    assert stamps(server) == sorted([T0 + k * SECOND for k in range(-100, 150)] * 2)
    told = [record.message for record in caplog.records]
    assert told[0] == f"start: 2 loops every 1 s to {server.target}"
    assert f"connected to {server.target}" in told
    assert "first cycle: 2 points" in told
    assert any(message.startswith("60 cycles of 2 points: 120 made") for message in told)
    assert told[-1] == "stop: 500 points written, 0 refused, 0 given up, 0 not delivered"


def test_the_plant_goes_on_during_an_outage_and_all_of_it_arrives_afterwards() -> None:
    clock = Clock(T0)
    server = Server(lambda body: WRITTEN if clock.time > T0 + 30 * SECOND else Answer(503))
    stream(server, clock, count=60)
    assert stamps(server) == sorted([T0 + k * SECOND for k in range(60)] * 2)


def test_a_past_being_filled_in_waits_for_room_and_loses_nothing() -> None:
    server = Server()
    backlog = stream(server, Clock(T0), behind=80_000, count=80_000, cap=4_000_000)
    assert backlog.dropped == 0
    assert len(server.taken) == 160_000


def test_a_stop_sends_what_waits_and_says_what_it_could_not(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(T0, until=lambda: clock.time > T0 + 20 * SECOND)
    server = Server(lambda body: Answer(None, fault=Fault.CLOSED))
    backlog = stream(server, clock)
    assert backlog.points == 42
    assert clock.time < T0 + 27 * SECOND
    assert caplog.records[-1].message.endswith("0 given up, 42 not delivered")


def test_a_stop_does_not_wait_for_what_outlives_it(tmp_path: Path) -> None:
    clock = Clock(T0, until=lambda: clock.time > T0 + 20 * SECOND)
    server = Server(lambda body: Answer(None, fault=Fault.CLOSED))
    plant, spool = Plant(T0), Spool(tmp_path, LOG, now=clock.now)
    direct.run(plant, LineProtocol(plant.loops), server, clock=clock, signals=clock.signals, log=LOG, waiting=spool)
    assert spool.points == 42
    assert clock.time < T0 + 22 * SECOND


def test_what_is_on_disk_at_a_stop_waits_for_the_next_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(T0, until=lambda: clock.time > T0 + 20 * SECOND)
    plant, server = Plant(T0), Server(lambda body: Answer(None, fault=Fault.CLOSED))
    direct.run(plant, LineProtocol(plant.loops), server, clock=clock, signals=clock.signals, log=LOG,
               waiting=Spool(tmp_path, LOG))  # fmt: skip
    assert caplog.records[-1].levelno == logging.INFO
    assert caplog.messages[-1].endswith("0 given up, 42 wait for the next start")
    assert Spool(tmp_path, LOG).points == 42


def test_a_stop_with_a_server_that_takes_them_leaves_nothing() -> None:
    clock = Clock(T0, until=lambda: clock.time > T0 + 20 * SECOND)
    server = Server()
    assert stream(server, clock).points == 0
    assert len(server.taken) == 42


def test_the_stream_says_of_itself_what_waits_and_what_became_of_the_rest() -> None:
    clock = Clock(T0 + 20 * SECOND)
    server = Server(lambda body: WRITTEN if clock.time > T0 + 90 * SECOND else Answer(503))
    plant = Plant(T0 + 20 * SECOND)
    own = Metrics("clpm_execd", {"site": "x"}, interval=SECOND, started=clock.time)
    direct.run(
        plant, LineProtocol(plant.loops), server, clock=clock, signals=clock.signals, log=LOG, count=190,
        waiting=Backlog(now=clock.now), metrics=own,
    )  # fmt: skip
    told = [line.decode() for line in server.taken if line.startswith(b"clpm_execd,site=x ")]
    assert len(told) == 3
    assert "points_emitted=42i" in told[0]
    assert "points_waiting=42i,points_written=0i," in told[0]
    assert "spool_age=20,spool_bytes=" in told[0]
    assert "points_dropped=0i,points_emitted=" in told[2]
    assert "points_waiting=0i" not in told[0]
    assert "retries=0i" not in told[2]


def own_numbers(quarantine: Quarantine | None) -> dict[str, str]:
    """What a stream of two minutes says of itself in its last point, by field; the server refuses loop A at first."""
    backlog = Backlog()

    def refuse(body: bytes) -> Answer:
        return Answer(422, "no") if any(lines_of_a % k in body for k in range(30)) else WRITTEN

    def wait_for_the_sender() -> bool:
        while backlog.points > 1:  # a line of metrics waits for the next samples
            time.sleep(0.001)
        return False

    lines_of_a = b"loop_id=A OP=%d,"
    server, clock = Server(refuse), Clock(T0, until=wait_for_the_sender)
    plant, own = Plant(T0), Metrics("clpm_execd", {}, interval=SECOND, started=T0)
    direct.run(plant, LineProtocol(plant.loops), server, clock=clock, signals=clock.signals, log=LOG, count=120,
               waiting=backlog, quarantine=quarantine, metrics=own)  # fmt: skip
    last = [line for line in server.taken if line.startswith(b"clpm_execd ")][-1]
    return dict(pair.split("=") for pair in last.decode().split()[1].split(","))


def test_the_metrics_count_refused_points_and_the_lines_in_the_quarantine(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, LOG)
    for _ in range(2):  # the second stream has the same lines refused, and they are in the quarantine already
        numbers = own_numbers(quarantine)
        assert (numbers["points_refused"], numbers["points_quarantined"]) == ("30i", "30i")
        assert quarantine.points == 30


def test_without_a_quarantine_refused_points_are_counted_and_none_is_in_it() -> None:
    numbers = own_numbers(None)
    assert (numbers["points_refused"], numbers["points_quarantined"]) == ("30i", "0i")
