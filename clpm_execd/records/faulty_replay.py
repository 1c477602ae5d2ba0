"""Records that are replayed with faults laid over them: a replay, changed as the faults of its loops say.

A fault of the sensor changes PV alone, since the controller in the record did not read it. A fault of the data path
acts on samples on their way. A fault of the valve changes a loop with a fitted model: the difference between the model
with the fault and without it, on the same random numbers, is added to PV, OP and SP. The ground truth is measured
against the record itself, which is the loop without its faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import Block, Floats
from clpm_execd.plant.faults import FAULTS
from clpm_execd.plant.faults.data_path import DataPath
from clpm_execd.plant.faults.kinds import Stage
from clpm_execd.plant.faults.schedule import Schedule
from clpm_execd.plant.faults.sensor import SensorFaults
from clpm_execd.plant.kernel.equations import SATURATION_HIGH_PERCENT, SATURATION_LOW_PERCENT
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.rng import derive_stream_keys, draw_normals
from clpm_execd.plant.snapshot import Snapshot, serialize_specification
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.state import State, to_percent
from clpm_execd.plant.truth.causes import Copies
from clpm_execd.plant.truth.effect import EffectMeter
from clpm_execd.plant.truth.observer import TruthObserver
from clpm_execd.problems import BadInput, Problem, did_you_mean
from clpm_execd.records.forward_fill import forward_fill
from clpm_execd.records.record import Record, loop_ids
from clpm_execd.records.replay import Replay

_SAMPLES_AT_ONCE = 10_000  # of those that a resumed replay passes through again
_NEVER = 0  # the end, ns since 1970, of a fault that is absent


class FaultyReplay(Replay):
    """A replay with faults of some of its loops.

    Parameters
    ----------
    records, start, interval
        As of Replay.
    loops : sequence of LoopSpec
        Those with faults, each of a record. Their range is that of the recorded PV.
    seed : int
        Of all random numbers.
    scan : int, optional
        Of the fitted loops, ns.
    snapshot : Snapshot, optional
        The state of such a replay that was stopped. It is taken up by passing again through what lies before.

    Raises
    ------
    BadInput
        A loop is in no record, PV is out of its range, or a fault cannot be laid over a record.
    """

    def __init__(self, records: Sequence[Record], loops: Sequence[LoopSpec], *, start: int, interval: int | None,
                 seed: int, scan: int | None = None, snapshot: Snapshot | None = None) -> None:
        _check(records, loops)
        faulty = {loop.id: replace(loop, cascade=None, mode="AUT") for loop in loops}
        self._specs = [faulty.get(loop, LoopSpec(id=loop)) for loop in loop_ids(records)]
        self._seed = seed
        super().__init__(records, start=start, interval=interval, snapshot=snapshot)
        position, self._position = self._position, 0
        columns, starts = np.arange(len(self._specs)), np.full(len(self._specs), self._start)
        self._schedule = Schedule(self._specs, columns.tolist(), starts, self._interval, seed)
        self._ranges = np.array([loop.range for loop in self._specs])
        self._state = State(LoopSet.of(self._specs))
        self._sensor = SensorFaults(self._schedule, self._state, np.zeros(len(columns)), seed)
        self._sensor_faults = np.array(self._schedule.faults_of_stage(Stage.SENSOR), dtype=np.intp)
        self._noise_keys = derive_stream_keys(seed, self.loops, stored_names.NOISE_AND_LOAD)
        self._fitted = columns[[loop.learned_model is not None for loop in self._specs]]
        self._models = self._build_models(scan) if self._fitted.size else ()
        acting = np.flatnonzero([fault.kind.acts_on_plant for fault in self._schedule.faults])
        base = self._schedule.column[acting]
        meter = EffectMeter(LoopSet.of([self._specs[i] for i in base]), base,
                            [self._schedule.faults[k] for k in acting], self._interval) if base.size else None
        self._twin = Copies(base, acting, np.ones(len(base), dtype=bool), base, len(columns) + np.arange(len(base)),
                            meter) if meter else None
        self._data_path = (DataPath(self._schedule, seed, self._interval)
                           if self._schedule.faults_of_stage(Stage.DATA_PATH) else None)
        self._observer = TruthObserver(self._schedule, columns, self._twin, None, self._data_path, self._interval)
        # Of record and replay, what fills a gap of SP, OP and PV.
        self._last = np.array([_first_values(records)] * 2)
        while self._position < position:
            self.advance(min(_SAMPLES_AT_ONCE, position - self._position))

    def _hash_records(self) -> npt.NDArray[np.uint8]:
        text = f"{self._seed} {serialize_specification(tuple(self._specs))}".encode()
        return np.frombuffer(blake2b(super()._hash_records().tobytes() + text, digest_size=16).digest(), np.uint8)[None]

    def _build_models(self, scan: int | None) -> tuple[Plant, Plant]:
        """Return plants of the fitted loops, with their valve faults and without them."""
        def build(stage: Stage | None) -> Plant:
            loops = [replace(self._specs[i], couplings=(), faults=tuple(
                fault if FAULTS[fault.kind].stage is stage else replace(fault, until=_NEVER)
                for fault in self._specs[i].faults)) for i in self._fitted]
            return Plant(loops, seed=self._seed, start=self._start, interval=self._interval, scan=scan,
                         measures_truth=False)

        return build(Stage.VALVE), build(None)

    def advance(self, n: int) -> Block:
        """Return the next n samples."""
        block = super().advance(n)
        record = np.stack([block.sp, block.op, block.pv])
        signals = record.copy()
        if self._models:
            faulty, healthy = (plant.advance(n) for plant in self._models)
            signals[:, :, self._fitted] += np.stack([
                getattr(faulty, name) - getattr(healthy, name) for name in ("sp", "op", "pv")])
            low, high = np.array([self._specs[i].recording.op_range for i in self._fitted]).T
            signals[1, :, self._fitted] = np.clip(signals[1][:, self._fitted], low, high).T
        ticks = block.times // self._interval
        self._read_sensors(signals[2], ticks)
        compared, mode = self._fill_gaps(1, signals), block.mode
        if self._twin is not None:
            base = self._twin.base
            compared = np.concatenate([compared, self._fill_gaps(0, record)[:, :, base]], axis=2)
            mode = np.concatenate([mode, mode[:, base]], axis=1)
        truth = self._observer.observe(ticks, block.times, compared, mode)
        sp, op, pv = signals
        block = replace(block, sp=sp, op=op, pv=pv, truth=truth)
        return block if self._data_path is None else self._data_path.transmit(block)

    def _read_sensors(self, pv: Floats, ticks: npt.NDArray[np.int64]) -> None:
        """Replace PV, (T, N), by what the faulty sensors read."""
        if not self._sensor_faults.size:
            return
        low, scale = self._ranges[:, 0], (self._ranges[:, 1] - self._ranges[:, 0]) / 100.0
        normals = draw_normals(self._noise_keys, int(ticks[0]), len(ticks))
        for row, tick, normal in zip(pv, ticks.tolist(), normals, strict=True):
            if Stage.SENSOR in self._schedule.move_to(tick):
                self._sensor.update()
            self._state.true_pv[:] = (row - low) / scale
            self._state.pv[:] = self._state.true_pv.clip(SATURATION_LOW_PERCENT, SATURATION_HIGH_PERCENT)
            self._sensor.step(normal)
            faults = self._sensor_faults
            at = self._schedule.column[faults[self._schedule.severity[faults] > 0.0]]
            row[at] = (low + scale * self._state.pv)[at]

    def _fill_gaps(self, which: int, signals: Floats) -> Floats:
        """Return SP, OP and PV, (3, T, N), with each gap filled with the value before it."""
        values = np.concatenate([self._last[which][:, None], signals], axis=1)
        values = forward_fill(values, np.isfinite(values), axis=1)
        self._last[which] = values[:, -1]
        return values[:, 1:]


def _first_values(records: Sequence[Record]) -> Floats:
    """Return the first value of SP, OP and PV of each loop, (3, N); 0 where it has none."""
    columns = [[getattr(record, name)[:, i] for record in records for i in range(len(record.loops))]
               for name in ("sp", "op", "pv")]
    return np.array([[next(iter(column[np.isfinite(column)]), 0.0) for column in row] for row in columns])


def _check(records: Sequence[Record], loops: Sequence[LoopSpec]) -> None:
    """Raise BadInput with all that cannot be laid over these records."""
    problems = []
    pv = {loop: record.pv[:, i] for record in records for i, loop in enumerate(record.loops)}
    for loop in loops:
        place = f"loop {loop.id}"
        if loop.id not in pv or not np.isfinite(pv[loop.id]).any():
            problems.append(Problem(place, "has a fault, but no value in a record", did_you_mean(loop.id, list(pv))))
            continue
        values = pv[loop.id][np.isfinite(pv[loop.id])]
        low, high = (to_percent(float(value), loop.range) for value in (values.min(), values.max()))
        if low < SATURATION_LOW_PERCENT or high > SATURATION_HIGH_PERCENT:
            problems.append(Problem(f"{place} range", "PV of the record lies outside of it",
                                    "give the range of its transmitter"))
        for fault in loop.faults:
            kind = FAULTS[fault.kind]
            if kind.group == "valve" and loop.learned_model is None:
                problems.append(Problem(
                    f"{place} fault {fault.kind}", "a record does not say what its loop would do with another valve",
                    "fit the loop with `clpm-execd learn`, and give this fault to the fitted loop"))
            elif kind.group not in ("sensor", "data path", "valve"):
                problems.append(Problem(
                    f"{place} fault {fault.kind}", f"a fault of the group {kind.group!r} cannot be laid over a record",
                    "give a fault of the sensor, of the data path, or of a fitted loop's valve"))
    if problems:
        raise BadInput(problems)
