"""The marks, against cases reckoned by hand and against a brute-force count of seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clpm_execd.plant.faults.episodes import Episode
from clpm_execd.score import Alarm, GroundTruth, Score, score
from clpm_execd.score.rules import LEVELS, Tally
from clpm_execd.units import DAY

END = 1000


def there(fault: str, start: int, end: int, visible: Iterable[tuple[int, int]] | None = None,
          loop: str = "A") -> Episode:
    return Episode(loop, fault, start, end, visible=((start, end),) if visible is None else tuple(visible))


def control(start: int, end: int, kind: str = "grade-change") -> Episode:
    return Episode("A", kind, start, end, control=True)


def truth(*episodes: Episode, loops: str = "AB", end: int = END) -> GroundTruth:
    return GroundTruth(episodes, dict.fromkeys(loops, ((0, end),)))


def said(fault: str, start: int, end: int, loop: str = "A", detected: int | None = None) -> Alarm:
    return Alarm(loop, start, end, fault, detected)


def of(marks: Score, name: str) -> Tally:
    return next(tally for tally in marks.tallies if tally.name == name)


# reckoned by hand


def test_an_alarm_over_part_of_a_fault_and_beyond_it() -> None:
    marks = of(score(truth(there("stiction", 100, 300)), [said("stiction", 200, 350)]), "stiction")
    assert (marks.events, marks.detected_events, marks.correct_alarms, marks.wrong_alarms) == (1, 1, 1, 0)
    assert (marks.true_positive, marks.false_positive, marks.false_negative) == (100, 50, 100)
    assert marks.time_precision == pytest.approx(2 / 3)
    assert marks.time_recall == 0.5
    assert marks.time_f1 == pytest.approx(4 / 7)
    assert marks.delays == [100]


def test_an_alarm_that_is_mostly_untrue_is_wrong_and_finds_nothing() -> None:
    marks = score(truth(there("stiction", 100, 200)), [said("stiction", 0, 1000)])
    assert (of(marks, "stiction").detected_events, of(marks, "stiction").wrong_alarms, marks.false_alarms) == (0, 1, 1)
    lenient = score(truth(there("stiction", 100, 200)), [said("stiction", 0, 1000)], overlap=0.1)
    assert (of(lenient, "stiction").detected_events, of(lenient, "stiction").wrong_alarms) == (1, 0)


def test_half_of_an_alarm_is_enough() -> None:
    for end, right in ((300, 1), (301, 0)):
        marks = of(score(truth(there("stuck", 100, 200)), [said("stuck", 100, end)]), "stuck")
        assert (marks.correct_alarms, marks.detected_events) == (right, right)


def test_verdicts_that_touch_are_one_alarm() -> None:
    times = ((100, 150), (150, 200), (190, 260), (300, 310))
    marks = of(score(truth(there("stiction", 100, 400)), [said("stiction", *time) for time in times]), "stiction")
    assert (marks.correct_alarms, marks.wrong_alarms, marks.true_positive) == (2, 0, 170)


def test_time_in_which_a_fault_does_not_show_is_judged_neither_way() -> None:
    facts = truth(there("leak", 100, 500, [(200, 300), (400, 450)]))
    marks = of(score(facts, [said("leak", 100, 500)]), "leak")
    assert (marks.correct_alarms, marks.true_positive, marks.false_positive, marks.false_negative) == (1, 150, 0, 0)
    assert marks.events == 1, "it came and went from sight in one episode"
    unseen = of(score(facts, [said("leak", 310, 390)]), "leak")
    assert (unseen.unjudged_alarms, unseen.judged_alarms, unseen.detected_events, unseen.events) == (1, 0, 0, 1)
    whole = of(score(facts, [said("leak", 310, 390)], all_present=True), "leak")
    assert (whole.correct_alarms, whole.detected_events, whole.true_positive, whole.false_negative) == (1, 1, 80, 320)


def test_a_fault_that_never_shows_is_no_event_unless_present_ones_count() -> None:
    facts = truth(there("stiction", 100, 200, []))
    assert score(facts, []).tallies == ()
    assert of(score(facts, [], all_present=True), "stiction").events == 1


def test_the_delay_is_from_the_first_sight_to_when_the_monitor_knew() -> None:
    facts = truth(there("stiction", 100, 500, [(200, 500)]))

    def delay(*verdicts: Alarm) -> list[int]:
        return of(score(facts, verdicts), "stiction").delays

    assert delay(said("stiction", 250, 400)) == [50]
    assert delay(said("stiction", 150, 400)) == [0]
    assert delay(said("stiction", 200, 400, detected=400)) == [200]
    assert delay(said("stiction", 200, 300, detected=300), said("stiction", 300, 400, detected=400)) == [100]
    assert delay(said("stiction", 350, 380), said("stiction", 250, 300)) == [50]


def test_wrong_alarms_are_put_down_to_what_covers_most_of_them() -> None:
    facts = truth(there("aggressive", 100, 200), control(300, 400))
    marks = score(facts, [said("stiction", 100, 210), said("stiction", 290, 390), said("stiction", 500, 600),
                          said("stiction", 700, 710, "B")])
    assert (marks.misclassifications, marks.control_alarms, marks.false_alarms) == (1, 1, 2)
    assert of(marks, "stiction").wrong_alarms == 4
    assert marks.false_alarm_rate == pytest.approx(2 / (2 * END / DAY))
    assert marks.confusion == {"aggressive": {"stiction": 1}, "grade-change": {"stiction": 1},
                               "healthy": {"stiction": 2}}
    assert [(c.kind, c.occurrences, c.with_alarm) for c in marks.controls] == [("grade-change", 1, 1)]


def test_an_event_is_counted_under_the_name_that_covers_most_of_it_if_its_own_is_not_said() -> None:
    facts = truth(there("stiction", 100, 200), there("stuck", 300, 400), there("bias", 500, 600))
    marks = score(facts, [said("deadband", 100, 140), said("aggressive", 130, 200), said("stuck", 300, 400),
                          said("drift", 300, 400)])
    assert marks.confusion == {"stiction": {"aggressive": 1}, "stuck": {"stuck": 1}, "bias": {"nothing": 1}}
    assert sum(sum(row.values()) for row in marks.confusion.values()) == 3


def test_by_groups_a_neighbouring_kind_is_right_and_by_any_every_fault_is() -> None:
    facts = truth(there("stiction", 100, 200), there("deadband", 150, 250), there("bias", 400, 500))
    verdicts = [said("stuck", 100, 250), said("aggressive", 400, 500)]
    assert [score(facts, verdicts, by=level).total.detected_events for level in LEVELS] == [0, 1, 2]
    valve = of(score(facts, verdicts, by="group"), "valve")
    assert (valve.events, valve.true_positive) == (1, 150), "faults of one group that overlap are one event"


def test_only_watched_time_counts() -> None:
    facts = GroundTruth((there("stiction", 100, 300),), {"A": ((0, 150), (200, 400))})
    marks = of(score(facts, [said("stiction", 50, 900)]), "stiction")
    assert (marks.true_positive, marks.false_positive, marks.false_negative) == (150, 150, 0)
    assert (marks.events, marks.correct_alarms) == (2, 1)
    assert score(facts, [said("stiction", 500, 900)]).tallies[0].wrong_alarms == 0


def test_a_verdict_of_a_negative_control_accuses_nobody() -> None:
    marks = score(truth(control(100, 200)), [said("grade-change", 100, 200)])
    assert marks.tallies == ()
    assert marks.controls[0].with_alarm == 0


def test_macro_and_total_marks() -> None:
    facts = truth(there("stiction", 0, 100), there("stuck", 200, 300), there("bias", 400, 500))
    marks = score(facts, [said("stiction", 0, 100), said("stuck", 200, 300), said("stuck", 600, 700)])
    assert marks.macro_f1 == pytest.approx((1.0 + 2 / 3 + 0.0) / 3)
    assert (marks.total.precision, marks.total.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_what_cannot_be_told_is_none() -> None:
    marks = score(truth(), []).total
    assert (marks.precision, marks.recall, marks.f1, marks.time_f1, marks.median_delay) == (None,) * 5
    assert score(truth(), []).macro_f1 is None


def test_other_rules_are_refused() -> None:
    for wrong in ({"by": "loop"}, {"overlap": 1.5}):
        with pytest.raises(ValueError, match="by must be one of"):
            score(truth(), [], **wrong)  # type: ignore[arg-type]


# whatever the truth and the verdicts

KINDS = ("stiction", "stuck", "bias")
stretch = st.tuples(st.integers(0, 60), st.integers(1, 25)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def facts(draw: st.DrawFn) -> GroundTruth:
    found = []
    for loop in "AB":
        for kind in KINDS:
            time = 0
            for gap, length, first, last in draw(st.lists(st.tuples(
                    st.integers(1, 15), st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)), max_size=3)):
                start, time = time + gap, time + gap + length
                visible = sorted((start + min(first, length), start + min(last, length)))
                found.append(there(kind, start, time, [tuple(visible)] if visible[0] < visible[1] else [], loop))
        time = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), max_size=2)):
            found.append(replace(control(time + gap, time + gap + length), loop=loop))
            time += gap + length
    return truth(*sorted(found), end=100)


verdicts = st.lists(st.tuples(st.sampled_from("AB"), stretch, st.sampled_from(KINDS)), max_size=8).map(
    lambda drawn: [said(kind, *when, loop) for loop, when, kind in drawn])


def perfect(known: GroundTruth) -> list[Alarm]:
    return [said(episode.fault, *part, episode.loop) for episode in known.episodes for part in episode.visible]


@given(facts(), st.floats(0.0, 1.0))
def test_perfect_verdicts_have_full_marks(known: GroundTruth, overlap: float) -> None:
    marks = score(known, perfect(known), overlap=overlap)
    assert marks.total.wrong_alarms == 0
    assert all(tally.f1 in (1.0, None) and tally.time_f1 in (1.0, None) for tally in (*marks.tallies, marks.total))
    assert (marks.false_alarms, marks.misclassifications, marks.control_alarms) == (0, 0, 0)
    assert set(marks.total.delays) <= {0}


@given(facts())
def test_silence_finds_nothing_and_accuses_nobody(known: GroundTruth) -> None:
    marks = score(known, [])
    assert marks.total.recall in (0.0, None)
    assert marks.total.precision is None
    assert marks.total.false_positive == marks.total.wrong_alarms == 0


@given(facts(), verdicts, st.randoms())
def test_the_order_of_verdicts_and_how_they_are_cut_change_nothing(known: GroundTruth, given_: list[Alarm],
                                                                 chance: object) -> None:
    cut = []
    for verdict in given_:
        middle = (verdict.start + verdict.end) // 2
        parts = ((verdict.start, middle), (middle, verdict.end))
        cut += [replace(verdict, start=start, end=end) for start, end in parts if start < end]
    chance.shuffle(cut)  # type: ignore[attr-defined]
    assert score(known, cut) == score(known, given_)


@given(facts(), verdicts, st.integers(0, 10**15))
def test_when_it_all_happens_changes_nothing(known: GroundTruth, given_: list[Alarm], later: int) -> None:
    moved = GroundTruth(
        tuple(replace(e, start=e.start + later, end=e.end + later,
                      visible=tuple((a + later, b + later) for a, b in e.visible)) for e in known.episodes),
        {loop: tuple((a + later, b + later) for a, b in parts) for loop, parts in known.observation.items()})
    shifted = [replace(verdict, start=verdict.start + later, end=verdict.end + later) for verdict in given_]
    assert score(moved, shifted) == score(known, given_)


@given(facts(), verdicts, st.sampled_from(LEVELS), st.booleans())
@settings(max_examples=200)
def test_time_is_what_a_count_of_seconds_gives(known: GroundTruth, given_: list[Alarm], by: str,
                                               all_present: bool) -> None:
    names = {"kind": {kind: kind for kind in KINDS}, "any": dict.fromkeys(KINDS, "any"),
             "group": {"stiction": "valve", "stuck": "valve", "bias": "sensor"}}[by]
    marks = score(known, given_, by=by, all_present=all_present)
    for tally in marks.tallies:
        counted = [0, 0, 0]
        for loop in "AB":
            for t in range(100):
                episodes = [e for e in known.episodes if e.loop == loop and not e.control
                            and names[e.fault] == tally.name and e.start <= t < e.end]
                target = any(all_present or any(a <= t < b for a, b in e.visible) for e in episodes)
                alarm = any(v.loop == loop and names[v.fault] == tally.name and v.start <= t < v.end for v in given_)
                counted[0] += alarm and target
                counted[1] += alarm and not episodes
                counted[2] += target and not alarm
        assert [tally.true_positive, tally.false_positive, tally.false_negative] == counted


@given(facts(), verdicts, st.floats(0.0, 1.0))
@settings(max_examples=200)
def test_every_alarm_and_event_is_counted_once(known: GroundTruth, given_: list[Alarm], overlap: float) -> None:
    marks = score(known, given_, overlap=overlap)
    assert marks.total.wrong_alarms == marks.misclassifications + marks.control_alarms + marks.false_alarms
    for tally in marks.tallies:
        assert sum(marks.confusion.get(tally.name, {}).values()) == tally.events
        assert marks.confusion.get(tally.name, {}).get(tally.name, 0) == tally.detected_events == len(tally.delays)
        assert all(mark is None or 0.0 <= mark <= 1.0 for mark in (
            tally.precision, tally.recall, tally.f1, tally.time_precision, tally.time_recall, tally.time_f1))
    assert sum(marks.confusion.get("healthy", {}).values()) == marks.false_alarms
    assert sum(control.occurrences for control in marks.controls) == sum(e.control for e in known.episodes)


@given(facts(), verdicts, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_stricter_overlap_never_finds_more(known: GroundTruth, given_: list[Alarm], one: float,
                                             other: float) -> None:
    lenient, strict = (score(known, given_, overlap=overlap).total for overlap in sorted((one, other)))
    assert lenient.detected_events >= strict.detected_events
    assert lenient.correct_alarms >= strict.correct_alarms
