"""Scores agree with cases calculated by hand and with a brute-force count of seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import examples

from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.truth.episodes import Episode
from clpm_execd.score import Alarm, GroundTruth, Score, score
from clpm_execd.score.precision_recall import Point, compute_average_precision, find_precision_recall
from clpm_execd.score.result import Mistake, Tally
from clpm_execd.score.rules import MATCH_LEVELS
from clpm_execd.units import DAY

END = 1000


def episode(fault: str, start: int, end: int, visible: Iterable[tuple[int, int]] | None = None,
            loop: str = "A") -> Episode:
    return Episode(loop, fault, start, end, visible=((start, end),) if visible is None else tuple(visible))


def control(start: int, end: int, kind: str = "grade-change") -> Episode:
    return Episode("A", kind, start, end, control=True)


def truth(*episodes: Episode, loops: str = "AB", end: int = END) -> GroundTruth:
    return GroundTruth(episodes, dict.fromkeys(loops, ((0, end),)))


def alarm(fault: str, start: int, end: int, loop: str = "A", detected: int | None = None) -> Alarm:
    return Alarm(loop, start, end, fault, detected)


def tally_of(result: Score, name: str) -> Tally:
    return next(tally for tally in result.tallies if tally.name == name)


# calculated by hand


def test_each_wrong_alarm_and_missed_event_is_listed_with_what_covers_it() -> None:
    ground_truth = truth(episode("stiction", 100, 200), episode("bias", 300, 400), control(500, 600))
    result = score(ground_truth, [alarm("sluggish", 120, 180), alarm("freeze", 510, 520), alarm("noise", 700, 800),
                                  alarm("bias", 310, 390)])
    assert result.false_positives == (
        Mistake("A", 120, 180, "stiction", "sluggish"), Mistake("A", 510, 520, "grade-change", "freeze"),
        Mistake("A", 700, 800, "healthy", "noise"))
    assert result.false_negatives == (Mistake("A", 100, 200, "stiction", "sluggish"),)


def test_precision_and_recall_at_each_limit_of_the_detectors_own_score() -> None:
    ground_truth = truth(episode("stiction", 100, 200), episode("stiction", 300, 400))
    alarms = [replace(alarm("stiction", start, start + 50), score=sure)
              for start, sure in ((100, 0.9), (600, 0.8), (300, 0.7))]
    points = find_precision_recall(ground_truth, alarms)
    assert [(point.threshold, point.precision, point.recall) for point in points] == [
        (0.9, 1.0, 0.5), (0.8, 0.5, 0.5), (0.7, pytest.approx(2 / 3), 1.0)]
    assert compute_average_precision(points) == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    assert find_precision_recall(ground_truth, [*alarms, alarm("stiction", 700, 800)]) == []
    assert compute_average_precision([]) is None
    assert compute_average_precision([Point(0.9, 1.0, 0.5), Point(0.8, 0.5, 0.4), Point(0.7, 0.8, 0.6)]) == \
        pytest.approx(0.5 * 1.0 + 0.1 * 0.8), "a step back of recall does not count"


def affected_episode(start: int, end: int, loop: str = "B") -> Episode:
    return replace(episode(AFFECTED, start, end, loop=loop), cause="A:freeze")


@pytest.mark.parametrize("kind", ["freeze", "stiction"])
def test_an_alarm_on_an_affected_loop_counts_neither_way(kind: str) -> None:
    ground_truth = truth(episode("freeze", 100, 300), affected_episode(150, 300))
    on_the_root = alarm("freeze", 100, 300)
    assert (score(ground_truth, [on_the_root, alarm(kind, 200, 280, loop="B")]).total
            == score(ground_truth, [on_the_root]).total)
    assert score(ground_truth, [alarm(kind, 500, 600, loop="B")]).total.wrong_alarms == 1, "it is healthy by then"


@pytest.mark.parametrize(("cause", "is_correct"), [
    ("A", True), ("A:freeze", True), ("", False), ("B", False), ("A:stiction", False)])
def test_an_alarm_on_an_affected_loop_is_judged_by_the_cause_that_it_names(cause: str, is_correct: bool) -> None:
    ground_truth = truth(episode("freeze", 100, 300), affected_episode(150, 300))
    alarms = [replace(each, cause=named, score=0.9) for each, named in (
        (alarm("freeze", 100, 300), ""), (alarm("stiction", 200, 280, loop="B"), cause))]
    result = score(ground_truth, alarms, affected="judge")
    assert tally_of(result, AFFECTED).detected_events == is_correct
    assert result.total.wrong_alarms == (not is_correct)
    (point,) = find_precision_recall(ground_truth, alarms, affected="judge")
    assert (point.precision, point.recall) == ((1.0, 1.0) if is_correct else (0.5, 0.5))


def test_an_alarm_over_part_of_a_fault_and_beyond_it() -> None:
    result = tally_of(score(truth(episode("stiction", 100, 300)), [alarm("stiction", 200, 350)]), "stiction")
    assert (result.events, result.detected_events, result.correct_alarms, result.wrong_alarms) == (1, 1, 1, 0)
    assert (result.true_positive, result.false_positive, result.false_negative) == (100, 50, 100)
    assert result.time_precision == pytest.approx(2 / 3)
    assert result.time_recall == 0.5
    assert result.time_f1 == pytest.approx(4 / 7)
    assert result.delays == [100]


def test_an_alarm_that_is_mostly_wrong_detects_nothing() -> None:
    result = score(truth(episode("stiction", 100, 200)), [alarm("stiction", 0, 1000)])
    tally = tally_of(result, "stiction")
    assert (tally.detected_events, tally.wrong_alarms, result.false_alarms) == (0, 1, 1)
    lenient = score(truth(episode("stiction", 100, 200)), [alarm("stiction", 0, 1000)], overlap=0.1)
    assert (tally_of(lenient, "stiction").detected_events, tally_of(lenient, "stiction").wrong_alarms) == (1, 0)


def test_half_of_an_alarm_is_enough() -> None:
    for end, right in ((300, 1), (301, 0)):
        result = tally_of(score(truth(episode("stuck", 100, 200)), [alarm("stuck", 100, end)]), "stuck")
        assert (result.correct_alarms, result.detected_events) == (right, right)


def test_alarms_that_touch_are_one_alarm() -> None:
    times = ((100, 150), (150, 200), (190, 260), (300, 310))
    alarms = [alarm("stiction", *time) for time in times]
    result = tally_of(score(truth(episode("stiction", 100, 400)), alarms), "stiction")
    assert (result.correct_alarms, result.wrong_alarms, result.true_positive) == (2, 0, 170)


def test_time_in_which_a_fault_is_invisible_counts_neither_way() -> None:
    case = truth(episode("leak", 100, 500, [(200, 300), (400, 450)]))
    result = tally_of(score(case, [alarm("leak", 100, 500)]), "leak")
    assert (result.correct_alarms, result.true_positive, result.false_positive, result.false_negative) == (1, 150, 0, 0)
    assert result.events == 1, "it came and went from sight in one episode"
    hidden = tally_of(score(case, [alarm("leak", 310, 390)]), "leak")
    assert (hidden.unjudged_alarms, hidden.judged_alarms, hidden.detected_events, hidden.events) == (1, 0, 0, 1)
    result = tally_of(score(case, [alarm("leak", 310, 390)], all_present=True), "leak")
    assert (result.correct_alarms, result.detected_events) == (1, 1)
    assert (result.true_positive, result.false_negative) == (80, 320)


def test_an_invisible_fault_is_an_event_only_if_present_ones_count() -> None:
    case = truth(episode("stiction", 100, 200, []))
    assert score(case, []).tallies == ()
    assert tally_of(score(case, [], all_present=True), "stiction").events == 1


def test_the_delay_is_from_the_first_visible_time_to_the_detection() -> None:
    case = truth(episode("stiction", 100, 500, [(200, 500)]))

    def delay(*alarm_lists: Alarm) -> list[int]:
        return tally_of(score(case, alarm_lists), "stiction").delays

    assert delay(alarm("stiction", 250, 400)) == [50]
    assert delay(alarm("stiction", 150, 400)) == [0]
    assert delay(alarm("stiction", 200, 400, detected=400)) == [200]
    assert delay(alarm("stiction", 200, 300, detected=300), alarm("stiction", 300, 400, detected=400)) == [100]
    assert delay(alarm("stiction", 350, 380), alarm("stiction", 250, 300)) == [50]
    assert delay(alarm("stiction", 20, 40, detected=30), alarm("stiction", 250, 300)) == [50], "an earlier false alarm"


def test_wrong_alarms_are_attributed_to_what_covers_most_of_them() -> None:
    case = truth(episode("aggressive", 100, 200), control(300, 400))
    result = score(case, [alarm("stiction", 100, 210), alarm("stiction", 290, 390), alarm("stiction", 500, 600),
                          alarm("stiction", 700, 710, "B")])
    assert (result.misclassifications, result.control_alarms, result.false_alarms) == (1, 1, 2)
    assert tally_of(result, "stiction").wrong_alarms == 4
    assert result.false_alarm_rate == pytest.approx(2 / (2 * END / DAY))
    assert result.confusion == {"aggressive": {"stiction": 1}, "grade-change": {"stiction": 1},
                                "healthy": {"stiction": 2}}
    assert [(c.kind, c.occurrences, c.with_alarm) for c in result.controls] == [("grade-change", 1, 1)]


def test_the_time_of_its_own_fault_does_not_make_a_wrong_alarm_a_false_one() -> None:
    case = truth(episode("stiction", 100, 140), episode("aggressive", 140, 175))
    result = score(case, [alarm("stiction", 100, 200)])
    assert (result.misclassifications, result.false_alarms) == (1, 0)
    assert result.false_positives == (Mistake("A", 100, 200, "aggressive", "stiction"),)


def test_an_undetected_event_is_counted_under_the_name_that_covers_most_of_it() -> None:
    case = truth(episode("stiction", 100, 200), episode("stuck", 300, 400), episode("bias", 500, 600))
    result = score(case, [alarm("deadband", 100, 140), alarm("aggressive", 130, 200), alarm("stuck", 300, 400),
                          alarm("drift", 300, 400)])
    assert result.confusion == {"stiction": {"aggressive": 1}, "stuck": {"stuck": 1}, "bias": {"nothing": 1}}
    assert sum(sum(row.values()) for row in result.confusion.values()) == 3


def test_by_group_a_kind_of_the_same_group_is_correct_and_by_any_every_kind() -> None:
    case = truth(episode("stiction", 100, 200), episode("deadband", 150, 250), episode("bias", 400, 500))
    alarm_lists = [alarm("stuck", 100, 250), alarm("aggressive", 400, 500)]
    assert [score(case, alarm_lists, by=level).total.detected_events for level in MATCH_LEVELS] == [0, 1, 2]
    valve = tally_of(score(case, alarm_lists, by="group"), "valve")
    assert (valve.events, valve.true_positive) == (1, 150), "faults of one group that overlap are one event"


def test_only_observed_time_counts() -> None:
    case = GroundTruth((episode("stiction", 100, 300),), {"A": ((0, 150), (200, 400))})
    result = tally_of(score(case, [alarm("stiction", 50, 900)]), "stiction")
    assert (result.true_positive, result.false_positive, result.false_negative) == (150, 150, 0)
    assert (result.events, result.correct_alarms) == (2, 1)
    assert score(case, [alarm("stiction", 500, 900)]).tallies[0].wrong_alarms == 0


def test_alarms_outside_of_the_observed_time_are_counted_apart() -> None:
    case = GroundTruth((episode("stiction", 100, 300),), {"A": ((0, 150), (200, 400))})
    outside = [alarm("stiction", 500, 900), alarm("stuck", 160, 190), alarm("stuck", 190, 195)]
    result = score(case, [*outside, alarm("stiction", 390, 450)])
    assert (result.unobserved_alarms, result.total.wrong_alarms) == (2, 1)


def test_an_alarm_while_a_loop_is_out_of_service_counts_neither_way() -> None:
    for kind in ("maintenance", "shutdown"):
        result = score(truth(control(100, 200, kind)), [alarm("manual", 110, 190), alarm("freeze", 120, 130)])
        assert (result.total.wrong_alarms, result.total.false_positive, result.controls) == (0, 0, ())
        assert score(truth(control(100, 200, kind)), [alarm("manual", 250, 300)]).false_alarms == 1


def test_an_alarm_that_names_a_negative_control_is_ignored() -> None:
    result = score(truth(control(100, 200)), [alarm("grade-change", 100, 200)])
    assert result.tallies == ()
    assert result.controls[0].with_alarm == 0


def test_macro_and_total_scores() -> None:
    case = truth(episode("stiction", 0, 100), episode("stuck", 200, 300), episode("bias", 400, 500))
    result = score(case, [alarm("stiction", 0, 100), alarm("stuck", 200, 300), alarm("stuck", 600, 700)])
    assert result.macro_f1 == pytest.approx((1.0 + 2 / 3 + 0.0) / 3)
    assert (result.total.precision, result.total.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    case = truth(episode("stuck", 200, 300))
    assert score(case, [alarm("stuck", 200, 300), alarm("drift", 600, 700)]).macro_f1 == 1.0, "no drift occurs"


def test_an_undefined_score_is_none() -> None:
    result = score(truth(), []).total
    assert (result.precision, result.recall, result.f1, result.time_f1, result.median_delay) == (None,) * 5
    assert score(truth(), []).macro_f1 is None


def test_unknown_rules_are_refused() -> None:
    for wrong in ({"by": "loop"}, {"overlap": 1.5}):
        with pytest.raises(ValueError, match="by must be one of"):
            score(truth(), [], **wrong)  # type: ignore[arg-type]


# whatever the truth and the verdicts

KINDS = ("stiction", "stuck", "bias")
stretch = st.tuples(st.integers(0, 60), st.integers(1, 25)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def case(draw: st.DrawFn) -> GroundTruth:
    episodes = []
    for loop in "AB":
        for kind in KINDS:
            time = 0
            for gap, length, first, last in draw(st.lists(st.tuples(
                    st.integers(1, 15), st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)), max_size=3)):
                start, time = time + gap, time + gap + length
                visible = sorted((start + min(first, length), start + min(last, length)))
                episodes.append(episode(kind, start, time, [tuple(visible)] if visible[0] < visible[1] else [], loop))
        time = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), max_size=2)):
            episodes.append(replace(control(time + gap, time + gap + length), loop=loop))
            time += gap + length
    return truth(*sorted(episodes), end=100)


alarm_lists = st.lists(st.tuples(st.sampled_from("AB"), stretch, st.sampled_from(KINDS)), max_size=8).map(
    lambda rows: [alarm(kind, *when, loop) for loop, when, kind in rows])


def perfect_alarms(drawn_truth: GroundTruth) -> list[Alarm]:
    return [alarm(episode.fault, *part, episode.loop) for episode in drawn_truth.episodes for part in episode.visible]


@given(case(), st.floats(0.0, 1.0))
def test_perfect_alarms_have_full_scores(drawn_truth: GroundTruth, overlap: float) -> None:
    result = score(drawn_truth, perfect_alarms(drawn_truth), overlap=overlap)
    assert result.total.wrong_alarms == 0
    assert all(tally.f1 in (1.0, None) and tally.time_f1 in (1.0, None) for tally in (*result.tallies, result.total))
    assert (result.false_alarms, result.misclassifications, result.control_alarms) == (0, 0, 0)
    assert set(result.total.delays) <= {0}


@given(case())
def test_without_alarms_nothing_is_detected_and_nothing_is_wrong(drawn_truth: GroundTruth) -> None:
    result = score(drawn_truth, [])
    assert result.total.recall in (0.0, None)
    assert result.total.precision is None
    assert result.total.false_positive == result.total.wrong_alarms == 0


@pytest.mark.slow
@given(case(), alarm_lists, st.randoms())
def test_the_order_of_alarms_and_their_partition_change_nothing(drawn_truth: GroundTruth, alarms: list[Alarm],
                                                                chance: object) -> None:
    cut = []
    for each in alarms:
        middle = (each.start + each.end) // 2
        parts = ((each.start, middle), (middle, each.end))
        cut += [replace(each, start=start, end=end) for start, end in parts if start < end]
    chance.shuffle(cut)  # type: ignore[attr-defined]
    assert score(drawn_truth, cut) == score(drawn_truth, alarms)


@given(case(), alarm_lists, st.integers(0, 10**15))
def test_a_shift_in_time_moves_the_mistakes_and_nothing_else(drawn_truth: GroundTruth, alarms: list[Alarm],
                                                             later: int) -> None:
    def move(mistake: Mistake) -> Mistake:
        return replace(mistake, start=mistake.start + later, end=mistake.end + later)

    moved = GroundTruth(
        tuple(replace(e, start=e.start + later, end=e.end + later,
                      visible=tuple((a + later, b + later) for a, b in e.visible)) for e in drawn_truth.episodes),
        {loop: tuple((a + later, b + later) for a, b in parts) for loop, parts in drawn_truth.observation.items()})
    shifted = [replace(each, start=each.start + later, end=each.end + later) for each in alarms]
    before = score(drawn_truth, alarms)
    assert score(moved, shifted) == replace(
        before, false_positives=tuple(map(move, before.false_positives)),
        false_negatives=tuple(map(move, before.false_negatives)))


@pytest.mark.slow
@given(case(), alarm_lists, st.sampled_from(MATCH_LEVELS), st.booleans())
@settings(max_examples=examples(200))
def test_times_equal_a_count_of_seconds(drawn_truth: GroundTruth, alarms: list[Alarm], by: str,
                                        all_present: bool) -> None:
    names = {"kind": {kind: kind for kind in KINDS}, "any": dict.fromkeys(KINDS, "any"),
             "group": {"stiction": "valve", "stuck": "valve", "bias": "sensor"}}[by]
    result = score(drawn_truth, alarms, by=by, all_present=all_present)
    for tally in result.tallies:
        durations = [0, 0, 0]
        for loop in "AB":
            for t in range(100):
                episodes = [e for e in drawn_truth.episodes if e.loop == loop and not e.control
                            and names[e.fault] == tally.name and e.start <= t < e.end]
                target = any(all_present or any(a <= t < b for a, b in e.visible) for e in episodes)
                alarm = any(v.loop == loop and names[v.fault] == tally.name and v.start <= t < v.end for v in alarms)
                durations[0] += alarm and target
                durations[1] += alarm and not episodes
                durations[2] += target and not alarm
        assert [tally.true_positive, tally.false_positive, tally.false_negative] == durations


@pytest.mark.slow
@given(case(), alarm_lists, st.floats(0.0, 1.0))
@settings(max_examples=examples(200))
def test_every_alarm_and_event_is_counted_once(drawn_truth: GroundTruth, alarms: list[Alarm], overlap: float) -> None:
    result = score(drawn_truth, alarms, overlap=overlap)
    assert result.total.wrong_alarms == result.misclassifications + result.control_alarms + result.false_alarms
    for tally in result.tallies:
        assert sum(result.confusion.get(tally.name, {}).values()) == tally.events
        assert result.confusion.get(tally.name, {}).get(tally.name, 0) == tally.detected_events == len(tally.delays)
        assert all(mark is None or 0.0 <= mark <= 1.0 for mark in (
            tally.precision, tally.recall, tally.f1, tally.time_precision, tally.time_recall, tally.time_f1))
    assert sum(result.confusion.get("healthy", {}).values()) == result.false_alarms
    assert sum(control.occurrences for control in result.controls) == sum(e.control for e in drawn_truth.episodes)


@given(case(), alarm_lists, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_stricter_overlap_never_detects_more(drawn_truth: GroundTruth, alarms: list[Alarm], one: float,
                                               other: float) -> None:
    lenient, strict = (score(drawn_truth, alarms, overlap=overlap).total for overlap in sorted((one, other)))
    assert lenient.detected_events >= strict.detected_events
    assert lenient.correct_alarms >= strict.correct_alarms
