"""The signals of one loop on a regular time grid in per cent, and the properties of their recording."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil, floor, log10

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import CAS, MAN, Floats
from clpm_execd.records.gaps import shorten_gaps
from clpm_execd.records.output_range import infer_output_range, round_up
from clpm_execd.records.record import Record

Booleans = npt.NDArray[np.bool_]

TINY = 1e-300  # in place of a zero whose logarithm or quotient is needed: its inverse is finite, as its logarithm
ROUNDING = 1e-9  # in any unit: a smaller movement, or fraction of a step, is what computing leaves of zero
_PERCENT_FROM = 20.0  # highest value: with a smaller one values up to 100 are hardly per cent
_ROOM = 1.4  # of a transmitter range over the largest value: plants run in the upper half of it
_GAP_INTERVALS = 1.5  # between two samples, from which there is a gap
GAP_SAMPLES = 60  # A longer gap is shortened to this length, across which no method carries information.
_MIN_LEVELS = 8  # of a signal that show their step by themselves: by chance one set in a million does
_MAX_STEPS_APART = 10  # of the two nearest levels of a signal
_LIMIT_PERCENT = 0.05  # of travel: OP this close to an end is at the end
_REST_SAMPLES = 30  # between two moves of SP: an operator's SP usually rests longer, a master's does not
_LEAST_MOVES = 10  # of SP: with fewer it is an operator's
_LETTERS = {"F": "flow", "P": "pressure", "L": "level", "T": "temperature", "A": "composition", "Q": "composition"}


@dataclass(frozen=True, slots=True)
class Signals:
    """T samples of a loop at an interval of `interval` s.

    pv, sp: (T,) % of span. op: (T,) % of op_span. They are NaN where the record has a gap or a bad value. automatic:
    (T,) whether the controller sets OP. cascaded: (T,) whether it also follows another controller's output as SP. span,
    op_span: low and high in engineering units. times: (T,) s since 1970; long gaps are shortened.
    """

    pv: Floats
    op: Floats
    sp: Floats
    automatic: Booleans
    cascaded: Booleans
    interval: float
    span: tuple[float, float]
    op_span: tuple[float, float]
    times: Floats

    @property
    def complete(self) -> Booleans:
        """The mask (T,) of samples in which PV, OP and SP all have a value."""
        return np.isfinite(self.pv) & np.isfinite(self.op) & np.isfinite(self.sp)

    @property
    def at_end(self) -> Booleans:
        """The mask (T,) of samples in which OP is at an end of its travel."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self.op <= _LIMIT_PERCENT) | (self.op >= 100.0 - _LIMIT_PERCENT))

    @property
    def controlled(self) -> Booleans:
        """The mask (T,) of samples in which the controller sets OP: in automatic and not saturated."""
        return self.complete & self.automatic & ~self.at_end

    @property
    def has_continuous_sp(self) -> bool:
        """Whether SP is hardly ever constant, as in a cascade's secondary loop."""
        sp = self.sp[self.complete]
        rests = np.diff(np.concatenate([[0], 1 + np.flatnonzero(np.diff(sp) != 0), [len(sp)]]))
        return len(rests) > _LEAST_MOVES and float(rests[rests >= _REST_SAMPLES].sum()) < 0.5 * len(sp)

    def part(self, where: slice | npt.NDArray[np.intp]) -> Signals:
        """Return the selected samples with the same interval."""
        return replace(self, pv=self.pv[where], op=self.op[where], sp=self.sp[where], times=self.times[where],
                       automatic=self.automatic[where], cascaded=self.cascaded[where])

    def driven_by(self, stem: Floats | None) -> Signals:
        """Return the same with the position of a sticking valve in place of OP, (T,), %, if there is one."""
        return self if stem is None else replace(self, op=stem)


def extract_signals(record: Record, column: int, span: tuple[float, float] | None = None,
                    op_span: tuple[float, float] | None = None) -> Signals:
    """Return the loop of a column on the grid of the record's median interval; spans default to inferred ones.

    The previous sample is held on the grid; a gap begins one and a half intervals after it. A gap longer than
    GAP_SAMPLES is shortened to that length, so that a record of two days a year apart needs no memory for the year.
    """
    step = record.interval
    times = shorten_gaps(record.times, GAP_SAMPLES * step)
    grid = times[0] + step * np.arange((times[-1] - times[0]) // step + 1, dtype=np.int64)
    row = np.searchsorted(times, grid + step // 4, side="right") - 1
    late = grid - times[row]
    pv, op, sp = (np.where(late > _GAP_INTERVALS * step, np.nan, part[row, column])
                  for part in (record.pv, record.op, record.sp))
    span = infer_span(np.concatenate([pv, sp])) if span is None else span
    op_span = infer_output_range(op, record.op_unit(column)).ends if op_span is None else op_span
    return Signals(
        pv=to_percent(pv, span), op=to_percent(op, op_span), sp=to_percent(sp, span),
        automatic=record.mode[row, column] != MAN, cascaded=record.mode[row, column] == CAS, interval=step / 1e9,
        span=span, op_span=op_span, times=(record.times[row] + late) / 1e9)


def to_percent(values: Floats, span: tuple[float, float]) -> Floats:
    """Return values in engineering units as per cent of their span."""
    return (values - span[0]) / (span[1] - span[0]) * 100.0


def infer_span(values: Floats) -> tuple[float, float]:
    """Return a transmitter range that fits the values, from 0 if possible, and 0 to 100 for values like per cent."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    if max(-low, high) < ROUNDING or (low >= 0.0 and _PERCENT_FROM < high <= 100.0):
        return 0.0, 100.0
    top = round_up(_ROOM * high) if high > 0 else 0.0
    return (-round_up(_ROOM * -low) if low < 0 else 0.0), top


def infer_loop_type(name: str) -> str | None:
    """Return the loop type by the letters of a tag, such as FIC or PT; None where they show none."""
    for letters in re.findall(r"(?<![A-Za-z])([A-Za-z]{2,5})(?=[-_.]?\d)", name):
        letters = letters.upper().removeprefix("D")
        if letters[0] in _LETTERS and letters[-1] in "CTVYRI":
            return _LETTERS[letters[0]]
    return None


def find_resolution(values: Floats) -> float:
    """Return the step of which all values are multiples, decimal or that of a converter; 0 without one.

    A step below the resolution of single precision, seven digits, does not count. Many levels show their step by
    themselves, whatever the unit: decimals in % are none in mA. Of a few, as in a bump test, decimals tell more.
    """
    levels = np.unique(values[np.isfinite(values)])
    if len(levels) < 2:
        return 0.0
    largest, smallest_difference = float(np.abs(levels).max()), float(np.diff(levels).min())
    heights, finest = levels - levels[0], max(2e-6 * largest, TINY)
    if len(levels) >= _MIN_LEVELS:
        for part in range(1, _MAX_STEPS_APART + 1):
            step = smallest_difference / part
            if step >= finest and _are_multiples(heights, step):
                counts = np.rint(heights / step)
                return float(f"{heights @ counts / (counts @ counts):.9g}")
    for exponent in range(ceil(log10(float(np.ptp(levels)))), floor(log10(finest)) - 1, -1):
        for factor in (5.0, 2.0, 1.0):
            step = factor * 10.0**exponent if exponent >= 0 else factor / 10.0**-exponent
            if finest <= step <= smallest_difference * 1.01 and _are_multiples(levels, step):
                return step
    return 0.0


def _are_multiples(levels: Floats, step: float) -> bool:
    ratios = levels / step
    return bool(np.abs(ratios - np.rint(ratios)).max() < 0.05)


def rounding_variance(step: float) -> float:
    """Return the variance of rounding errors that are uniformly distributed over a step."""
    return step**2 / 12.0


def find_runs(usable: Booleans, shortest: int) -> list[slice]:
    """Return the runs of True in a mask that have at least `shortest` samples."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= shortest]
