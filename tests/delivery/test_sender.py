"""The sender: what each answer of a server does to a batch, without a thread and a real clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from answering_server import WRITTEN, AnsweringServer, lines

from clpm_execd.delivery.disk_queue import DiskQueue
from clpm_execd.delivery.memory_queue import MemoryQueue
from clpm_execd.delivery.queue import MAX_BATCH_LINES, split_lines
from clpm_execd.delivery.sender import MAX_BACKOFF_S, MIN_BACKOFF_S, SERVER_FAULT_GRACE_S, Sender, choose_backoff
from clpm_execd.influx.answer import Answer, TransportError

LOG = logging.getLogger("clpm_execd")


class Bench:
    """A sender whose pauses take no time, and the lines that it quarantined."""

    def __init__(self, rule: Callable[[bytes], Answer], cap: int = 64_000_000) -> None:
        self.seconds = 0.0
        self.server = AnsweringServer(rule)
        self.queue = MemoryQueue(cap)
        self.quarantined: list[bytes] = []
        self.messages: dict[bytes, str] = {}
        self.sender = Sender(
            self.queue, self.server, target=self.server.target, log=LOG, quarantine=self._quarantine,
            now=lambda: self.seconds, draw=lambda: 0.0,
        )

    def _quarantine(self, rejected: Mapping[str, Sequence[bytes]]) -> None:
        for message, some_lines in rejected.items():
            self.quarantined += some_lines
            self.messages |= dict.fromkeys(some_lines, message)

    def run(self, tries: int = 100_000) -> list[float]:
        """Send until nothing is pending, `tries` times at most; return the pauses that the sender asked for."""
        pauses: list[float] = []
        while len(pauses) < tries and (pause := self.sender.send_once()) is not None:
            self.seconds += pause
            pauses.append(pause)
        return pauses


def answer_first_with(*answers: Answer) -> Callable[[bytes], Answer]:
    """Return a rule that gives these answers, and then accepts everything."""
    remaining = list(answers)
    return lambda body: remaining.pop(0) if remaining else WRITTEN


def test_pauses_grow_to_their_limit_and_respect_retry_after() -> None:
    unknown = Answer(503)
    assert [choose_backoff(n, unknown, lambda: 0.0) for n in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    assert all(MIN_BACKOFF_S <= choose_backoff(n, unknown) <= MAX_BACKOFF_S for n in range(2000))
    assert choose_backoff(0, Answer(429, retry_after=30), lambda: 0.0) == 30
    assert choose_backoff(0, Answer(429, retry_after=9e9), lambda: 0.0) == 60
    assert choose_backoff(0, Answer(401), lambda: 0.0) == MAX_BACKOFF_S


@pytest.mark.parametrize(
    "failure",
    [
        Answer(None, error=TransportError.CONNECTION_REFUSED), Answer(None, error=TransportError.TIMEOUT),
        Answer(500), Answer(503), Answer(429), Answer(408), Answer(200), Answer(302),
        Answer(401), Answer(403), Answer(404),
    ],
)
def test_an_outage_loses_nothing_and_is_logged_once_at_each_end(
    failure: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(answer_first_with(*[failure] * 50))
    bench.queue.put(lines(1, 2, 3))
    bench.run(40)
    bench.queue.put(lines(4))
    bench.run()
    assert bench.server.accepted == split_lines(lines(1, 2, 3, 4))
    messages = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 2
    assert str(failure) in messages[0]
    assert "resumed after" in messages[1]
    assert "0 dropped" in messages[1]


def test_each_setting_that_denies_the_writes_of_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(answer_first_with(*map(Answer, [503, 401, 500, 401, 404, 404, 429])))
    bench.queue.put(lines(1))
    bench.run()
    messages = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert ["503" in messages[0], "401" in messages[1], "404" in messages[2], "resumed" in messages[3]] == [True] * 4
    assert len(messages) == 4


def test_a_connection_closed_while_idle_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(answer_first_with(Answer(None, error=TransportError.CONNECTION_LOST)))
    bench.queue.put(lines(1))
    assert max(bench.run()) < MIN_BACKOFF_S
    assert bench.server.accepted == [lines(1)]
    assert not caplog.records


def test_the_points_dropped_in_an_outage_are_logged_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    tick = lines(*range(1000, 1000 + MAX_BATCH_LINES))
    bench = Bench(answer_first_with(*[Answer(503)] * 9), cap=2 * len(tick))
    for _ in range(4):
        bench.queue.put(tick)
        bench.run(2)
    bench.run()
    messages = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(messages) == 3
    assert "queue full" in messages[1]
    assert f"{bench.queue.points_dropped} dropped" in messages[2]
    assert bench.queue.points_dropped > 0


def test_a_batch_that_is_too_large_is_bisected_until_it_is_accepted() -> None:
    bench = Bench(lambda body: Answer(413) if body.count(b"\n") > 3 else WRITTEN)
    bench.queue.put(lines(*range(100)))
    bench.run()
    assert bench.server.accepted == split_lines(lines(*range(100)))


SLOW = [Answer(None, error=TransportError.TIMEOUT), Answer(None, error=TransportError.CONNECTION_LOST), Answer(504),
        Answer(408), Answer(502)]


@pytest.mark.parametrize("failure", SLOW)
@pytest.mark.parametrize("passes", [1, 3, 1000])
def test_what_does_not_get_through_is_halved_until_it_does(failure: Answer, passes: int) -> None:
    bench = Bench(lambda body: failure if body.count(b"\n") > passes else WRITTEN)
    bench.queue.put(lines(*range(3000)))
    bench.run()
    assert bench.server.accepted == split_lines(lines(*range(3000)))
    assert len(bench.server.requests) < 2 * 3000 / passes + 30


def test_live_points_and_the_backlog_take_turns_on_a_slow_link(tmp_path: Path) -> None:
    late: list[float] = []

    def rule(body: bytes) -> Answer:
        bench.seconds += min(10.0, len(body) / 8000)
        if len(body) > 80_000:
            return SLOW[0]
        if b"loop_id=B" in body:
            late.extend(bench.seconds - int(line.split()[-1]) for line in split_lines(body))
        return WRITTEN

    bench = Bench(rule)
    queue = bench.sender._queue = DiskQueue(tmp_path, LOG, now=lambda: int(bench.seconds * 1e9))
    backlog = lines(*range(20_000))
    queue.put(backlog)
    bench.seconds = start = 100.0
    for second in range(100, 400):
        queue.put(b"m,loop_id=B PV=1 %d\n" % second)
        while bench.seconds < second and (pause := bench.sender.send_once()) is not None:
            bench.seconds += pause
        bench.seconds = max(bench.seconds, second)
    bench.run()
    assert queue.points == 0
    assert len(late) == 300
    assert max(late) < 3 * 10 + 5, "the backlog has three requests of 10 s in a row at most, and a pause"
    assert set(split_lines(backlog)) <= set(bench.server.accepted)
    assert bench.seconds - start < 310


def test_requests_are_large_again_after_an_outage_without_answers() -> None:
    bench = Bench(answer_first_with(*[SLOW[0]] * 50))
    bench.queue.put(lines(*range(20_000)))
    bench.run()
    bench.queue.put(lines(*range(20_000, 40_000)))
    bench.run()
    assert sorted(bench.server.accepted) == sorted(split_lines(lines(*range(40_000))))
    assert max(body.count(b"\n") for body in bench.server.requests[-3:]) > 5000
    assert len(bench.server.requests) < 200


def test_rare_failures_do_not_make_requests_smaller() -> None:
    bench = Bench(lambda body: SLOW[0] if len(bench.server.requests) % 4 == 1 else WRITTEN)
    for start in range(0, 100_000, 10_000):
        bench.queue.put(lines(*range(start, start + 10_000)))
        bench.run()
    assert min(body.count(b"\n") for body in bench.server.requests) == 10_000


def test_progress_on_a_slow_link_outlives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(body: bytes) -> Answer:
        bench.seconds += 3.0
        return SLOW[0] if len(body) > 10_000 else WRITTEN

    bench = Bench(rule)
    queue = bench.sender._queue = DiskQueue(tmp_path, LOG)
    queue.put(lines(*range(10_000)))

    def refuse(time: int, batch: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(queue.folder, "write", refuse)
    queue.put(lines(10_000))
    bench.run(200)
    assert queue.points == 0
    assert len(bench.server.accepted) == 10_001


def test_a_single_line_that_is_too_large_is_rejected() -> None:
    bench = Bench(lambda body: Answer(413))
    bench.queue.put(lines(1))
    bench.run()
    assert bench.quarantined == [lines(1)]


@pytest.mark.parametrize("status", [400, 422])
def test_only_the_rejected_lines_of_a_batch_are_quarantined(status: int, caplog: pytest.LogCaptureFixture) -> None:
    bad = {13, 500, 999}
    rule = lambda body: Answer(status, "no") if any(lines(b) in body for b in bad) else WRITTEN  # noqa: E731
    bench = Bench(rule)
    bench.queue.put(lines(*range(1000)))
    assert sum(bench.run()) == 0
    assert bench.quarantined == split_lines(lines(*sorted(bad)))
    assert bench.server.accepted == split_lines(lines(*sorted(set(range(1000)) - bad)))
    assert bench.sender.points_rejected == 3
    assert len(bench.server.requests) < 80
    messages = [record.message for record in caplog.records]
    reason = f"HTTP status {status}: no; moved to the quarantine; first line: m,loop_id=A PV=13 13"
    assert messages == [f"3 points rejected: {reason}"]


def test_each_rejected_line_of_a_batch_is_filed_under_the_servers_message_about_it() -> None:
    late = "points beyond retention"
    messages = {lines(13): "field type conflict", lines(500): late, lines(999): late}

    def refuse_bad(body: bytes) -> Answer:
        return next((Answer(422, message) for bad, message in messages.items() if bad in body), WRITTEN)

    bench = Bench(refuse_bad)
    bench.queue.put(lines(*range(1000)))
    bench.run()
    assert bench.messages == {line: f"HTTP status 422: {message}" for line, message in messages.items()}


def test_a_server_that_rejects_everything_is_considered_faulty_for_a_minute() -> None:
    start: list[float] = []
    bench = Bench(lambda body: WRITTEN if bench.seconds > 0.9 * SERVER_FAULT_GRACE_S else Answer(400, "starting"))
    bench.queue.put(lines(*range(1000)))
    bench.run()
    assert bench.server.accepted == split_lines(lines(*range(1000)))
    assert bench.quarantined == start


def test_lines_that_are_rejected_for_longer_than_a_minute_are_quarantined() -> None:
    bench = Bench(lambda body: Answer(422, "type conflict") if b"PV=" in body else WRITTEN)
    bench.queue.put(lines(1, 2, 3))
    bench.run()
    assert bench.quarantined == split_lines(lines(1, 2, 3))
    assert SERVER_FAULT_GRACE_S <= bench.seconds < 2 * SERVER_FAULT_GRACE_S
    bench.queue.put(b"m,loop_id=B OP=1 1\n")
    bench.run()
    assert bench.server.accepted == [b"m,loop_id=B OP=1 1\n"]


def test_the_minute_starts_again_once_the_server_accepts_points() -> None:
    grace = SERVER_FAULT_GRACE_S
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body or bench.seconds > 4 * grace else WRITTEN)
    bench.queue.put(b"m,loop_id=X PV=1 1\n")
    bench.run()
    assert bench.quarantined == [b"m,loop_id=X PV=1 1\n"]
    bench.queue.put(lines(1) + b"m,loop_id=X PV=1 1\n")
    bench.run()
    bench.seconds = start = 5 * SERVER_FAULT_GRACE_S
    bench.queue.put(lines(2))
    bench.run()
    assert bench.seconds - start >= SERVER_FAULT_GRACE_S


def test_bad_lines_that_always_come_first_delay_the_stream_only_once() -> None:
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
    for _ in range(10):
        bench.queue.put(b"m,loop_id=X PV=1 1\n" * 50 + lines(*range(50)))
        bench.run()
    assert bench.sender.points_rejected == 500
    assert len(bench.server.accepted) == 500
    assert bench.seconds < 2 * SERVER_FAULT_GRACE_S


def test_a_batch_that_is_rejected_as_a_whole_delays_no_other(tmp_path: Path) -> None:
    for queue in (MemoryQueue(), DiskQueue(tmp_path, LOG)):
        bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
        bench.sender._queue = queue
        queue.put(b"m,loop_id=X PV=1 1\n" * 50)
        assert bench.run(1)
        queue.put(lines(1))
        while bench.server.accepted != [lines(1)]:
            bench.seconds += bench.sender.send_once() or 0.0
        while (pause := bench.sender.send_once()) is not None:
            bench.seconds += pause
        assert bench.seconds < 5
        assert bench.quarantined == [b"m,loop_id=X PV=1 1\n"] * 50
        assert queue.points == 0


def test_many_batches_that_are_rejected_as_a_whole_delay_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clpm_execd.delivery.memory_queue.MAX_BATCH_LINES", 100)
    bench = Bench(lambda body: Answer(422, "no") if b"loop_id=X" in body else WRITTEN)
    bad = [b"m,loop_id=X PV=1 %d\n" % k for k in range(500)]
    bench.queue.put(b"".join(bad))
    for second in range(10):
        bench.queue.put(lines(second))
        bench.run(200)
    bench.run()
    assert len(bench.server.accepted) == 10
    assert sorted(bench.quarantined) == sorted(bad)
    assert bench.seconds < SERVER_FAULT_GRACE_S


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_long_search_for_rejected_lines_does_not_delay_live_points(where: str, tmp_path: Path) -> None:
    queue = MemoryQueue() if where == "memory" else DiskQueue(tmp_path, LOG)
    bad = b"".join(b"m,loop_id=X PV=1 %d\n" % k for k in range(3000))
    late: list[float] = []
    put: dict[bytes, float] = {}

    def rule(body: bytes) -> Answer:
        bench.seconds += 0.01
        if b"loop_id=X" in body:
            return Answer(422, "no")
        late.extend(bench.seconds - put[line] for line in split_lines(body) if line in put)
        return WRITTEN

    bench = Bench(rule)
    bench.sender._queue = queue
    queue.put(lines(*range(1000)) + bad + lines(*range(1000, 2000)))
    live = 2000
    while (pause := bench.sender.send_once()) is not None:
        bench.seconds += pause
        if live - 2000 < bench.seconds < 60:
            put[lines(live)] = bench.seconds
            queue.put(lines(live))
            live += 1
    assert bench.seconds > 60
    assert len(late) == live - 2000
    assert max(late) < 5
    assert sorted(set(bench.server.accepted)) == sorted(split_lines(lines(*range(live))))
    assert sorted(bench.quarantined) == sorted(split_lines(bad))
    assert (queue.points, queue.size) == (0, 0)


def test_rejected_lines_that_cannot_be_quarantined_stay_pending_and_are_logged_once_a_time(
    caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(1) in body or lines(3) in body else WRITTEN)
    full = [True, True]
    store = bench.sender._quarantine
    assert store is not None

    def fail_while_full(rejected: Mapping[str, Sequence[bytes]]) -> None:
        if full:
            full.pop()
            raise OSError(28, "No space left on device")
        store(rejected)

    bench.sender._quarantine = fail_while_full
    bench.queue.put(lines(2, 1))
    pauses = [bench.sender._send_once_safely() for _ in range(9)]
    assert pauses.count(MAX_BACKOFF_S) == 2
    assert bench.quarantined == [lines(1)]
    assert bench.queue.points == 0
    assert caplog.text.count("cannot write 1 rejected point to the quarantine") == 1
    full += [True, True]
    bench.queue.put(lines(4, 3))
    bench.run()
    assert bench.quarantined == [lines(1), lines(3)]
    assert caplog.text.count("cannot write 1 rejected point to the quarantine") == 2, "the disk was free in between"


def test_a_full_disk_under_the_quarantine_does_not_keep_the_queue_from_making_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(1) in body else WRITTEN)
    spool = bench.sender._queue = DiskQueue(tmp_path, LOG)
    store = bench.sender._quarantine
    assert store is not None

    def fail_while_full(rejected: Mapping[str, Sequence[bytes]]) -> None:
        if len(list(spool.folder.path.iterdir())) > 1:
            raise OSError(28, "No space left on device")
        store(rejected)

    bench.sender._quarantine = fail_while_full
    for start in range(0, 5 * MAX_BATCH_LINES, MAX_BATCH_LINES):
        spool.put(lines(*range(start, start + MAX_BATCH_LINES)))
    while (pause := bench.sender.send_once()) is not None:
        bench.seconds += pause
    assert bench.quarantined == [lines(1)]
    assert len(set(bench.server.accepted)) == 5 * MAX_BATCH_LINES - 1
    assert bench.seconds < 5
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR]


def test_repeated_rejections_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(lambda body: Answer(422, "no") if lines(13) in body else WRITTEN)
    for _ in range(600):
        bench.queue.put(lines(13, 14))
        bench.run()
        bench.seconds += 1
    rejected = [record.message for record in caplog.records if "rejected" in record.message]
    assert len(rejected) == 10
    assert rejected[1].startswith("60 points rejected")
