"""The plant: all loops, one scan after the other, as fast as it is asked to.

`advance` is a pure function of the loops, the seed and the time: live streaming asks for one sample, a backfill for
thousands, and both get the same numbers. Adding, removing or reordering loops changes no other loop's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import GOOD, SECOND, Block, Floats
from clpm_execd.plant.kernel.single_loop import MAX_LOOPS, SingleLoopEngine
from clpm_execd.plant.loop_set import Indices, Loops
from clpm_execd.plant.rng import keys, normals
from clpm_execd.plant.snapshot import Memory, Remembers, marks, moved, recalled, restored
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.controller import Controller
from clpm_execd.plant.stages.disturbance import Disturbance
from clpm_execd.plant.stages.operator import Operator
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.recording import recorders
from clpm_execd.plant.stages.sensor import Sensor
from clpm_execd.plant.stages.state import Cascades, State
from clpm_execd.plant.stages.valve import Valve

if TYPE_CHECKING:
    from clpm_execd.plant.faults.data_path import DataPath
    from clpm_execd.plant.faults.schedule import Schedule
    from clpm_execd.plant.learned.resampler import LearnedLoops

_DRAWN_AT_ONCE = 16384  # pairs of normals: enough to hide the cost of a call, and small beside the caches


class Changing(Protocol):
    """The faults of a stage."""

    def change(self) -> None:
        """The severities are others than at the scan before."""


T = TypeVar("T", bound=Changing)


class Plant:
    """A Source of Blocks: N loops simulated from `start` on.

    loops: what they are; ids must be distinct. seed: of all chance. start: first instant, ns since 1970. interval:
    between samples, ns.
    scan: between controller executions, ns, a divisor of interval; by default the smaller of 1 s and interval.
    memory: of a plant that was stopped. The loops that are made as they were, with the whole of their cascade, go on
    from it, and their moves and faults count from their own start; the others begin at rest and count from now on.
    With a memory that fits any loop, `start` is the memory's next_time.
    Raises ValueError on loops, interval or scan that do not fit together, and on a memory that is not such a plant's.
    """

    def __init__(self, loops: Sequence[LoopSpec], *, seed: int = 42, start: int, interval: int = SECOND,
                 scan: int | None = None, memory: Memory | None = None) -> None:
        self.interval = interval
        self.next_time = start
        self._scan = default_scan(interval) if scan is None else scan
        if interval <= 0 or self._scan <= 0 or interval % self._scan:
            raise ValueError("the interval must be a whole number of scans")
        loops = Loops.of(loops)
        self.loops = loops.ids
        if not loops or len(set(self.loops)) != len(loops):
            raise ValueError("a plant needs loops, each with an id of its own")
        order = np.argsort(Cascades(loops).depths, kind="stable")  # masters first
        self._columns = np.argsort(order)
        # Where each loop of a Block is: an array of them would be copied, loop by loop.
        self._at: Indices | slice = slice(None) if (order == np.arange(len(loops))).all() else self._columns
        self._next_tick = start // self._scan
        self._specs, self._seed = loops.pick(order), seed
        self._starts = np.full(len(loops), start, dtype=np.int64)
        self.resumed: frozenset[str] = frozenset()  # the loops that go on from the memory
        kept = None if memory is None else self._goes_on(memory)
        self._build(self._specs, seed, self._starts)
        if memory is not None and kept is not None:
            self._remember(memory, kept)

    def _build(self, loops: Loops, seed: int, starts: npt.NDArray[np.int64]) -> None:
        scan = self._scan / SECOND
        self._chance = keys(seed, loops.ids, stored_names.NOISE_AND_LOAD)
        self._zero, self._span = loops.columns(lambda loop: _scale(loop.range))
        self._op_zero, self._op_span = loops.columns(lambda loop: _scale(loop.recording.op_range))
        self._op_apart = loops.any(lambda loop: loop.recording.op_range != (0.0, 100.0))
        self._state = state = State(loops)
        if state.cascades.masters.size:  # which rest where their slaves do
            loops = loops.resting(state.op)
        self._operator = Operator(loops, state, seed, starts, self._scan)
        self._disturbance = Disturbance(loops, state, scan)
        self._process = Process(loops, state, scan)
        self._sensor = Sensor(loops, state)
        self._controllers = [Controller(loops, state, level, scan) for level in state.cascades.levels]
        self._valve = Valve(loops, state, scan)
        self._record_pv, self._record_op = recorders(loops)
        self._learned: LearnedLoops | None = None
        if loops.any(lambda loop: loop.laws is not None):
            from clpm_execd.plant.learned.resampler import LearnedLoops

            self._learned = LearnedLoops(loops, state, seed, starts, self._scan)
        self._single_loop: SingleLoopEngine | None = None
        disturbed = self._learned is not None or state.cascades.slaves.size or loops.any(lambda loop: loop.faults)
        if len(loops) <= MAX_LOOPS and not disturbed:
            self._single_loop = SingleLoopEngine(
                state, self._disturbance, self._process, self._sensor, self._valve, *self._controllers)
        self._schedule: Schedule | None = None
        self._data_path: DataPath | None = None
        if loops.any(lambda loop: loop.faults):
            self._break(loops, seed, starts)

    def _break(self, loops: Loops, seed: int, starts: npt.NDArray[np.int64]) -> None:
        """Give each stage its faults."""
        # A plant without any starts without these.
        from clpm_execd.plant.faults.controller import TuningFaults
        from clpm_execd.plant.faults.data_path import DataPath
        from clpm_execd.plant.faults.load import LoadFaults
        from clpm_execd.plant.faults.operation import OperationFaults
        from clpm_execd.plant.faults.process import ProcessFaults
        from clpm_execd.plant.faults.schedule import Schedule
        from clpm_execd.plant.faults.sensor import SensorFaults
        from clpm_execd.plant.faults.truth import Witness
        from clpm_execd.plant.faults.valve import ValveFaults

        state = self._state
        self._schedule = schedule = Schedule(loops, self._columns.tolist(), starts, self._scan)
        self._witness = Witness(schedule, self._columns)
        self._changing: list[tuple[int, Changing]] = []

        def attached(stage: int, faults: T) -> T:
            self._changing.append((stage, faults))
            return faults

        if schedule.of_stage(1):
            self._operator.faults = attached(1, OperationFaults(schedule, state, seed))
        if schedule.of_stage(2):
            self._disturbance.faults = attached(2, LoadFaults(schedule, state, seed))
        if schedule.of_stage(4):
            self._sensor.faults = attached(4, SensorFaults(schedule, state, self._sensor.sigma, seed))
        if schedule.of_stage(5):
            for controller, level in zip(self._controllers, state.cascades.levels, strict=True):
                attached(5, TuningFaults(schedule, controller, level.start))
        if schedule.of_stage(6):
            self._valve.faults = attached(6, ValveFaults(
                schedule, state, self._valve.travel_fraction, self._valve.flow_from_closed()))
        if schedule.of_stage(7):
            faults = attached(7, ProcessFaults(schedule, self._process))
            if self._learned is not None:
                self._learned.gain, self._learned.lag = faults.gain, faults.lag
        if schedule.of_stage(9):
            self._data_path = DataPath(schedule, seed, self.interval)

    def _parts(self) -> Iterator[tuple[str, Remembers]]:
        """All that remembers, each under a name; the controllers of all levels are one."""
        yield stored_names.STATE_PART, self._state
        yield stored_names.OPERATOR_PART, self._operator
        yield stored_names.PROCESS_PART, self._process
        yield stored_names.DEAD_TIME_PART, self._process.dead_time
        yield stored_names.RECORDED_PV_PART, self._record_pv
        yield stored_names.RECORDED_OP_PART, self._record_op
        yield from ((stored_names.CONTROLLER_PART, controller) for controller in self._controllers)
        if self._learned is not None:
            yield stored_names.LEARNED_PART, self._learned
        if self._operator.faults is not None:
            yield stored_names.OPERATION_FAULTS_PART, self._operator.faults
        if self._disturbance.faults is not None:
            yield stored_names.LOAD_FAULTS_PART, self._disturbance.faults
        if self._sensor.faults is not None:
            yield stored_names.SENSOR_FAULTS_PART, self._sensor.faults
        if self._valve.faults is not None:
            yield stored_names.VALVE_FAULTS_PART, self._valve.faults
            yield stored_names.STICTION_PART, self._valve.faults.stiction
        if self._data_path is not None:
            yield stored_names.DATA_PATH_PART, self._data_path

    def recall(self) -> Memory:
        """What the plant remembers now, to be given to another; the plant is not changed, nor is the memory later."""
        return Memory(self._specs.ids, self._marks, self._starts, self.next_time,
                      self._next_tick, recalled(self._parts()))

    @cached_property
    def _marks(self) -> npt.NDArray[np.uint8]:
        return marks(self._specs, self._seed, self._scan, self.interval)

    def _goes_on(self, memory: Memory) -> Indices | None:
        """Where each loop of the memory is now, -1 where it is no more or another; None where none goes on.

        Those that do keep their start; the others have theirs at the next scan.
        """
        now = {mark.tobytes(): i for i, mark in enumerate(self._marks)}
        to = np.array([now.get(mark.tobytes(), -1) for mark in memory.marks], dtype=np.intp)
        kept = np.flatnonzero(to >= 0)
        if not kept.size:
            return None
        if memory.next_time != self.next_time:
            raise ValueError("the plant does not begin where the memory ends")
        self._starts -= (self._next_tick - memory.next_tick) * self._scan
        self._starts[to[kept]] = memory.starts[kept]
        self._next_tick = memory.next_tick
        self.resumed = frozenset(memory.loops[i] for i in kept)
        return to

    def _remember(self, memory: Memory, to: Indices) -> None:
        """Take the memory over. The faults come first to what they are: what they do as they begin has been done."""
        if self._schedule is not None:
            self._schedule.turn(self._next_tick - 1)
            for _, faults in self._changing:
                faults.change()
        restored(self._parts(), moved(memory.tables, to), to[to >= 0])

    def _turn(self, tick: int) -> None:
        """Which faults are on, and how severe, at this scan."""
        if self._schedule is not None and (stages := self._schedule.turn(tick)):
            for stage, faults in self._changing:
                if stage in stages:
                    faults.change()

    def advance(self, n: int) -> Block:
        """The next n samples; n >= 1. Memory grows with n, so ask for long runs in parts.

        The plant lives up to the last of them and no further: what lies before the next is left to the next call.
        """
        size = len(self.loops)
        sp, op, pv, true_pv, position = signals = np.empty((len(self._state.signals), n, size))
        mode = np.empty((n, size), dtype=np.int8)
        ticks = self.next_time // self._scan + self.interval // self._scan * np.arange(n)
        self._live(int(ticks[0]), int(ticks[-1]), np.moveaxis(signals, 1, 0), mode)
        truth = None if self._schedule is None else self._witness.tell(ticks, op, mode, true_pv)
        for values in (pv, sp, true_pv):
            values *= self._span
            values += self._zero
        if self._op_apart:
            op *= self._op_span
            op += self._op_zero
        self._record_pv.record(pv)
        self._record_op.record(op)
        times = self.next_time + self.interval * np.arange(n, dtype=np.int64)
        self.next_time += n * self.interval
        at = self._at
        block = Block(
            loops=self.loops, times=times, pv=pv[:, at], op=op[:, at], sp=sp[:, at], mode=mode[:, at],
            valve_position=position[:, at], true_pv=true_pv[:, at], quality=np.full((n, size), GOOD, dtype=np.int16),
            truth=truth)
        return block if self._data_path is None else self._data_path.carry(block)  # 9 what leaves

    def _live(self, first: int, last: int, signals: Floats, mode: npt.NDArray[np.int8]) -> None:
        """Up to the scan `last`; of each that is a sample, the first of which is `first`, the signals and modes."""
        state, scans = self._state, self.interval // self._scan
        if self._single_loop is not None:
            self._single_loop.note_request(len(signals), scans)
        for tick, noise, load in self._stretches(last + 1):
            due = (first - tick) % scans  # the next sample
            i = (tick + due - first) // scans
            if self._single_loop is not None and len(noise) > 1:
                seen = self._single_loop.simulate(noise, load)[due::scans]
                signals[i:i + len(seen)], mode[i:i + len(seen)] = seen, state.effective_mode
                continue
            self._tick(tick, noise[0], load[0])
            if due == 0:
                signals[i], mode[i] = state.signals, state.effective_mode
                if self._learned is not None:
                    self._learned.record(signals[i, 2], signals[i, 1])

    def _stretches(self, end: int) -> Iterator[tuple[int, Floats, Floats]]:
        """The scans up to `end`, those together that nothing disturbs, else one by one.

        Of each stretch its first scan's number since 1970, and its chance: normals for noise and load, (T, N) each.
        """
        at_once = max(1, min(1024, _DRAWN_AT_ONCE // len(self.loops)))
        while self._next_tick < end:
            first, n = self._next_tick, min(at_once, end - self._next_tick)
            noise, load = normals(self._chance, first, n)
            done = 0
            while done < n:
                then = done + self._together(first + done, n - done)
                yield first + done, noise[done:then], load[done:then]
                done = then
            self._next_tick += n

    def _together(self, tick: int, most: int) -> int:
        """How many scans from this one on may be lived in one."""
        if self._single_loop is None or not self._single_loop.is_quicker(most):
            return 1
        idle = self._operator.idle(tick, most)
        return idle if self._single_loop.is_quicker(idle) else 1

    def _tick(self, tick: int, noise: Floats, load: Floats) -> None:
        """One scan; the stages in the order in which a plant lives them."""
        self._turn(tick)  # 1 schedule: faults,
        self._operator.step(tick)  # and moves
        learned = self._learned
        self._disturbance.step(load)  # 2 load at the process input
        if learned is not None:
            learned.disturb(tick)
        self._process.measure()  # 3 true process variable
        if learned is not None:
            learned.measure()
            learned.sense(noise)
        self._sensor.step(noise)  # 4 measured process variable
        for level in reversed(self._controllers):  # 5 controller output: modes from the slaves upwards,
            level.update_modes()
        for level in self._controllers:  # then set points and outputs from the masters downwards
            level.step()
        if learned is not None:
            learned.control(self._controllers)
        self._valve.step()  # 6 valve position and flow
        self._process.step(self._valve.flow)  # 7 process state
        if learned is not None:
            learned.step(self._valve.flow, self._process)


def _scale(span: tuple[float, float]) -> tuple[float, float]:
    """Where a range begins, and one per cent of it."""
    return span[0], (span[1] - span[0]) / 100.0


def default_scan(interval: int) -> int:
    """The scan of a plant sampled each `interval` ns: 1 s, or the next shorter that divides the interval.

    An interval that nothing between 0.1 and 1 s divides is scanned once.
    """
    fewest = -(-interval // SECOND)
    most = min(10 * fewest, fewest + 10_000)  # an interval of years must not keep the search going
    return next((interval // parts for parts in range(fewest, most + 1) if interval % parts == 0), interval)
