"""The rules by which alarms are scored against the ground truth.

Times are half-open intervals, exact to the nanosecond; nothing is sampled. Only the observation counts: the time from
the first to the last sample of a loop. Ground truth and alarms are cut to it.

*Target.* The time in which the fault is visible to a perfect observer of PV, OP and SP; with `--all` the time in which
it is present. Time in which it is present without being visible counts neither way: no detector has to detect the fault
then, and an alarm then is no error. Negative controls are normal operation and never a target.

*Affected.* The time in which a loop without a fault shows the effect of another loop's fault is not observed: an alarm
then counts neither way. With `--affected judge` it is an event named `affected` instead, and an alarm whose cause is
the loop of the root cause is an alarm of that name; any other alarm then is a false one.

*Out of service.* The time in which a loop is in maintenance, or its unit is shut down, is not observed either: a
monitor may report it or not.

*Event.* An interval in which the fault is present in a loop without interruption, if it contains target time.

*Alarm.* Alarms of one loop and fault that touch or overlap are one alarm. It is correct if at least the fraction
`--overlap` of its judged time, and some of it, is target; an alarm without judged time is not counted. This is the
detection tolerance criterion of Bilen, Ferroni, Tuveri, Azcarreta and Krstulovic (A framework for the robust evaluation
of sound event detection, ICASSP 2020), by which an alarm that never ends does not detect everything. An overlap of 0 is
the older rule that any overlap is enough (Hundman et al., KDD 2018).

*Scores by event.* Precision is the fraction of alarms that are correct, recall the fraction of events that a correct
alarm overlaps, F1 their harmonic mean (0 if only one of them is defined). The delay of an event is the time from its
first target time to the first correct alarm that overlaps it: to the `detected` time of that alarm if the detector
states one, else to its start. An alarm that precedes the event has delay 0.

*Scores by time.* True positive is the time with alarm and target, false positive the time with alarm while the fault is
absent, false negative target time without alarm, with precision, recall and F1 of these (segments without length, after
Mesaros, Heittola and Virtanen, Metrics for polyphonic sound event detection, Applied Sciences 6, 2016).

*Wrong alarms* are attributed to what covers most of their judged time: another fault that is present
(misclassification), a negative control, or neither (false alarm); if two cover the same, to the one listed first here.
False alarms are given per loop-day.

*Confusion matrix.* Each event is counted under the fault name that detected it: its own, else the other name whose
alarms cover most of its target (of two that cover the same, the first in alphabetical order), else none. A negative
control is counted under the name of the alarms attributed to it that cover most of it, else none; false alarms under
their own name.

A score that is undefined (precision without an alarm, recall without an event) is None, and no number replaces it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from clpm_execd.plant.block import AFFECTED
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.kinds import OUT_OF_SERVICE
from clpm_execd.plant.truth.episodes import Episode, TimeInterval
from clpm_execd.score.alarms import Alarm
from clpm_execd.score.ground_truth import GroundTruth
from clpm_execd.score.result import ControlCount, Mistake, Score, Tally
from clpm_execd.score.time_intervals import (
    TimeIntervals,
    difference,
    intersection,
    sum_durations,
    union,
)
from clpm_execd.units import DAY

T = TypeVar("T", Alarm, Episode)

MATCH_LEVELS = ("kind", "group", "any")
AFFECTED_RULES = ("ignore", "judge")
DEFAULT_OVERLAP = 0.5  # half of its time: such an alarm is right more often than wrong
NO_ALARM, HEALTHY = "nothing", "healthy"  # a column and a row of the confusion matrix


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    target: TimeIntervals


@dataclass(frozen=True, slots=True)
class _MergedAlarm:
    """Alarms that touch or overlap. time: within the observation. judged: the part of it that counts."""

    name: str
    raised_at: int
    time: TimeIntervals
    judged: TimeIntervals
    is_correct: bool


@dataclass(frozen=True, slots=True)
class _LoopTruth:
    """The ground truth of a loop: by name, when a fault is present and target; each control by kind and time."""

    present: Mapping[str, TimeIntervals]
    target: Mapping[str, TimeIntervals]
    controls: Sequence[tuple[str, TimeIntervals]]


def score(truth: GroundTruth, alarms: Iterable[Alarm], *, by: str = "kind", overlap: float = DEFAULT_OVERLAP,
          all_present: bool = False, affected: str = "ignore") -> Score:
    """Return the score of a detector, by the rules of this module.

    Parameters
    ----------
    truth : GroundTruth
    alarms : iterable of Alarm
    by : {"kind", "group", "any"}
        What alarm and fault must have in common: the kind of fault, its group (valve, tuning, ..), or nothing more than
        being a fault.
    overlap : float
        Fraction of an alarm that must be target, 0 to 1.
    all_present : bool
        Whether a fault is target while it is present rather than visible.
    affected : {"ignore", "judge"}
        Whether alarms on loops that another loop's fault affects count neither way, or have to name its loop.

    Raises
    ------
    ValueError
        `by`, `overlap` or `affected` is not one of these.
    """
    if by not in MATCH_LEVELS or not 0.0 <= overlap <= 1.0 or affected not in AFFECTED_RULES:
        raise ValueError(f"by must be one of {', '.join(MATCH_LEVELS)}, overlap between 0 and 1, and affected one of "
                         + ", ".join(AFFECTED_RULES))
    alarms_by_loop, episodes_by_loop = group_by_loop(alarms), group_by_loop(truth.episodes)
    scorer = _Scorer()
    for loop, observation in truth.observation.items():
        episodes, own_alarms = episodes_by_loop.get(loop, []), alarms_by_loop.get(loop, [])
        observation = difference(observation, out_of_service(episodes))
        episodes = [episode for episode in episodes if not is_out_of_service(episode)]
        others = [episode for episode in episodes if episode.fault == AFFECTED]
        if affected == "ignore":
            episodes = [episode for episode in episodes if episode.fault != AFFECTED]
            observation = difference(observation, union((episode.start, episode.end) for episode in others))
        else:
            own_alarms = [_name_affected(alarm, others) for alarm in own_alarms]
        loop_truth = _loop_truth(episodes, observation, by, all_present)
        scorer.add_loop(loop, loop_truth, _events(loop_truth),
                        _merge_alarms(own_alarms, observation, loop_truth, by, overlap))
    loop_days = sum(sum_durations(observation) for observation in truth.observation.values()) / DAY
    unobserved = sum(_count_unobserved(own_alarms, truth.observation.get(loop, ()), by)
                     for loop, own_alarms in alarms_by_loop.items())
    return replace(scorer.result(by, overlap, all_present, len(truth.observation), loop_days),
                   unobserved_alarms=unobserved)


def is_out_of_service(episode: Episode) -> bool:
    """Whether the episode is a time in which its loop is out of service.

    Parameters
    ----------
    episode : Episode
    """
    return episode.fault in FAULTS and FAULTS[episode.fault].group == OUT_OF_SERVICE


def out_of_service(episodes: Iterable[Episode]) -> TimeIntervals:
    """Return when a loop is out of service.

    Parameters
    ----------
    episodes : iterable of Episode
        Those of the loop.
    """
    return union((episode.start, episode.end) for episode in episodes if is_out_of_service(episode))


def group_by_loop(items: Iterable[T]) -> dict[str, list[T]]:
    """Return alarms or episodes by the id of their loop, each in the order in which they come.

    Parameters
    ----------
    items : iterable of Alarm or Episode
    """
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(item.loop, []).append(item)
    return groups


def _name_affected(alarm: Alarm, episodes: Iterable[Episode]) -> Alarm:
    """Return the alarm as one of the name AFFECTED, if it names the root cause of an episode that it overlaps."""
    names_root = any(alarm.start < episode.end and episode.start < alarm.end
                     and alarm.cause in (episode.cause, episode.cause.rpartition(":")[0]) for episode in episodes)
    return replace(alarm, fault=AFFECTED) if alarm.cause and names_root else alarm


def _label(name: str, by: str) -> str | None:
    """Return the name under which a kind or group of faults is counted; None for what is no fault."""
    if name == AFFECTED:
        return AFFECTED
    if name in FAULTS and FAULTS[name].is_control:
        return None
    group = FAULTS[name].group if name in FAULTS else name
    return {"kind": name, "group": group, "any": "any"}[by]


def _loop_truth(episodes: Sequence[Episode], observation: TimeIntervals, by: str, all_present: bool) -> _LoopTruth:
    present: dict[str, list[TimeInterval]] = {}
    target: dict[str, list[TimeInterval]] = {}
    controls: list[tuple[str, TimeIntervals]] = []
    for episode in episodes:
        interval = (episode.start, episode.end)
        name = _label(episode.fault, by)
        if episode.control or name is None:
            controls += [(episode.fault, (part,)) for part in intersection((interval,), observation)]
            continue
        present.setdefault(name, []).append(interval)
        target.setdefault(name, []).extend([interval] if all_present else episode.visible)

    def cut(parts: Mapping[str, Iterable[TimeInterval]]) -> dict[str, TimeIntervals]:
        return {name: intersection(union(each), observation) for name, each in parts.items()}

    return _LoopTruth(cut(present), cut(target), controls)


def _events(truth: _LoopTruth) -> list[_Event]:
    events = (_Event(name, intersection((part,), truth.target[name]))
              for name, parts in truth.present.items() for part in parts)
    return [event for event in events if event.target]


def _group_by_name(alarms: Iterable[Alarm], by: str) -> dict[str, list[Alarm]]:
    """Return the alarms of a loop by the name under which they are counted, without those that name no fault."""
    alarms_by_name: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        name = _label(alarm.fault, by)
        if name is not None:
            alarms_by_name.setdefault(name, []).append(alarm)
    return alarms_by_name


def _count_unobserved(alarms: Iterable[Alarm], observation: TimeIntervals, by: str) -> int:
    """Return how many alarms of a loop lie outside of the time that the ground truth covers."""
    return sum(not intersection((part,), observation) for each in _group_by_name(alarms, by).values()
               for part in union((alarm.start, alarm.end) for alarm in each))


def _merge_alarms(alarms: Sequence[Alarm], observation: TimeIntervals, truth: _LoopTruth, by: str,
                  overlap: float) -> list[_MergedAlarm]:
    result: list[_MergedAlarm] = []
    for name, each in _group_by_name(alarms, by).items():
        target = truth.target.get(name, ())
        invisible = difference(truth.present.get(name, ()), target)
        for start, end in union((alarm.start, alarm.end) for alarm in each):
            time = intersection(((start, end),), observation)
            if time:
                judged = difference(time, invisible)
                hit = sum_durations(intersection(judged, target))
                raised_at = min(alarm.raised_at for alarm in each if start <= alarm.start < end)
                is_correct = 0 < hit >= overlap * sum_durations(judged)
                result.append(_MergedAlarm(name, raised_at, time, judged, is_correct))
    return result


class _Scorer:
    """Collects the counts loop by loop."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._confusion: dict[str, Counter[str]] = {}
        self._controls: dict[str, list[bool]] = {}
        self._causes: Counter[str] = Counter()
        self._false_positives: list[Mistake] = []
        self._false_negatives: list[Mistake] = []

    def add_loop(self, loop: str, truth: _LoopTruth, events: Sequence[_Event], alarms: Sequence[_MergedAlarm]) -> None:
        for event in events:
            self._add_event(loop, event, alarms)
        control_alarms: list[_MergedAlarm] = []
        for alarm in alarms:
            tally = self._tally(alarm.name)
            if not alarm.judged:
                tally.unjudged_alarms += 1
            elif alarm.is_correct:
                tally.correct_alarms += 1
            else:
                tally.wrong_alarms += 1
                self._attribute(loop, alarm, truth, control_alarms)
        for kind, time in truth.controls:
            predicted = _dominant_name(time, control_alarms)
            self._controls.setdefault(kind, []).append(predicted is not None)
            self._confusion.setdefault(kind, Counter())[predicted or NO_ALARM] += 1
        self._add_time(truth, alarms)

    def _add_event(self, loop: str, event: _Event, alarms: Sequence[_MergedAlarm]) -> None:
        tally = self._tally(event.name)
        tally.events += 1
        hits = [alarm for alarm in alarms
                if alarm.is_correct and alarm.name == event.name and intersection(alarm.time, event.target)]
        if hits:
            tally.detected_events += 1
            tally.delays.append(max(0, min(alarm.raised_at for alarm in hits) - event.target[0][0]))
        others = [alarm for alarm in alarms if alarm.name != event.name]
        predicted = event.name if hits else _dominant_name(event.target, others) or NO_ALARM
        self._confusion.setdefault(event.name, Counter())[predicted] += 1
        if not hits:
            start, end = event.target[0][0], event.target[-1][1]
            self._false_negatives.append(Mistake(loop, start, end, event.name, predicted))

    def _attribute(self, loop: str, alarm: _MergedAlarm, truth: _LoopTruth, control_alarms: list[_MergedAlarm]) -> None:
        """Count a wrong alarm under what covers most of it; if two cover the same, under the first."""
        others = union(part for name, parts in truth.present.items() if name != alarm.name for part in parts)
        controls = difference(union(part for _, time in truth.controls for part in time), others)
        own = truth.present.get(alarm.name, ())
        healthy = difference(difference(difference(alarm.judged, others), controls), own)
        times = {"fault": sum_durations(intersection(alarm.judged, others)),
                 "control": sum_durations(intersection(alarm.judged, controls)), HEALTHY: sum_durations(healthy)}
        cause = max(times, key=times.__getitem__)
        self._causes[cause] += 1
        actual = HEALTHY
        if cause != HEALTHY:
            present = {name: parts for name, parts in truth.present.items() if name != alarm.name}
            occurring = present.items() if cause == "fault" else truth.controls
            actual = max(occurring, key=lambda item: sum_durations(intersection(alarm.judged, item[1])))[0]
        self._false_positives.append(Mistake(loop, alarm.time[0][0], alarm.time[-1][1], actual, alarm.name))
        if cause == "control":
            control_alarms.append(alarm)
        elif cause == HEALTHY:
            self._confusion.setdefault(HEALTHY, Counter())[alarm.name] += 1

    def _add_time(self, truth: _LoopTruth, alarms: Sequence[_MergedAlarm]) -> None:
        for name in {*truth.present, *(alarm.name for alarm in alarms)}:
            tally = self._tally(name)
            present, target = truth.present.get(name, ()), truth.target.get(name, ())
            predicted = union(part for alarm in alarms if alarm.name == name for part in alarm.time)
            tally.true_positive += sum_durations(intersection(predicted, target))
            tally.false_positive += sum_durations(difference(predicted, present))
            tally.false_negative += sum_durations(difference(target, predicted))

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally(name))

    def result(self, by: str, overlap: float, all_present: bool, loops: int, loop_days: float) -> Score:
        names = (*FAULTS, *dict.fromkeys(kind.group for kind in FAULTS.values()), "any", AFFECTED)
        order = {name: i for i, name in enumerate(names)}
        tallies = tuple(tally for name in sorted(self._tallies, key=order.__getitem__)
                        if (tally := self._tallies[name]).events or tally.judged_alarms or tally.unjudged_alarms)
        total = Tally("all")
        for tally in tallies:
            total.add(tally)
        rows = sorted(self._confusion, key=lambda name: order.get(name, len(order)))
        return Score(
            by, overlap, all_present, tallies, total,
            tuple(ControlCount(kind, len(alarms), sum(alarms)) for kind, alarms in sorted(self._controls.items())),
            {row: dict(self._confusion[row]) for row in rows}, self._causes["fault"], self._causes["control"],
            self._causes[HEALTHY], loops, loop_days,
            tuple(sorted(self._false_positives, key=lambda each: (each.loop, each.start, each.predicted))),
            tuple(sorted(self._false_negatives, key=lambda each: (each.loop, each.start, each.actual))))


def _dominant_name(time: TimeIntervals, alarms: Iterable[_MergedAlarm]) -> str | None:
    """Return the name whose alarms cover most of a time, the alphabetically first of equals; None if none does."""
    times: Counter[str] = Counter()
    for alarm in alarms:
        times[alarm.name] += sum_durations(intersection(alarm.time, time))
    return min(times, key=lambda name: (-times[name], name)) if any(times.values()) else None
