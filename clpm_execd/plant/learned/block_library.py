"""The rows of a record at which blocks of residuals may start, and which of them resemble the state of a loop.

A library draws the row at which a loop's next block starts: a function of the loop's last samples, of the row at which
its last block ended and of a uniform number, with the same bits on every platform.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats
from clpm_execd.plant.elementary import standard_deviation, sum_in_order
from clpm_execd.plant.learned.model import STATE_LAGS, LearnedModel, StateMatchedModel, run_lengths

_MIN_STD_PERCENT = 1e-9  # a signal that moves less says nothing of a loop's state


class BlockLibrary:
    """The blocks of a record of N samples.

    signals, residuals: (N, 3) and is_repeat: (N, 2), as of LearnedModel. starts: (K,) rows. run_length: (N,) as of
    `run_lengths`. min_samples, max_samples: lengths of a block. history_samples: how many of a loop's last samples are
    compared.
    """

    # A block of residuals is replayed unchanged: long enough to hold their colour and bursts, short enough that nobody
    # recognises a stretch of the record.
    min_samples, max_samples = 8, 16
    history_samples = STATE_LAGS
    _neighbours = 10  # nearest places, of which one is drawn for a block to start
    _min_distance_samples = 16  # a block's length: no block starts nearer to where the last one ended
    _min_places = 100  # that are compared, of many every sixteenth at the most

    def __init__(self, model: LearnedModel) -> None:
        self.signals, self.residuals, self.is_repeat = model.signals, model.residuals, model.is_repeat
        self.run_length = run_lengths(model)
        self.starts = np.flatnonzero(self.run_length)
        self._starts_anywhere = model.innovation.size > 0
        if self._starts_anywhere:
            return
        weight = _compute_inverse_deviations(model.signals)
        weight[2] *= model.setpoint.size > 0  # an operator's set point is no state
        self._weight: Floats = np.repeat(weight[None], STATE_LAGS, axis=0).ravel()
        past = np.stack([model.signals[self.starts - k] for k in range(1, STATE_LAGS + 1)], axis=1)
        self._past: Floats = (past.reshape(len(self.starts), -1) * self._weight).T.copy()
        self._squared_norm = sum_in_order(self._past * self._past)
        self._stride = min(max(len(self.starts) // self._min_places, 1), self._min_distance_samples)

    def sample_start(self, past: Floats, previous_end: int, uniform: float) -> int:
        """Return the row at which the next block starts.

        past: (history_samples or more, 3) PV, OP and SP of the loop, the latest first. previous_end: the row at which
        the last block ended. uniform: drawn from [0, 1).
        """
        if self._starts_anywhere:
            return int(self.starts[int(uniform * len(self.starts))])
        # The draw's integer part, times the stride, says which of every so many places are compared, and its fraction
        # which of the nearest is taken.
        uniform *= self._stride
        places = slice(int(uniform), None, self._stride)
        starts, recent = self.starts[places], past[:STATE_LAGS].ravel() * self._weight
        distance = self._squared_norm[places] - 2.0 * sum_in_order(self._past[:, places] * recent[:, None])
        if len(starts) > 2 * self._min_distance_samples // self._stride + self._neighbours:
            near = np.searchsorted(
                starts, (previous_end - self._min_distance_samples + 1, previous_end + self._min_distance_samples))
            distance[near[0]:near[1]] = np.inf
        return int(starts[_draw_nearest(distance, self._neighbours, uniform % 1.0)])


class StateMatchedLibrary:
    """The blocks of a record of N samples and of its mirror image, which follows behind a missing sample.

    Attributes are those of BlockLibrary, of 2 N + 1 rows; of N rows where the model has no mirror. The numbers are the
    best of a trial on 77 records of a refinery and 58 of other plants (clpm_execd/docs/fitting.md).
    """

    min_samples, max_samples = 12, 20
    _lags = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32))  # samples ago, over which averages are taken
    history_samples = 32
    _neighbours = 8
    _min_distance_samples = 16
    _max_places = 2000  # that are compared: 0.1 ms
    _op_weight = 2.0  # of OP beside PV - SP, which has the noise of the sensor
    _turn_factor = 4.0  # of the squared distance, from the record to its mirror image or back
    _outward_distance = 1e6  # squared: from a loop at an end of the range of OP to a block that goes further

    def __init__(self, model: StateMatchedModel) -> None:
        self.signals, self.residuals, self.is_repeat = model.signals, model.residuals, model.is_repeat
        self.run_length = run_lengths(model)
        held = _hold_last(model.signals)
        self._has_setpoint_model = model.setpoint.size > 0
        states = self._average_past_of_rows(self._select_signals(held))
        last = len(held) - 1
        rows = np.arange(last + 1)
        rise = held[np.minimum(rows + self.min_samples, last), 1] - held[np.maximum(rows - 1, 0), 1]
        self._weight: Floats = np.tile(_compute_inverse_deviations(self._select_signals(held)), len(self._lags))
        self._weight[1::states.shape[1]] *= self._op_weight
        if model.mirror.size:
            self._append_mirror_image(model)
            centre = self._select_signals(model.mirror[None])[0]
            missing = np.zeros((len(self._lags), len(centre), 1))
            states = np.concatenate([states, missing, 2.0 * centre[:, None] - states], axis=2)
            rise = np.concatenate([rise, [0.0], -rise])
        self.starts = np.flatnonzero(self.run_length)
        self._past: Floats = states.reshape(len(self._weight), -1)[:, self.starts] * self._weight[:, None]
        self._rise: Floats = rise[self.starts]
        self._lowest_op, self._highest_op = float(np.nanmin(self.signals[:, 1])), float(np.nanmax(self.signals[:, 1]))
        self._period = len(held) + 1  # rows from a sample to its mirror image
        self._stride = -(-len(self.starts) // self._max_places)

    def _select_signals(self, signals: Floats) -> Floats:
        """Return (N, 2) PV - SP and OP, and where SP has a model (N, 3) with it, of (N, 3) signals."""
        pv, op, sp = signals.T
        return np.stack([pv - sp, op, sp] if self._has_setpoint_model else [pv - sp, op], axis=1)

    def _average_past_of_rows(self, signals: Floats) -> Floats:
        """Return (lags, C, N) the averages before each row of (N, C) signals, of fewer samples where it begins."""
        total = np.add.accumulate(np.concatenate([np.zeros((1, signals.shape[1])), signals]), axis=0)
        rows = np.arange(len(signals))
        averages = []
        for first, last in self._lags:
            begin, end = np.maximum(rows - last, 0), np.maximum(rows - first + 1, 1)
            begin = np.minimum(begin, end - 1)
            averages.append(((total[end] - total[begin]) / (end - begin)[:, None]).T)
        return np.stack(averages)

    def _append_mirror_image(self, model: StateMatchedModel) -> None:
        pv, op, sp = model.mirror
        a, b, c, d, s, g = (float(sum_in_order(part)) for part in (
            model.process_pv, model.process_op, model.controller_op, model.controller_pv, model.controller_sp,
            model.setpoint))
        # What the equations leave where all signals rest at the mirror; SP that is an operator's leaves nothing.
        at_rest = np.array([(1.0 - a) * pv - b * op, (1.0 - c) * op - d * pv - s * sp,
                            (1.0 - g) * sp if model.setpoint.size else 0.0])
        missing = np.full((1, 3), np.nan)
        self.signals = np.concatenate([model.signals, missing, 2.0 * model.mirror - model.signals])
        self.residuals = np.concatenate([model.residuals, missing, 2.0 * at_rest - model.residuals])
        self.is_repeat = np.concatenate([model.is_repeat, np.zeros((1, 2), dtype=bool), model.is_repeat])
        self.run_length = np.concatenate([self.run_length, [0], self.run_length])

    def sample_start(self, past: Floats, previous_end: int, uniform: float) -> int:
        """Return the row at which the next block starts; see `BlockLibrary.sample_start`."""
        uniform *= self._stride
        places = slice(int(uniform), None, self._stride)
        starts = self.starts[places]
        signals = self._select_signals(past)
        recent = np.concatenate([sum_in_order(signals[first - 1:last]) / (last - first + 1)
                                 for first, last in self._lags]) * self._weight
        difference = self._past[:, places] - recent[:, None]
        distance = sum_in_order(difference * difference)
        distance[(starts >= self._period) != (previous_end >= self._period)] *= self._turn_factor
        op = past[0, 1] + self._rise[places]
        is_outward = ((op > self._highest_op) & (self._rise[places] > 0.0)) | (
            (op < self._lowest_op) & (self._rise[places] < 0.0))
        distance[is_outward] += self._outward_distance
        is_near = np.abs(starts % self._period - previous_end % self._period) < self._min_distance_samples
        if len(starts) - np.count_nonzero(is_near) > self._neighbours:
            distance[is_near] = np.inf
        return int(starts[_draw_nearest(distance, self._neighbours, uniform % 1.0)])


def make_library(model: LearnedModel) -> BlockLibrary | StateMatchedLibrary:
    """Return the library of a model."""
    return StateMatchedLibrary(model) if isinstance(model, StateMatchedModel) else BlockLibrary(model)


def _draw_nearest(distance: Floats, count: int, uniform: float) -> int:
    """Return the index of one of the nearest places."""
    count = min(count, len(distance))
    nearest = np.flatnonzero(distance <= np.partition(distance, count - 1)[count - 1])
    return int(nearest[int(uniform * count)])


def _compute_inverse_deviations(signals: Floats) -> Floats:
    """Return one over the standard deviation of each signal, 0 where it does not move; signals: (N, C)."""
    scale = np.array([standard_deviation(signal) for signal in signals.T])
    return np.where(scale > _MIN_STD_PERCENT, 1.0 / np.maximum(scale, _MIN_STD_PERCENT), 0.0)


def _hold_last(signals: Floats) -> Floats:
    """Return (N, 3) signals in which a missing sample is the one before it, the first ones 0, their mean."""
    is_complete = np.isfinite(signals).all(axis=1)
    rows: npt.NDArray[np.intp] = np.maximum.accumulate(np.where(is_complete, np.arange(len(signals)), -1))
    return np.where(rows[:, None] >= 0, signals[np.maximum(rows, 0)], 0.0)
