"""Blocks: consecutive samples of all loops, the only data that pass from a source to encoders, writers and pictures.

A source is the plant, or a record that is replayed. The arrays of a Block have the shape (T, N), instants by loops, in
engineering units or per cent as the field says; a number that does not exist is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SECOND = 10**9  # ns

MODES = ("MAN", "AUT", "CAS")
MAN, AUT, CAS = range(3)

GOOD, BAD = 192, 0  # quality as OPC has it

AFFECTED = "affected"  # in place of a kind of fault: the loop shows the effect of a fault of another one


@dataclass(frozen=True, slots=True)
class Route:
    """The way on which a fault reaches another loop.

    Attributes
    ----------
    path
        The ids of the loops from that of the fault to the other one.
    delay
        The dead times and time constants on the way together, s.
    """

    path: tuple[str, ...]
    delay: float


_NO_ROUTE = Route((), 0.0)


@dataclass(frozen=True, slots=True)
class Truth:
    """The ground truth about the faults of a Block: F faults, in order of loops, then as configured.

    After the faults come the loops that a fault of another loop can reach, with the kind AFFECTED: they are present and
    visible while the loop shows that effect and has no fault of its own.

    Attributes
    ----------
    loops
        (F) id of the loop that has the fault.
    kinds
        (F) a key of FAULTS.
    control
        (F) whether it is a negative control, which is never present.
    column
        (F,) index of the loop in the Block.
    present
        (T, F) whether the fault is present.
    visible
        (T, F) whether a perfect observer of PV, OP and SP would see it.
    severity
        (T, F) 0 to 1 of its full strength; a negative control has one too.
    effect
        (T, F) how far the loop is from its copy without the fault, in standard deviations of that copy's movement.
    cause
        (T, F) index of the fault that is the cause of this one; -1 where it has no other cause.
    find_routes
        Returns the routes from the loop with this id, each by the id of the loop to which it leads; None where no loop
        acts on another one.
    """

    loops: tuple[str, ...]
    kinds: tuple[str, ...]
    control: tuple[bool, ...]
    column: npt.NDArray[np.intp]
    present: npt.NDArray[np.bool_]
    visible: npt.NDArray[np.bool_]
    severity: Floats
    effect: Floats
    cause: npt.NDArray[np.intp]
    find_routes: Callable[[str], Mapping[str, Route]] | None = None

    def find_route(self, index: int, cause: int) -> Route:
        """Return the way from the loop of a cause to that of the fault with this index; an empty one without cause."""
        if cause < 0 or self.find_routes is None:
            return _NO_ROUTE
        return self.find_routes(self.loops[cause])[self.loops[index]]

    def cause_text(self, index: int) -> str:
        """Return the cause with this index as LOOP:KIND; empty for -1."""
        return "" if index < 0 else f"{self.loops[index]}:{self.kinds[index]}"

    def kinds_by_loop(self, columns: npt.NDArray[np.intp]) -> dict[int, list[str]]:
        """Return the kinds of the faults of these loops, by their columns in the Block, in the order of the faults."""
        return {column: [self.kinds[k] for k in np.flatnonzero(self.column == column)]
                for column in np.unique(columns).tolist()}

    def merge_same_kinds(self) -> Truth:
        """Return the truth with one column for each loop and kind: present where one is, as severe as the severest."""
        columns: dict[tuple[str, str, bool], list[int]] = {}
        for i, key in enumerate(zip(self.loops, self.kinds, self.control, strict=True)):
            columns.setdefault(key, []).append(i)
        if len(columns) == len(self.loops):
            return self
        first = [group[0] for group in columns.values()]
        present, visible, severity = self.present[:, first], self.visible[:, first], self.severity[:, first]
        effect, cause = self.effect[:, first], self.cause[:, first]
        group_column = np.empty(len(self.loops) + 1, dtype=np.intp)
        group_column[-1] = -1
        for i, group in enumerate(columns.values()):
            group_column[group] = i
        for i, group in enumerate(columns.values()):
            if len(group) > 1:
                present[:, i] = self.present[:, group].any(axis=1)
                visible[:, i] = self.visible[:, group].any(axis=1)
                severity[:, i] = self.severity[:, group].max(axis=1)
                effect[:, i] = self.effect[:, group].max(axis=1)
        return Truth(tuple(self.loops[i] for i in first), tuple(self.kinds[i] for i in first),
                     tuple(self.control[i] for i in first), self.column[first], present, visible, severity, effect,
                     group_column[cause], self.find_routes)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """R samples of the loops with a data-path fault, as they leave the plant, in place of the Block's own.

    Rows are ordered by `row`, then by loop, then as they leave. Within a row of the Block the samples of the grid
    leave first.

    Attributes
    ----------
    has_data_path_fault
        (N,) which loops these are; every sample of the other loops leaves once, in its row.
    row
        (R,) index into the Block's times: the instant at which the sample leaves.
    loop
        (R,) index into the Block's loops.
    times
        (R,) int64 ns, the sample's own timestamp; earlier than its row if it is late, wrong if a clock is.
    seq
        (R,) int64, sequence number of the instant at which the sample was measured.
    pv, op, sp, mode, valve_position, true_pv, quality
        (R,) as in the Block.
    present, visible
        (R, K) the truth about the loop's first, second, .. K-th fault when the sample was measured.
    """

    has_data_path_fault: npt.NDArray[np.bool_]
    row: npt.NDArray[np.intp]
    loop: npt.NDArray[np.intp]
    times: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    pv: Floats
    op: Floats
    sp: Floats
    mode: npt.NDArray[np.int8]
    valve_position: Floats
    true_pv: Floats
    quality: npt.NDArray[np.int16]
    present: npt.NDArray[np.bool_]
    visible: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class Block:
    """T consecutive samples of N loops.

    Attributes
    ----------
    loops
        N loop ids, the order of the columns.
    times
        (T,) int64, ns since 1970-01-01T00:00:00Z, strictly increasing.
    pv, sp
        (T, N) process variable as recorded and set point, engineering units.
    op
        (T, N) controller output, %.
    mode
        (T, N) int8, index into MODES.
    valve_position
        (T, N) % of travel.
    true_pv
        (T, N) the process variable before sensor and recording, engineering units.
    quality
        (T, N) int16, 192 good, 0 bad.
    truth
        The ground truth about the faults of all loops; None where there are none.
    arrivals
        The samples of the loops with a data-path fault; None where every sample leaves once, in its row.
    interval
        Time between samples, ns.
    """

    loops: tuple[str, ...]
    times: npt.NDArray[np.int64]
    pv: Floats
    op: Floats
    sp: Floats
    mode: npt.NDArray[np.int8]
    valve_position: Floats
    true_pv: Floats
    quality: npt.NDArray[np.int16]
    truth: Truth | None = None
    arrivals: Arrivals | None = None
    interval: int = SECOND

    def __len__(self) -> int:
        return len(self.times)

    def count_samples(self) -> int:
        """Return how many samples leave; a faulty data path loses some, and repeats others."""
        if self.arrivals is None:
            return self.mode.size
        return int(np.count_nonzero(~self.arrivals.has_data_path_fault)) * len(self) + len(self.arrivals)

    @property
    def seq(self) -> npt.NDArray[np.int64]:
        """(T, N) int64, the sequence number of each sample: the last nine digits of its instant's number since 1970."""
        numbers = sequence_numbers(self.times // self.interval)
        return np.broadcast_to(numbers[:, np.newaxis], (len(self.times), len(self.loops)))


def sequence_numbers(instants: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sequence numbers of samples at these instants: few digits enough that `%.10g` writes each exactly."""
    return instants % 10**9


SIGNALS = ("pv", "op", "sp", "valve_position", "quality", "true_pv")
INTEGER_SIGNALS = ("quality", "seq")
FIELD_SIGNALS = (*SIGNALS, "seq")  # what an output can write of a sample
