"""A monitor's verdicts: a CSV with the columns loop, start, end and fault, each row one claim.

Times are RFC 3339. An empty end is a claim that still stands. A column `detected`, if there is one, says when the
monitor knew. A fault is a kind or, to a score by groups, a group or `any`. Other columns are left alone. Every mistake
is told at its line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clpm_execd.plant.faults import FAULTS
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.score.ground_truth import GroundTruth
from clpm_execd.units import TIME_EXAMPLES, parse_time

COLUMNS = ("loop", "start", "end", "fault")
FOR_EVER = 2**63 - 1
_MOST_TOLD = 50  # mistakes; a file that is wrong throughout needs no more


@dataclass(frozen=True, slots=True)
class Verdict:
    """The claim that a loop has a fault over [start, end), ns since 1970; detected: when the monitor knew, if told."""

    loop: str
    start: int
    end: int
    fault: str
    detected: int | None = None

    @property
    def told(self) -> int:
        return self.start if self.detected is None else self.detected


def names(by: str) -> tuple[str, ...]:
    """The faults that a verdict may name in a score by kind, group or any."""
    kinds = tuple(FAULTS)
    groups = tuple(dict.fromkeys(kind.group for kind in FAULTS.values()))
    return {"kind": kinds, "group": (*kinds, *groups), "any": (*kinds, *groups, "any")}[by]


def read_verdicts(path: str | Path, truth: GroundTruth, by: str = "kind") -> list[Verdict]:
    """The verdicts of a file on loops of the truth. Raises BadInput with everything that is wrong with it."""
    where = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput([Problem(where, f"cannot be read: {error.strerror}", "name a CSV of verdicts")]) from None
    except UnicodeDecodeError:
        raise BadInput([Problem(where, "is not UTF-8", "save it as UTF-8")]) from None
    problems: list[Problem] = []
    verdicts = _verdicts(csv.reader(text.splitlines()), where, truth, by, problems)
    if problems:
        more = len(problems) - _MOST_TOLD
        if more > 0:
            problems[_MOST_TOLD:] = [Problem(where, f"{more} more mistakes", "correct these first")]
        raise BadInput(problems)
    return verdicts


def _verdicts(rows: Iterable[Sequence[str]], where: str, truth: GroundTruth, by: str,
              problems: list[Problem]) -> list[Verdict]:
    header: dict[str, int] | None = None
    verdicts: list[Verdict] = []
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = _header(row, f"{where}: line {number}")
            continue
        line = _Line(f"{where}: line {number}", {name: row[i].strip() if i < len(row) else ""
                                                 for name, i in header.items()}, problems)
        verdict = line.verdict(truth, by)
        if verdict is not None:
            verdicts.append(verdict)
    if header is None:
        problems.append(Problem(where, "is empty", f"begin with the line {','.join(COLUMNS)}"))
    return verdicts


def _header(row: Sequence[str], where: str) -> dict[str, int]:
    """The columns by name; BadInput where one is missing, for then no line can be read."""
    found = {{"loop_id": "loop"}.get(name, name): i for i, cell in enumerate(row) if (name := cell.strip().lower())}
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        given = [cell.strip() for cell in row if cell.strip()]
        raise BadInput([Problem(where, f"no column {name!r}", _column_remedy(name, given)) for name in missing])
    return {name: found[name] for name in (*COLUMNS, "detected") if name in found}


def _column_remedy(name: str, given: Sequence[str]) -> str:
    if not any(cell.lower() in COLUMNS for cell in given):
        return f"begin with the line {','.join(COLUMNS)}"
    return f"the columns are {', '.join(given)}; name one of them {name}"


@dataclass(slots=True)
class _Line:
    """A line of the file, and where its mistakes are told."""

    where: str
    cells: Mapping[str, str]
    problems: list[Problem]

    def verdict(self, truth: GroundTruth, by: str) -> Verdict | None:
        before = len(self.problems)
        loop, fault = self.cells["loop"], self.cells["fault"]
        if not loop:
            self._refuse("names no loop", "give its id")
        elif loop not in truth.watched and truth.whole:
            self._refuse(f"no loop of the truth is {loop!r}", did_you_mean(loop, tuple(truth.watched)[:1000]))
        if fault not in names(by):
            self._refuse(f"{fault!r} is no fault" if fault else "names no fault", self._fault_remedy(fault, by))
        start = self._time("start")
        end = self._time("end") if self.cells["end"] else FOR_EVER
        detected = self._time("detected") if self.cells.get("detected") else None
        if start is not None and end is not None and end <= start:
            self._refuse(f"ends at {self.cells['end']}, which is not after its start", "give an end after the start")
        if len(self.problems) > before or start is None or end is None:
            return None
        return Verdict(loop, start, end, fault, detected)

    def _fault_remedy(self, fault: str, by: str) -> str:
        if not fault:
            return "give a kind, see clpm-execd faults"
        level = next((level for level in ("group", "any") if fault in names(level)), None)
        return f"score it with --by {level}" if level else did_you_mean(fault.lower(), names(by))

    def _time(self, name: str) -> int | None:
        text = self.cells[name]
        try:
            if text.lower() == "now":
                raise ValueError("'now' is no time of a verdict; " + TIME_EXAMPLES)
            return parse_time(text, 0)
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            self._refuse(f"{name}: {what}", remedy.removesuffix(", or 'now'"))
            return None

    def _refuse(self, what: str, remedy: str) -> None:
        self.problems.append(Problem(self.where, what, remedy))
