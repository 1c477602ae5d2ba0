"""Conditioning of a record for identification: removal of logging artefacts and of shutdowns.

A historian may log faster than values change, log OP one sample apart from PV, and continue while the plant is shut
down. Each is corrected here and reported in a sentence. Nothing depends on units or seconds: all is counted in samples.
"""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np

from clpm_execd.identification.closed_loop.pid_regression import explained_share
from clpm_execd.identification.loop_data import Booleans, Signals, find_runs
from clpm_execd.identification.thresholds import LOOP as LIMITS
from clpm_execd.plant.block import Floats

_EXCERPTS = 10  # to choose from in each MAX_SAMPLES samples
_OP_WEIGHT = 0.01  # of moves of OP against those of SP, which show more and are rare
MAX_SAMPLES = 50_000  # of an identification: it needs less than 1 GB, and more hardly narrow an interval
_MIN_CHANGES = 20  # of PV: fewer do not show at which samples values change
_MAX_HOLD_SAMPLES = 120  # two minutes at 1 s
_HOLD_QUANTILE = 0.95  # of the times for which a value is held: the longest are those in which it did not change
_MIN_GRID_SHARE = 0.97  # of all changes: the jitter of the logger moves the others
_MAX_BUMP_MOVE_SHARE = 0.05  # of samples in which the OP of a bump test moves
_REST_SAMPLES = 30  # A controller whose OP is constant at an end of its travel for longer is off, not saturated.
_MIN_CONTROL_MOVE_SHARE = 0.5  # of the samples between shutdowns in which a controller moves OP; a bump test does not
_LEAST_UNEXPLAINED = 1e-9  # of OP's moves, by a law without rounding


def condition(signals: Signals) -> tuple[Signals, list[str]]:
    """Return the conditioned record, and a sentence for each correction."""
    notes: list[str] = []
    for step in (_remove_shutdowns, _select_changes, _align_op):
        signals, note = step(signals)
        if note:
            notes.append(note)
    return signals, notes


def _remove_shutdowns(signals: Signals) -> tuple[Signals, str]:
    """Return the record with NaN where OP rests at an end of its travel, as in a plant off at night.

    An OP that rests where the control error holds it is saturated, and the process goes on.
    """
    action = _find_action(signals, ~signals.at_end)
    shutdowns = [s for s in find_runs(signals.at_end & signals.complete, _REST_SAMPLES)
                 if np.ptp(signals.op[s]) == 0.0 and not _is_saturated(signals, s, action)]
    in_control = signals.complete.copy()
    for s in shutdowns:
        in_control[s] = False
    moves = np.diff(signals.op)[in_control[1:] & in_control[:-1]]
    if not shutdowns or not len(moves) or float(np.mean(moves != 0)) < _MIN_CONTROL_MOVE_SHARE:
        return signals, ""
    pv = np.where(in_control, signals.pv, np.nan)
    return replace(signals, pv=pv), ("OP rests at an end of its travel: the plant is taken to be off there, and "
                                     f"{sum(s.stop - s.start for s in shutdowns)} samples are left out")


def _find_action(signals: Signals, in_control: Booleans) -> float:
    """Return 1 where OP moves with the control error (reverse action), and -1 where it moves against it."""
    usable = signals.complete & in_control
    usable[1:] &= usable[:-1]
    moves = np.diff(signals.op) * np.diff(signals.sp - signals.pv)
    return float(np.sign(moves[usable[1:]].sum()))


def _is_saturated(signals: Signals, s: slice, action: float) -> bool:
    """Return whether the control error mostly drives OP into the end at which it rests."""
    error = action * (signals.sp[s] - signals.pv[s])
    return bool(np.mean(error > 0.0 if signals.op[s.start] > 50.0 else error < 0.0) > 0.5)


def _find_hold(values: Floats) -> tuple[int, int]:
    """Return the period of changes of a signal, samples, and their phase; (1, 0) where it can change at any sample."""
    changes = 1 + np.flatnonzero(np.diff(values) != 0)  # a change to or from NaN counts too, and is rare
    if len(changes) < _MIN_CHANGES:
        return 1, 0
    longest = min(_MAX_HOLD_SAMPLES, int(len(values) / len(changes)) + 1)
    for every in range(longest, 1, -1):
        counts = np.bincount(changes % every, minlength=every)
        if counts.max() >= _MIN_GRID_SHARE * len(changes):
            return every, int(np.argmax(counts))
    return 1, 0


def _find_irregular_hold(values: Floats) -> int:
    """Return the 95 % quantile of the time for which a signal is held, samples; 1 where rounding alone repeats it."""
    moves = np.diff(values)
    sizes = np.abs(moves[moves != 0])
    if len(sizes) < _MIN_CHANGES or (moves == 0).sum() < 2 * (sizes < 1.1 * sizes.min()).sum():
        return 1
    holds = np.diff(np.flatnonzero(moves != 0))
    return int(min(np.quantile(holds, _HOLD_QUANTILE), _MAX_HOLD_SAMPLES))


def _select_changes(signals: Signals) -> tuple[Signals, str]:
    """Return one sample for each change of PV and OP, where the record holds each value over several samples."""
    if len(signals.pv) < 2:
        return signals, ""
    every, first = _find_hold(signals.pv)
    op_every, op_first = _find_hold(signals.op)
    if every == 1 and float(np.mean(np.diff(signals.op) != 0)) < _MAX_BUMP_MOVE_SHARE:
        every = _find_irregular_hold(signals.pv)  # in a bump test only: it would hide the law of a controller
    if every == 1 or (op_every > 1 and op_every % every):
        return signals, ""
    at = np.arange(first, len(signals.pv), every)
    late = (op_first - first) % every if op_every > 1 else 0
    op_at = np.minimum(at + late, len(signals.op) - 1)
    reduced = replace(signals.part(at), op=signals.op[op_at], sp=signals.sp[op_at], interval=signals.interval * every)
    return reduced, (f"values change every {every} samples: the loop is identified at intervals of "
                     f"{reduced.interval:g} s")


def _align_op(signals: Signals) -> tuple[Signals, str]:
    """Return OP shifted by one sample where a controller's law explains the shifted OP better than by chance."""
    shifted = {late: _shift_op(signals, late) for late in (0, 1, -1)}
    laws = {late: explained_share(one) for late, one in shifted.items()}
    shares = {late: share for late, (share, is_plausible) in laws.items() if is_plausible or late == 0}
    late = max(shares, key=lambda one: shares[one])
    unexplained = [max(1.0 - share, _LEAST_UNEXPLAINED) for share in (shares[0], shares[late])]
    gain = int(signals.controlled.sum()) * log(unexplained[0] / unexplained[1])
    if shares[late] < LIMITS.min_r_squared or gain <= LIMITS.shift_gain:
        return signals, ""
    when = "after" if late > 0 else "before"
    return shifted[late], f"OP is recorded one sample {when} the PV and SP that it was computed from: it is moved there"


def _shift_op(signals: Signals, late: int) -> Signals:
    op = np.roll(signals.op, -late)
    if late:
        op[-1 if late > 0 else 0] = np.nan
    return replace(signals, op=op)


def excerpt(signals: Signals) -> tuple[Signals, str]:
    """Return the part of a long record in which SP and OP move most."""
    if len(signals.pv) <= MAX_SAMPLES:
        return signals, ""
    sp_moves, op_moves = (_relative_moves(part, signals.complete) for part in (signals.sp, signals.op))
    activity = sp_moves + _OP_WEIGHT * op_moves
    total = np.concatenate([[0.0], np.cumsum(activity)])
    starts = np.arange(0, len(signals.pv) - MAX_SAMPLES + 1, MAX_SAMPLES // _EXCERPTS)
    start = int(starts[np.argmax(total[starts + MAX_SAMPLES] - total[starts])])
    part = slice(start, start + MAX_SAMPLES)
    return signals.part(part), (f"the record is long: the loop is identified from the {MAX_SAMPLES} samples in which "
                                "SP and OP move most")


def _relative_moves(values: Floats, complete: Booleans) -> Floats:
    """Return the absolute move of a signal at each sample, as a fraction of its range; zero in gaps."""
    finite_values = values[complete]
    size = float(np.ptp(finite_values)) if len(finite_values) else 0.0
    return np.nan_to_num(np.abs(np.diff(values, prepend=values[:1]))) / size if size > 0 else np.zeros(len(values))
