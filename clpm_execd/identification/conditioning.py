"""The record as identification needs it: how it was logged is undone, and what is no control is left out.

A historian may log faster than values change, log OP a sample apart from PV, and go on where the plant is shut down.
Each is undone here, and said in a sentence. Nothing depends on units or seconds: all is counted in samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clpm_execd.identification.loop_data import Booleans, Signals, find_runs
from clpm_execd.identification.pid_regression import explained_share
from clpm_execd.plant.block import Floats

MOST_SAMPLES = 50_000  # that are identified from: a month at 1 s stays below 1 GB, and more hardly narrows an interval
_LEAST_CHANGES = 20  # of PV: fewer do not show at which samples values change
_LONGEST_HOLD_SAMPLES = 120  # two minutes at 1 s
_ON_GRID = 0.97  # of all changes: jitter of the logger moves the others
_OP_AT_REST = 0.05  # share of samples in which the OP of a bump test moves, at the most
_REST_SAMPLES = 30  # OP at an end of its travel for longer is off, not saturated for a moment
_LEAST_SHUTDOWNS = 2  # a single rest at an end is the start of a bump test
_LEAST_SHARE_OFF = 0.1  # of the record: a controller that is driven to its limits now and then is not off
_MOVES_IN_CONTROL = 0.5  # of the samples between shutdowns: OP of a controller moves, OP of a bump test does not
_LEAST_EXPLAINED = 0.9  # of the variance of OP's moves: by one shift, where without it the rest is ten times as large
_LIMIT_PERCENT = 0.05


def condition(signals: Signals) -> tuple[Signals, list[str]]:
    """Return the record to identify from, and a sentence for each thing that was undone."""
    notes: list[str] = []
    for step in (_without_shutdowns, _at_changes, _with_op_in_time):
        signals, note = step(signals)
        if note:
            notes.append(note)
    return signals, notes


def _without_shutdowns(signals: Signals) -> tuple[Signals, str]:
    """Return the record with NaN where OP rests at an end of its travel again and again, as of a plant off at night."""
    with np.errstate(invalid="ignore"):
        at_end = (signals.op <= _LIMIT_PERCENT) | (signals.op >= 100.0 - _LIMIT_PERCENT)
    off = [s for s in find_runs(at_end & signals.complete, _REST_SAMPLES) if np.ptp(signals.op[s]) == 0.0]
    in_control = signals.complete.copy()
    for s in off:
        in_control[s] = False
    moves = np.diff(signals.op)[in_control[1:] & in_control[:-1]]
    share = sum(s.stop - s.start for s in off) / max(int(signals.complete.sum()), 1)
    is_in_control = len(moves) > 0 and float(np.mean(moves != 0)) >= _MOVES_IN_CONTROL
    if len(off) < _LEAST_SHUTDOWNS or share < _LEAST_SHARE_OFF or not is_in_control:
        return signals, ""
    pv = np.where(in_control, signals.pv, np.nan)
    return replace(signals, pv=pv), (f"OP rests at an end of its travel {len(off)} times: the plant is taken to be off "
                                     "there, and these samples are left out")


def _hold(values: Floats) -> tuple[int, int]:
    """Return every how many samples a signal changes, and at which remainder; (1, 0) where it may at any."""
    changes = 1 + np.flatnonzero(np.diff(values) != 0)  # a change to or from NaN counts too, and is rare
    if len(changes) < _LEAST_CHANGES:
        return 1, 0
    longest = min(_LONGEST_HOLD_SAMPLES, int(len(values) / len(changes)) + 1)
    for every in range(longest, 1, -1):
        counts = np.bincount(changes % every, minlength=every)
        if counts.max() >= _ON_GRID * len(changes):
            return every, int(np.argmax(counts))
    return 1, 0


def _irregular_hold(values: Floats) -> int:
    """Return the samples over which a signal is hardly ever held longer; 1 where rounding alone repeats it."""
    moves = np.diff(values)
    sizes = np.abs(moves[moves != 0])
    if len(sizes) < _LEAST_CHANGES or (moves == 0).sum() < 2 * (sizes < 1.1 * sizes.min()).sum():
        return 1
    holds = np.diff(np.flatnonzero(moves != 0))
    return int(min(np.quantile(holds, 0.95), _LONGEST_HOLD_SAMPLES))


def _at_changes(signals: Signals) -> tuple[Signals, str]:
    """Return one sample for each time PV and OP could change, where the record holds each value over several."""
    if len(signals.pv) < 2:
        return signals, ""
    every, first = _hold(signals.pv)
    op_every, op_first = _hold(signals.op)
    if every == 1 and float(np.mean(np.diff(signals.op) != 0)) < _OP_AT_REST:
        every = _irregular_hold(signals.pv)  # of an OP that moves at each sample they would hide the controller's law
    if every == 1 or (op_every > 1 and op_every % every):
        return signals, ""
    at = np.arange(first, len(signals.pv), every)
    late = (op_first - first) % every if op_every > 1 else 0
    op_at = np.minimum(at + late, len(signals.op) - 1)
    reduced = replace(signals.part(at), op=signals.op[op_at], sp=signals.sp[op_at], interval=signals.interval * every)
    return reduced, (f"values change every {every} samples: the loop is identified at intervals of "
                     f"{reduced.interval:g} s")


def _with_op_in_time(signals: Signals) -> tuple[Signals, str]:
    """Return OP moved by a sample where only so a controller's law explains it."""
    r_squared = explained_share(signals)
    if r_squared >= _LEAST_EXPLAINED:
        return signals, ""
    shifted = {late: _shift_op(signals, late) for late in (1, -1)}
    late, share = max(((late, explained_share(one)) for late, one in shifted.items()), key=lambda one: one[1])
    if share < _LEAST_EXPLAINED or 1.0 - share > 0.1 * (1.0 - r_squared):
        return signals, ""
    when = "after" if late > 0 else "before"
    return shifted[late], f"OP is recorded one sample {when} the PV and SP that it was computed from: it is moved there"


def _shift_op(signals: Signals, late: int) -> Signals:
    op = np.full(len(signals.op), np.nan)
    if late > 0:
        op[:-late] = signals.op[late:]
    else:
        op[-late:] = signals.op[:late]
    return replace(signals, op=op)


def excerpt(signals: Signals) -> tuple[Signals, str]:
    """Return the part of a long record in which SP and OP move most."""
    if len(signals.pv) <= MOST_SAMPLES:
        return signals, ""
    moved = _moves(signals.sp, signals.complete) + 0.01 * _moves(signals.op, signals.complete)
    total = np.concatenate([[0.0], np.cumsum(moved)])
    starts = np.arange(0, len(signals.pv) - MOST_SAMPLES + 1, MOST_SAMPLES // 10)
    start = int(starts[np.argmax(total[starts + MOST_SAMPLES] - total[starts])])
    part = slice(start, start + MOST_SAMPLES)
    return signals.part(part), (f"the record is long: the loop is identified from the {MOST_SAMPLES} samples in which "
                                "SP and OP move most")


def _moves(values: Floats, complete: Booleans) -> Floats:
    """Return how far a signal moves at each sample, over its range; zero in gaps."""
    known = values[complete]
    size = float(np.ptp(known)) if len(known) else 0.0
    return np.nan_to_num(np.abs(np.diff(values, prepend=values[:1]))) / size if size > 0 else np.zeros(len(values))
