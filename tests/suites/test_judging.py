"""The row of a monitor: scores that can be calculated by hand, and the published monitors on a small suite."""

from __future__ import annotations

from dataclasses import replace

import pytest
import write_suites

from clpm_execd.benchmark.judging import Row, ScoredAlarm, Value, count_time, evaluate, format_alarms
from clpm_execd.benchmark.results import format_text, read_results
from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.truth.episodes import Episode
from clpm_execd.score import Alarm, GroundTruth

HOUR = 3_600_000_000_000
OBSERVED = ((0, 10 * HOUR),)
TRUTH = GroundTruth(
    (Episode("A", "stiction", 0, 10 * HOUR, visible=((0, 8 * HOUR),)),
     Episode("B", "aggressive", 0, 5 * HOUR, visible=((0, 5 * HOUR),))),
    {"A": OBSERVED, "B": OBSERVED, "C": OBSERVED})


def test_the_scores_are_those_calculated_by_hand() -> None:
    alarms = [Alarm("A", 0, 4 * HOUR, "stiction", HOUR), Alarm("B", 0, 5 * HOUR, "stiction"),
              Alarm("C", 0, HOUR, "any")]
    row = evaluate("mine", "suite", TRUTH, alarms)
    assert row.f1.value == pytest.approx(0.5)  # 1 of 2 alarms, 1 of 2 events
    assert row.time_f1.value == pytest.approx(8 / (8 + 5 + 4 + 5))  # 4 h hit, 5 h false, 4 h and 5 h missed
    assert row.detection_f1.value == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))  # 2 of 3 alarms, 2 of 2 events
    assert row.false_alarms.value == pytest.approx(1 / (30 / 24))
    assert row.delay_s == pytest.approx(1800.0)  # 1 h and 0
    # Of 8 h that stiction is visible 4 are hit; of 20 h without it 15 have no alarm. 2 h of it are invisible.
    assert row.stiction_accuracy.value == pytest.approx((4 / 8 + 15 / 20) / 2)
    assert row.against_aggressive.value == pytest.approx((4 / 8 + 0 / 5) / 2)
    assert row.against_external == Value(None)


@pytest.mark.parametrize("fault", [AFFECTED, "external-oscillation"])
def test_root_causes_are_scored_where_alarms_name_the_loop_of_another_one(fault: str) -> None:
    affected = [Episode(loop, fault, 0, 5 * HOUR, visible=((0, 5 * HOUR),), cause="A:stiction")
                for loop, fault in (("C", AFFECTED), ("D", fault))]
    truth = replace(TRUTH, episodes=(*TRUTH.episodes, *affected), observation={**TRUTH.observation, "D": OBSERVED})
    own = Alarm("A", 0, 8 * HOUR, "stiction", cause="A")
    right, wrong = (Alarm(loop, 0, 5 * HOUR, "stiction", cause=cause) for loop, cause in (("C", "A"), ("D", "B")))
    assert evaluate("mine", "suite", truth, [own]).root_cause_f1 == Value(None)
    row = evaluate("mine", "suite", truth, [own, right, wrong])
    assert row.root_cause_f1.value == pytest.approx(0.5)  # 1 of 2 alarms, 1 of 2 events
    f1 = evaluate("mine", "suite", truth, [own, right]).f1
    assert f1 == evaluate("mine", "suite", truth, [own]).f1, "alarms on affected loops count neither way there"
    assert "F1 of root causes" in format_text([row])
    assert Row.from_table({name: value for name, value in row.to_table().items() if name != "root_cause_f1"}) \
        == replace(row, root_cause_f1=Value(None))


def test_an_interval_contains_the_score_and_shrinks_with_the_number_of_loops() -> None:
    def widths(copies: int) -> tuple[Value, float]:
        loops = [f"{name}{i}" for i in range(copies) for name in "AB"]
        episodes = tuple(Episode(loop, "stuck", 0, HOUR, visible=((0, HOUR),)) for loop in loops)
        alarms = [Alarm(loop, 0, HOUR, "stuck") for loop in loops if loop[0] == "A"]
        value = evaluate("m", "s", GroundTruth(episodes, dict.fromkeys(loops, OBSERVED)), alarms).f1
        assert value.value is not None
        assert value.low is not None
        assert value.high is not None
        return value, value.high - value.low

    few, wide = widths(5)
    many, narrow = widths(100)
    assert few.value == many.value == pytest.approx(2 / 3)
    assert few.low is not None
    assert few.low < 2 / 3
    assert narrow < 0.35 * wide  # as 1 / sqrt(20)


def test_time_that_is_not_visible_counts_neither_way() -> None:
    [hit, false, missed, rejected] = count_time(TRUTH, [Alarm("A", 0, 10 * HOUR, "stiction")], "stiction")[0] / HOUR
    assert (hit, false, missed, rejected) == (8.0, 0.0, 0.0, 0.0)


def test_stiction_is_not_judged_in_a_loop_that_is_in_manual() -> None:
    manual = [Episode("A", "manual", 6 * HOUR, 10 * HOUR, visible=()), Episode("C", "manual", 0, 9 * HOUR, visible=())]
    truth = replace(TRUTH, episodes=(*TRUTH.episodes, *manual))
    counts = count_time(truth, [Alarm("A", 0, 4 * HOUR, "stiction")], "stiction") / HOUR
    assert counts.tolist() == [[4.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 10.0], [0.0, 0.0, 0.0, 1.0]]


def test_alarms_are_written_as_score_reads_them() -> None:
    text = format_alarms([ScoredAlarm(Alarm("A", 0, HOUR, "stiction", HOUR), 0.75)])
    assert text == ("loop,start,end,fault,detected,score,cause\n"
                    "A,1970-01-01T00:00:00Z,1970-01-01T01:00:00Z,stiction,1970-01-01T01:00:00Z,0.75,\n")


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["pairs-1-small", "datapath-1-small"])
def test_the_published_results_are_those_of_the_monitors(suite: str) -> None:
    rows = write_suites.run_monitors(suite)
    assert format_text(rows) == format_text(read_results()[suite]), \
        "`python tests/write_suites.py results` and `python tests/doc_tables.py` write the results"


def test_the_easy_suite_is_easy_and_the_refinery_is_not() -> None:
    rows = {(suite, row.monitor): row for suite, each in read_results().items() for row in each}
    against_external = rows["pairs-1", "he"].against_external
    against_aggressive = rows["pairs-1", "horch"].against_aggressive
    assert against_external.value is not None
    assert against_aggressive.value is not None
    assert min(against_external.value, against_aggressive.value) >= 0.95
    published = [rows["refinery-1", name].stiction_accuracy.value for name in ("he", "horch", "choudhury", "yamashita")]
    assert all(accuracy is not None and 0.45 <= accuracy <= 0.65 for accuracy in published)
