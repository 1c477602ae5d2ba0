"""Monitors on a suite: their findings become alarms, and alarms become a row of the table, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from clpm_execd.benchmark.suite_recording import Recording
from clpm_execd.monitors.detectors import Monitor
from clpm_execd.monitors.loop_window import ANY
from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.truth.episodes import TimeInterval
from clpm_execd.score import Alarm, GroundTruth, Score, score
from clpm_execd.score.result import Tally
from clpm_execd.score.rules import group_by_loop, is_out_of_service
from clpm_execd.score.time_intervals import difference, intersection, sum_durations, union
from clpm_execd.units import DAY, format_time

STICTION, MANUAL = "stiction", "manual"
_RESAMPLES = 1000  # bootstrap samples: the ends of a 90 % interval scatter by about 0.01 then
_PERCENTILES = (5.0, 95.0)
_SEED = 1  # of the bootstrap, so that a table is the same when it is made again

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Value:
    """A score with its 90 % interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{self.value:.2f}" + (f" ({self.low:.2f} to {self.high:.2f})" if self.low is not None else "")


@dataclass(frozen=True, slots=True)
class Row:
    """A monitor in the table of a suite.

    Attributes
    ----------
    monitor, suite : str
    f1 : Value
        F1 by events, with the kind of fault.
    time_f1 : Value
        F1 by time, with the kind of fault.
    detection_f1 : Value
        F1 by events, whatever the kind.
    stiction_accuracy, against_aggressive, against_external : Value
        Balanced accuracy by time of stiction against everything else, and against one other cause of oscillation.
    false_alarms : Value
        False alarms per loop-day, in detection.
    delay_s : float or None
        Median delay, in detection, s.
    root_cause_f1 : Value
        F1 by events on loops that another loop's fault affects: whether alarms name the loop of the root cause.
    """

    monitor: str
    suite: str
    f1: Value
    time_f1: Value
    detection_f1: Value
    stiction_accuracy: Value
    against_aggressive: Value
    against_external: Value
    false_alarms: Value
    delay_s: float | None
    root_cause_f1: Value = Value(None)

    def to_table(self) -> dict[str, object]:
        """Return the row for a JSON file."""
        return asdict(self)

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> Row:
        """Return the row that `to_table` wrote; what a table of an older version lacks is undefined."""
        values = {field.name: table[field.name] for field in fields(cls) if field.name in table}
        return cls(**{name: Value(**value) if isinstance(value, dict) else value  # type: ignore[arg-type]
                      for name, value in values.items()})


@dataclass(frozen=True, slots=True)
class ScoredAlarm:
    """An alarm and the monitor's own score of it, 0 to 1."""

    alarm: Alarm
    score: float


def run_monitor(monitor: Monitor, recording: Recording, window: int) -> list[ScoredAlarm]:
    """Return an alarm for each finding, over the window in which it was made and raised at its end.

    Parameters
    ----------
    monitor : Monitor
    recording : Recording
    window : int
        The time that is judged at once, ns.
    """
    return [ScoredAlarm(Alarm(finding.loop, start, end, finding.fault, end, cause=finding.cause), finding.score)
            for start, end, windows in recording.cut(window) for finding in monitor.judge(windows)]


def format_alarms(alarms: Iterable[ScoredAlarm]) -> str:
    """Return alarms as the CSV that `score` reads."""
    rows = [f"{each.alarm.loop},{format_time(each.alarm.start)},{format_time(each.alarm.end)},{each.alarm.fault},"
            f"{format_time(each.alarm.raised_at)},{each.score:.4g},{each.alarm.cause}\n" for each in alarms]
    return "loop,start,end,fault,detected,score,cause\n" + "".join(rows)


def evaluate(name: str, suite: str, truth: GroundTruth, alarms: Sequence[Alarm], *, names_kinds: bool = True) -> Row:
    """Return the row of a monitor; alarms named `any` count in detection only.

    Parameters
    ----------
    name, suite : str
        What the row is called.
    truth : GroundTruth
    alarms : sequence of Alarm
    names_kinds : bool
        Whether the monitor names kinds of faults; if not, only detection has scores.
    """
    diagnoses = [alarm for alarm in alarms if alarm.fault in FAULTS]
    by_kind, _ = _score_each_loop(truth, diagnoses, "kind")
    by_any, false_alarms = _score_each_loop(truth, alarms, ANY)
    days = np.array([sum_durations(part) / DAY for part in truth.observation.values()])
    delays = [delay for tally in by_any for delay in tally.delays]
    no_value = Value(None)

    def accuracy(against: str | None) -> Value:
        counts = count_time(truth, diagnoses, STICTION, against)
        return _bootstrap(_compute_balanced_accuracy, counts) if names_kinds else no_value

    return Row(
        name, suite,
        _bootstrap(_compute_event_f1, _count_events(by_kind)) if names_kinds else no_value,
        _bootstrap(_compute_time_f1, _sum_times(by_kind)) if names_kinds else no_value,
        _bootstrap(_compute_event_f1, _count_events(by_any)),
        accuracy(None), accuracy("aggressive"), accuracy("external-oscillation"),
        _bootstrap(_compute_rate, np.stack([false_alarms, days], axis=1)),
        float(np.median(delays)) / 1e9 if delays else None,
        _bootstrap(_compute_event_f1, _count_root_causes(truth, alarms)))


def _count_root_causes(truth: GroundTruth, alarms: Iterable[Alarm]) -> Floats:
    """Return for each loop the counts of `_compute_event_f1` over alarms that name another loop as the cause.

    Right is a loop that the cause reaches, be it healthy or one with a fault of that name, such as an external
    oscillation that comes from another loop. Without such an alarm the monitor does not look for causes, and there are
    no counts.
    """
    naming = [alarm for alarm in alarms
              if alarm.cause and alarm.loop not in (alarm.cause, alarm.cause.rpartition(":")[0])]
    if not naming:
        return np.zeros((len(truth.observation), 4))
    episodes = tuple(replace(episode, fault=AFFECTED) if episode.cause else episode for episode in truth.episodes)
    rows = []
    for each in _score_loops(replace(truth, episodes=episodes), naming, by="kind", affected="judge"):
        affected = next((tally for tally in each.tallies if tally.name == AFFECTED), Tally(AFFECTED))
        rows.append((affected.events, affected.detected_events, affected.correct_alarms, each.total.wrong_alarms))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _score_each_loop(truth: GroundTruth, alarms: Sequence[Alarm], by: str) -> tuple[list[Tally], Floats]:
    """Return the total tally of each loop, and its number of false alarms."""
    scores = _score_loops(truth, alarms, by=by)
    return [each.total for each in scores], np.array([each.false_alarms for each in scores], dtype=np.float64)


def _score_loops(truth: GroundTruth, alarms: Sequence[Alarm], *, by: str, affected: str = "ignore") -> list[Score]:
    """Return the score of each loop."""
    alarms_by_loop, episodes_by_loop = group_by_loop(alarms), group_by_loop(truth.episodes)
    return [score(replace(truth, episodes=tuple(episodes_by_loop.get(loop, ())), observation={loop: observation}),
                  alarms_by_loop.get(loop, ()), by=by, affected=affected)
            for loop, observation in truth.observation.items()]


def count_time(truth: GroundTruth, alarms: Iterable[Alarm], fault: str, against: str | None = None) -> Floats:
    """Return for each loop the time of true and false positives and negatives of a fault, (loops, 4), ns.

    Time in which the fault is present and not visible counts neither way, and neither does time in which the loop is in
    manual or out of service: without a controller there is no cycle to judge.

    Parameters
    ----------
    truth : GroundTruth
    alarms : iterable of Alarm
    fault : str
        The kind that is distinguished from the rest.
    against : str, optional
        The rest: time in which this kind is visible; by default all time without the fault.
    """
    predicted: dict[str, list[TimeInterval]] = {}
    for alarm in alarms:
        if alarm.fault == fault:
            predicted.setdefault(alarm.loop, []).append((alarm.start, alarm.end))
    present: dict[str, list[TimeInterval]] = {}
    in_manual: dict[str, list[TimeInterval]] = {}
    visible: dict[tuple[str, str], list[TimeInterval]] = {}
    for episode in truth.episodes:
        visible.setdefault((episode.loop, episode.fault), []).extend(episode.visible)
        if episode.fault == fault:
            present.setdefault(episode.loop, []).append((episode.start, episode.end))
        if episode.fault == MANUAL or is_out_of_service(episode):
            in_manual.setdefault(episode.loop, []).append((episode.start, episode.end))
    rows = []
    for loop, observation in truth.observation.items():
        alarm_time = union(predicted.get(loop, ()))
        in_automatic = difference(observation, union(in_manual.get(loop, ())))
        positive = intersection(union(visible.get((loop, fault), ())), in_automatic)
        rest = in_automatic if against is None else intersection(union(visible.get((loop, against), ())), in_automatic)
        negative = difference(rest, union(present.get(loop, ())))
        hit, false = (sum_durations(intersection(part, alarm_time)) for part in (positive, negative))
        rows.append((hit, false, sum_durations(positive) - hit, sum_durations(negative) - false))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _count_events(tallies: Sequence[Tally]) -> Floats:
    return np.array([(tally.events, tally.detected_events, tally.correct_alarms, tally.wrong_alarms)
                     for tally in tallies], dtype=np.float64)


def _sum_times(tallies: Sequence[Tally]) -> Floats:
    return np.array([(tally.true_positive, tally.false_positive, tally.false_negative) for tally in tallies],
                    dtype=np.float64)


# Scores of sums of counts over loops: from (resamples, counts) to (resamples,), NaN where undefined.

def _compute_event_f1(counts: Floats) -> Floats:
    events, detected, correct, wrong = counts.T
    precision, recall = _divide(correct, correct + wrong), _divide(detected, events)
    f1 = _divide(2.0 * precision * recall, precision + recall)
    is_undefined = np.isnan(precision) & np.isnan(recall)
    return np.where(is_undefined, np.nan, np.nan_to_num(f1))


def _compute_time_f1(counts: Floats) -> Floats:
    hit, false, missed = counts.T
    return _divide(2.0 * hit, 2.0 * hit + false + missed)


def _compute_balanced_accuracy(counts: Floats) -> Floats:
    hit, false, missed, rejected = counts.T
    return (_divide(hit, hit + missed) + _divide(rejected, rejected + false)) / 2.0


def _compute_rate(counts: Floats) -> Floats:
    return _divide(*counts.T)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0.0)
    return quotient


def _bootstrap(score_of: Callable[[Floats], Floats], counts: Floats) -> Value:
    """Return the score of all loops, with the 90 % interval over resampled loops."""
    value = float(score_of(counts.sum(axis=0)[np.newaxis])[0])
    if np.isnan(value):
        return Value(None)
    rng = np.random.default_rng(_SEED)
    weights = rng.multinomial(len(counts), np.full(len(counts), 1.0 / len(counts)), size=_RESAMPLES)
    resample_scores = score_of(weights.astype(np.float64) @ counts)
    resample_scores = resample_scores[~np.isnan(resample_scores)]
    if not len(resample_scores):
        return Value(value)
    low, high = np.percentile(resample_scores, _PERCENTILES)
    return Value(value, float(low), float(high))
