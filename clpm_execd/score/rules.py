"""The rules of the benchmark: how verdicts are held against the truth.

Time is half open and exact to the nanosecond; nothing is sampled. Only watched time counts: from a loop's first sample
to its last. Truth and verdicts are cut to it.

*Target.* The time in which a fault of the name is visible to a perfect observer of PV, OP and SP; with `all_present`
the time in which it is present. Time in which it is present and no target is judged neither way: nobody is asked to
see it, nobody is blamed for naming it. Negative controls are no faults and never a target.

*Event.* A stretch of time in which a fault of the name is present in a loop without a break, if it holds target time.

*Alarm.* Verdicts of one loop and name that touch or overlap are one alarm. It is right if at least `overlap` of its
judged time is target (and some of it is); an alarm without judged time is not counted. This is the detection tolerance
criterion of Bilen, Ferroni, Tuveri, Azcarreta and Krstulovic (A framework for the robust evaluation of sound event
detection, ICASSP 2020), by which a verdict without end does not find everything; an overlap of 0 is the older rule
that any overlap will do (Hundman et al., KDD 2018).

*By events.* Precision is the share of alarms that are right, recall the share of events that a right alarm meets, F1
their harmonic mean (0 where one of both cannot be told). The delay of an event is from its first target time to the
first right alarm that meets it: to the alarm's `detected` where the monitor says when it knew, else to its start; an
alarm before the event has no delay.

*By time.* True positive is the time that is alarm and target, false positive alarm without the fault present, false
negative target without alarm: precision, recall and F1 of these (segments without length, after Mesaros, Heittola and
Virtanen, Metrics for polyphonic sound event detection, Applied Sciences 6, 2016).

*Wrong alarms* are put down to what covers most of their judged time: another fault that is present ("mistaken"), a
negative control ("on a control"), or neither, a false alarm; of two that cover the same, to the one named first here.
False alarms are told per loop and day watched.

*Confusion.* Each event is counted under the name that found it: its own, else the other name whose alarms cover most of
its target (of two alike the first in the alphabet), else none. A negative control is counted under the name of the
alarms put down to it that cover most of it, else none; false alarms under their own.

What cannot be told (precision without an alarm, recall without an event) is None, and no number stands in for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.episodes import Episode, Stretch
from clpm_execd.score.alarms import Verdict
from clpm_execd.score.ground_truth import GroundTruth
from clpm_execd.score.time_intervals import Stretches, difference, intersection, length, union
from clpm_execd.units import DAY

LEVELS = ("kind", "group", "any")
OVERLAP = 0.5
NOTHING, HEALTHY = "nothing", "healthy"


@dataclass(slots=True)
class Tally:
    """What came of one name, or of all together.

    events, found: episodes there were, and of those found. right, wrong: alarms. unjudged: alarms without judged time.
    true_positive, false_positive, false_negative: ns. delays: ns, of the events found.
    """

    name: str
    events: int = 0
    found: int = 0
    right: int = 0
    wrong: int = 0
    unjudged: int = 0
    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    delays: list[int] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float | None:
        return _share(self.found, self.events)

    @property
    def f1(self) -> float | None:
        return _harmonic(self.precision, self.recall)

    @property
    def time_precision(self) -> float | None:
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def time_recall(self) -> float | None:
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def time_f1(self) -> float | None:
        return _harmonic(self.time_precision, self.time_recall)

    @property
    def median_delay(self) -> float | None:
        """ns."""
        return float(median(self.delays)) if self.delays else None

    @property
    def longest_delay(self) -> float | None:
        """ns."""
        return float(max(self.delays)) if self.delays else None

    def add(self, other: Tally) -> None:
        for name in ("events", "found", "right", "wrong", "unjudged", "true_positive", "false_positive",
                     "false_negative"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays += other.delays


@dataclass(frozen=True, slots=True)
class Control:
    """How a kind of negative control was taken: how often it was there, and how often an alarm is put down to it."""

    kind: str
    stretches: int
    alarmed: int


@dataclass(frozen=True, slots=True)
class Score:
    """The marks of one monitor.

    by, overlap, all_present: the rules that were chosen. tallies: one a name that has an event or an alarm, in the
    order of FAULTS. total: of all alarms and events. confusion: what was there -> what was said -> how often.
    mistaken, on_controls, false_alarms: wrong alarms by what they are put down to. loop_days: watched.
    """

    by: str
    overlap: float
    all_present: bool
    tallies: tuple[Tally, ...]
    total: Tally
    controls: tuple[Control, ...]
    confusion: Mapping[str, Mapping[str, int]]
    mistaken: int
    on_controls: int
    false_alarms: int
    loops: int
    loop_days: float

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 by events of the names that have an event; one that was never named counts 0."""
        marks = [tally.f1 or 0.0 for tally in self.tallies if tally.events]
        return sum(marks) / len(marks) if marks else None

    @property
    def false_alarm_rate(self) -> float | None:
        """False alarms per loop and day."""
        return self.false_alarms / self.loop_days if self.loop_days else None


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    target: Stretches


@dataclass(frozen=True, slots=True)
class _Alarm:
    """told: when the monitor knew. time: cut to watched time; judged: of it what counts."""

    name: str
    told: int
    time: Stretches
    judged: Stretches
    right: bool


@dataclass(frozen=True, slots=True)
class _Loop:
    """What is true of a loop, by name, and which controls were when, by kind and stretch."""

    present: Mapping[str, Stretches]
    target: Mapping[str, Stretches]
    controls: Sequence[tuple[str, Stretches]]


def score(truth: GroundTruth, verdicts: Iterable[Verdict], *, by: str = "kind", overlap: float = OVERLAP,
          all_present: bool = False) -> Score:
    """The marks, by the rules of this module.

    by: "kind" of fault, "group" (valve, tuning, ..) or "any" fault at all. overlap: 0 to 1. Raises ValueError on
    others.
    """
    if by not in LEVELS or not 0.0 <= overlap <= 1.0:
        raise ValueError(f"by is one of {', '.join(LEVELS)}, and overlap from 0 to 1")
    said: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        said.setdefault(verdict.loop, []).append(verdict)
    told: dict[str, list[int]] = {}
    for number, episode in enumerate(truth.episodes):
        told.setdefault(episode.loop, []).append(number)
    marks = _Marks()
    for loop, watched in truth.watched.items():
        episodes = [truth.episodes[number] for number in told.get(loop, ())]
        facts = _facts(episodes, watched, by, all_present)
        marks.take(facts, _events(facts), _alarms(said.get(loop, ()), watched, facts, by, overlap))
    return marks.score(by, overlap, all_present, len(truth.watched),
                       sum(length(watched) for watched in truth.watched.values()) / DAY)


def label(name: str, by: str) -> str | None:
    """What a name of a verdict or a fault counts as; None where it is no fault (a negative control)."""
    group = FAULTS[name].group if name in FAULTS else name
    if group == "negative control":
        return None
    return {"kind": name, "group": group, "any": "any"}[by]


def _facts(episodes: Sequence[Episode], watched: Stretches, by: str, all_present: bool) -> _Loop:
    present: dict[str, list[Stretch]] = {}
    target: dict[str, list[Stretch]] = {}
    controls: list[tuple[str, Stretches]] = []
    for episode in episodes:
        whole = (episode.start, episode.end)
        name = label(episode.fault, by)
        if episode.control or name is None:
            controls += [(episode.fault, (part,)) for part in intersection((whole,), watched)]
            continue
        present.setdefault(name, []).append(whole)
        target.setdefault(name, []).extend([whole] if all_present else episode.visible)

    def cut(parts: Mapping[str, Iterable[Stretch]]) -> dict[str, Stretches]:
        return {name: intersection(union(each), watched) for name, each in parts.items()}

    return _Loop(cut(present), cut(target), controls)


def _events(facts: _Loop) -> list[_Event]:
    found = (_Event(name, intersection((part,), facts.target[name]))
             for name, parts in facts.present.items() for part in parts)
    return [event for event in found if event.target]


def _alarms(verdicts: Sequence[Verdict], watched: Stretches, facts: _Loop, by: str, overlap: float) -> list[_Alarm]:
    named: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        name = label(verdict.fault, by)
        if name is not None:
            named.setdefault(name, []).append(verdict)
    alarms: list[_Alarm] = []
    for name, each in named.items():
        target = facts.target.get(name, ())
        hidden = difference(facts.present.get(name, ()), target)
        for start, end in union((verdict.start, verdict.end) for verdict in each):
            time = intersection(((start, end),), watched)
            if time:
                judged = difference(time, hidden)
                hit = length(intersection(judged, target))
                told = min(verdict.told for verdict in each if start <= verdict.start < end)
                alarms.append(_Alarm(name, told, time, judged, 0 < hit >= overlap * length(judged)))
    return alarms


class _Marks:
    """Marks that grow loop by loop."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._confusion: dict[str, Counter[str]] = {}
        self._controls: dict[str, list[bool]] = {}
        self._causes: Counter[str] = Counter()

    def take(self, facts: _Loop, events: Sequence[_Event], alarms: Sequence[_Alarm]) -> None:
        for event in events:
            self._take_event(event, alarms)
        on_controls: list[_Alarm] = []
        for alarm in alarms:
            tally = self._tally(alarm.name)
            if not alarm.judged:
                tally.unjudged += 1
            elif alarm.right:
                tally.right += 1
            else:
                tally.wrong += 1
                self._put_down(alarm, facts, on_controls)
        for kind, when in facts.controls:
            said = _most(when, on_controls)
            self._controls.setdefault(kind, []).append(said is not None)
            self._confusion.setdefault(kind, Counter())[said or NOTHING] += 1
        self._take_time(facts, alarms)

    def _take_event(self, event: _Event, alarms: Sequence[_Alarm]) -> None:
        tally = self._tally(event.name)
        tally.events += 1
        hits = [alarm for alarm in alarms
                if alarm.right and alarm.name == event.name and intersection(alarm.time, event.target)]
        if hits:
            tally.found += 1
            tally.delays.append(max(0, min(alarm.told for alarm in hits) - event.target[0][0]))
        said = event.name if hits else _most(event.target, [a for a in alarms if a.name != event.name])
        self._confusion.setdefault(event.name, Counter())[said or NOTHING] += 1

    def _put_down(self, alarm: _Alarm, facts: _Loop, on_controls: list[_Alarm]) -> None:
        """Count a wrong alarm by what covers most of it; of two that cover the same, by the first."""
        others = union(part for name, parts in facts.present.items() if name != alarm.name for part in parts)
        controls = difference(union(part for _, when in facts.controls for part in when), others)
        own = facts.present.get(alarm.name, ())
        healthy = difference(difference(difference(alarm.judged, others), controls), own)
        covered = {"mistaken": length(intersection(alarm.judged, others)),
                   "control": length(intersection(alarm.judged, controls)), HEALTHY: length(healthy)}
        cause = max(covered, key=covered.__getitem__)
        self._causes[cause] += 1
        if cause == "control":
            on_controls.append(alarm)
        elif cause == HEALTHY:
            self._confusion.setdefault(HEALTHY, Counter())[alarm.name] += 1

    def _take_time(self, facts: _Loop, alarms: Sequence[_Alarm]) -> None:
        for name in {*facts.present, *(alarm.name for alarm in alarms)}:
            tally = self._tally(name)
            present, target = facts.present.get(name, ()), facts.target.get(name, ())
            said = union(part for alarm in alarms if alarm.name == name for part in alarm.time)
            tally.true_positive += length(intersection(said, target))
            tally.false_positive += length(difference(said, present))
            tally.false_negative += length(difference(target, said))

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally(name))

    def score(self, by: str, overlap: float, all_present: bool, loops: int, loop_days: float) -> Score:
        order = {name: i for i, name in enumerate((*FAULTS, *dict.fromkeys(k.group for k in FAULTS.values()), "any"))}
        tallies = tuple(tally for name in sorted(self._tallies, key=order.__getitem__)
                        if (tally := self._tallies[name]).events or tally.right or tally.wrong or tally.unjudged)
        total = Tally("all")
        for tally in tallies:
            total.add(tally)
        rows = sorted(self._confusion, key=lambda name: order.get(name, len(order)))
        return Score(
            by, overlap, all_present, tallies, total,
            tuple(Control(kind, len(told), sum(told)) for kind, told in sorted(self._controls.items())),
            {row: dict(self._confusion[row]) for row in rows}, self._causes["mistaken"], self._causes["control"],
            self._causes[HEALTHY], loops, loop_days)


def _most(when: Stretches, alarms: Iterable[_Alarm]) -> str | None:
    """The name whose alarms cover most of a time, of two alike the first in the alphabet; None where none does."""
    covered: Counter[str] = Counter()
    for alarm in alarms:
        covered[alarm.name] += length(intersection(alarm.time, when))
    return min(covered, key=lambda name: (-covered[name], name)) if any(covered.values()) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _harmonic(one: float | None, other: float | None) -> float | None:
    if one is None and other is None:
        return None
    return 2.0 * one * other / (one + other) if one and other else 0.0
