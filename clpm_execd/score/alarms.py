"""The alarms of a detector: a CSV with the columns loop, start, end and fault, one alarm a row.

Times are RFC 3339. An empty end means that the alarm is still active. An optional column `detected` is the time at
which the detector raised the alarm, `score` is how sure it is, 0 to 1, and `cause` is the loop that it names as the
root cause, if that is another one. A fault is a kind or, for a score by groups, a group or `any`. Other columns are
ignored. Every error is reported with its line.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.paths import read_bounded
from clpm_execd.plant.faults import FAULTS
from clpm_execd.problems import BadInput, Problem, did_you_mean, join_words
from clpm_execd.score.ground_truth import GroundTruth
from clpm_execd.units import LAST_TIME, TIME_EXAMPLES, parse_time

COLUMNS = ("loop", "start", "end", "fault")
_USED_COLUMNS = (*COLUMNS, "detected", "score", "cause")
_MAX_BYTES = 200_000_000  # some four million alarms
_MAX_PROBLEMS = 50  # a file that is wrong throughout needs no more
_MAX_SUGGESTED = 1000  # loops that are searched for one that resembles a mistyped one


@dataclass(frozen=True, slots=True)
class Alarm:
    """The claim of a detector that a loop has a fault.

    Attributes
    ----------
    loop : str
    start, end : int
        Half open, ns since 1970.
    fault : str
        A kind of fault, a group or `any`.
    detected : int or None
        When the detector raised the alarm, ns since 1970, if it says so.
    score : float or None
        How sure the detector is, 0 to 1, if it says so.
    cause : str
        The loop that the detector names as the root cause, as LOOP or LOOP:KIND; empty for none.
    """

    loop: str
    start: int
    end: int
    fault: str
    detected: int | None = None
    score: float | None = None
    cause: str = ""

    @property
    def raised_at(self) -> int:
        return self.start if self.detected is None else self.detected


def fault_names(by: str) -> tuple[str, ...]:
    """Return the names that an alarm may have in a score by kind, group or any."""
    kinds = tuple(FAULTS)
    groups = tuple(dict.fromkeys(kind.group for kind in FAULTS.values()))
    return {"kind": kinds, "group": (*kinds, *groups), "any": (*kinds, *groups, "any")}[by]


def read_alarms(path: str | Path, truth: GroundTruth, by: str = "kind") -> list[Alarm]:
    """Return the alarms in a CSV file.

    Parameters
    ----------
    path : str or Path
    truth : GroundTruth
        Its loops are those that an alarm may name.
    by : {"kind", "group", "any"}
        The level of the score, which decides the names of faults.

    Raises
    ------
    BadInput
        The file cannot be read, or has errors: all of them.
    """
    where = str(path)
    try:
        text = read_bounded(Path(path), _MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise BadInput([Problem(where, f"cannot be read: {error.strerror}", "name a CSV of alarms")]) from None
    except UnicodeDecodeError:
        raise BadInput([Problem(where, "is not UTF-8", "save it as UTF-8")]) from None
    problems: list[Problem] = []
    alarms = _parse_rows(csv.reader(text.splitlines()), where, truth, by, problems)
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        if more > 1:
            problems[_MAX_PROBLEMS:] = [Problem(where, f"{more} more errors", "correct these first")]
        raise BadInput(problems)
    return alarms


def _parse_rows(rows: Iterable[Sequence[str]], where: str, truth: GroundTruth, by: str,
                problems: list[Problem]) -> list[Alarm]:
    header: dict[str, int] | None = None
    width = 0  # cells of the header
    alarms: list[Alarm] = []
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header, width = _parse_header(row, f"{where}: line {number}"), len(row)
            continue
        place = f"{where}: line {number}"
        if any(cell.strip() for cell in row[width:]):
            what = f"has {len(row)} cells, the header {width}"
            problems.append(Problem(place, what, "quote a cell that has a comma"))
            continue
        cells = {name: row[i].strip() if i < len(row) else "" for name, i in header.items()}
        alarm = _Row(place, cells, problems).parse(truth, by)
        if alarm is not None:
            alarms.append(alarm)
    if header is None:
        problems.append(Problem(where, "is empty", f"begin with the line {','.join(COLUMNS)}"))
    return alarms


def _parse_header(row: Sequence[str], where: str) -> dict[str, int]:
    """Return the index of each column; raise BadInput if one is missing or double, because then no row can be read."""
    names = [{"loop_id": "loop"}.get(name, name) for name in (cell.strip().lower() for cell in row)]
    columns = {name: i for i, name in enumerate(names)}
    missing = [name for name in COLUMNS if name not in columns]
    double = [name for name in _USED_COLUMNS if names.count(name) > 1]
    if len(row) == 1 and (delimiter := next((character for character in ";\t|" if character in row[0]), "")):
        raise BadInput([Problem(where, f"the columns are separated by {delimiter!r}", "separate them by commas")])
    if missing:
        what = f"no column {join_words(list(map(repr, missing)))}"
        if missing == list(COLUMNS):
            raise BadInput([Problem(where, what, f"begin with the line {','.join(COLUMNS)}")])
        cells = ", ".join(cell.strip() for cell in row if cell.strip())
        raise BadInput([Problem(where, what, f"the columns are {cells}; rename one of them {missing[0]}")])
    if double:
        raise BadInput([Problem(where, f"two columns are called {double[0]!r}", "rename one of them")])
    return {name: columns[name] for name in _USED_COLUMNS if name in columns}


@dataclass(slots=True)
class _Row:
    """A row of the file. where: its line; problems: where its errors are added."""

    where: str
    cells: Mapping[str, str]
    problems: list[Problem]

    def parse(self, truth: GroundTruth, by: str) -> Alarm | None:
        """Return the alarm, or None if the row has errors."""
        problems_before = len(self.problems)
        loop, fault = self.cells["loop"], self.cells["fault"]
        if not loop:
            self._add_problem("has no loop", "give its id")
        elif loop not in truth.observation and truth.has_samples:
            self._add_problem(f"unknown loop {loop!r}", did_you_mean(loop, tuple(truth.observation)[:_MAX_SUGGESTED]))
        if fault not in fault_names(by):
            self._add_problem(f"unknown fault {fault!r}" if fault else "has no fault", self._fault_remedy(fault, by))
        start = self._parse_time("start")
        end = self._parse_time("end") if self.cells["end"] else LAST_TIME
        detected = self._parse_time("detected") if self.cells.get("detected") else None
        if start is not None and end is not None and end <= start:
            self._add_problem(f"ends at {self.cells['end']}, which is not after its start", "give a later end")
        if start is not None and detected is not None and detected < start:
            self._add_problem(f"is detected at {self.cells['detected']}, before its start", "give a later time")
        score = self._parse_score() if self.cells.get("score") else None
        if len(self.problems) > problems_before or start is None or end is None:
            return None
        return Alarm(loop, start, end, fault, detected, score, self.cells.get("cause", ""))

    def _fault_remedy(self, fault: str, by: str) -> str:
        if not fault:
            return "give a kind, see clpm-execd faults"
        level = next((level for level in ("group", "any") if fault in fault_names(level)), None)
        return f"score with --by {level}" if level else did_you_mean(fault.lower(), fault_names(by))

    def _parse_score(self) -> float | None:
        text = self.cells["score"]
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if 0.0 <= score <= 1.0:
            return score
        self._add_problem(f"invalid score {text!r}", "give 0 to 1, or leave it empty")
        return None

    def _parse_time(self, name: str) -> int | None:
        text = self.cells[name]
        try:
            if text.lower() == "now":
                raise ValueError("an alarm has no time 'now'; " + TIME_EXAMPLES)
            return parse_time(text, 0)
        except ValueError as error:
            problem = Problem.from_error(name, error)
            self._add_problem(f"{name}: {problem.what}", problem.remedy.removesuffix(", or 'now'"))
            return None

    def _add_problem(self, what: str, remedy: str) -> None:
        self.problems.append(Problem(self.where, what, remedy))
