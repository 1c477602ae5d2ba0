"""N loops, simulated scan by scan: the stages of a scan in their order, and the faults that act in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from clpm_execd import stored_names
from clpm_execd.plant.block import SECOND, Floats
from clpm_execd.plant.kernel.single_loop import MAX_ENGINE_LOOPS, SingleLoopEngine
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.snapshot import StatefulPart
from clpm_execd.plant.stages.controller import Controller
from clpm_execd.plant.stages.disturbance import Disturbance
from clpm_execd.plant.stages.operator import Operator
from clpm_execd.plant.stages.process import Process
from clpm_execd.plant.stages.recording import make_recorders
from clpm_execd.plant.stages.sensor import Sensor
from clpm_execd.plant.stages.state import State, to_percent
from clpm_execd.plant.stages.valve import Valve

if TYPE_CHECKING:
    from clpm_execd.plant.faults.kinds import Stage
    from clpm_execd.plant.faults.schedule import FaultSeverities
    from clpm_execd.plant.learned.resampler import LearnedLoops


class StageFaults(Protocol):
    """The faults of a stage."""

    def update(self) -> None:
        """Act by the severities of this scan, which differ from those of the scan before."""


F = TypeVar("F", bound=StageFaults)


class Simulation:
    """The stages of N loops, which stand masters first. scan: ns."""

    loops: tuple[str, ...]
    _scan: int

    def _build(self, loops: LoopSet, seed: int, starts: npt.NDArray[np.int64]) -> None:
        """Make the stages of loops in balance, without faults."""
        scan = self._scan / SECOND
        self._pv_zero, self._pv_scale = loops.columns(lambda loop: _zero_and_scale(loop.range))
        has_op_range = loops.any(lambda loop: loop.recording.op_range != (0.0, 100.0))
        self._op_range = (
            loops.columns(lambda loop: _zero_and_scale(loop.recording.op_range)) if has_op_range else None)
        self._state = state = State(loops)
        self._operator = Operator(loops, state, seed, starts, self._scan)
        self._disturbance = Disturbance(loops, state, scan)
        is_coupled = loops.any(lambda loop: loop.couplings)
        if is_coupled:
            from clpm_execd.plant.stages.coupling import Couplings

            self._disturbance.couplings = Couplings(loops, state, scan)
        self._process = Process(loops, state, scan)
        self._sensor = Sensor(loops, state, scan)
        self._controllers = [Controller(loops, state, level, scan) for level in state.cascades.levels]
        self._valve = Valve(loops, state, scan)
        self._pv_recorder, self._op_recorder = make_recorders(loops, state.columns)
        self._learned: LearnedLoops | None = None
        if loops.any(lambda loop: loop.learned_model is not None):
            from clpm_execd.plant.learned.resampler import LearnedLoops

            self._learned = LearnedLoops(loops, state, seed, starts, self._scan)
        self._single_loop: SingleLoopEngine | None = None
        is_disturbed = (self._learned is not None or is_coupled or state.cascades.slaves.size
                        or self._sensor.analysers is not None or loops.any(lambda loop: loop.faults))
        if len(loops) <= MAX_ENGINE_LOOPS and not is_disturbed:
            self._single_loop = SingleLoopEngine(
                state, self._disturbance, self._process, self._sensor, self._valve, *self._controllers)
        self._schedule: FaultSeverities | None = None

    def _attach_faults(self, schedule: FaultSeverities, seed: int) -> None:
        """Give each stage its faults."""
        # A plant without any does without these imports.
        from clpm_execd.plant.faults.effects import TuningFaults
        from clpm_execd.plant.faults.kinds import Stage
        from clpm_execd.plant.faults.load import LoadFaults
        from clpm_execd.plant.faults.operation import OperationFaults
        from clpm_execd.plant.faults.process import ProcessFaults
        from clpm_execd.plant.faults.sensor import SensorFaults
        from clpm_execd.plant.faults.valve import ValveFaults

        state = self._state
        self._schedule = schedule
        self._stage_faults: list[tuple[Stage, StageFaults]] = []

        def attach(stage: Stage, faults: F) -> F:
            self._stage_faults.append((stage, faults))
            return faults

        if schedule.faults_of_stage(Stage.OPERATOR):
            self._operator.faults = attach(Stage.OPERATOR, OperationFaults(schedule, state, seed))
        if schedule.faults_of_stage(Stage.LOAD) or schedule.faults_of_kind("shutdown").size:
            empty_load = self._compute_empty_load(schedule.loops)
            self._disturbance.faults = attach(Stage.LOAD, LoadFaults(schedule, state, seed, empty_load))
        if schedule.faults_of_stage(Stage.SENSOR):
            self._sensor.faults = attach(Stage.SENSOR, SensorFaults(schedule, state, self._sensor.sigma, seed))
        if schedule.faults_of_stage(Stage.CONTROLLER):
            for controller in self._controllers:
                attach(Stage.CONTROLLER, TuningFaults(schedule, controller))
        if schedule.faults_of_stage(Stage.VALVE):
            self._valve.faults = attach(Stage.VALVE, ValveFaults(
                schedule, state, self._valve.travel_fraction, self._valve.flow_from_closed()))
        if schedule.faults_of_stage(Stage.PROCESS):
            faults = attach(Stage.PROCESS, ProcessFaults(schedule, self._process))
            if self._learned is not None:
                self._learned.gain, self._learned.lag = faults.gain, faults.lag

    def _compute_empty_load(self, loops: LoopSet) -> Floats:
        """Return the load at which PV is zero with a closed valve, and a level in balance, (N,) % of travel."""
        return self._valve.flow_from_closed() - loops.column(
            lambda loop: 0.0 if loop.process.model == "integrator"
            else to_percent(loop.sp, loop.range) / loop.process.gain)

    def _iterate_parts(self) -> Iterator[tuple[str, StatefulPart]]:
        """Yield all parts that have a state, each with its name; the controllers of all levels are one."""
        yield stored_names.STATE_PART, self._state
        yield stored_names.OPERATOR_PART, self._operator
        yield stored_names.PROCESS_PART, self._process
        yield stored_names.DEAD_TIME_PART, self._process.dead_time
        yield stored_names.RECORDED_PV_PART, self._pv_recorder
        yield stored_names.RECORDED_OP_PART, self._op_recorder
        yield from ((stored_names.CONTROLLER_PART, controller) for controller in self._controllers)
        if self._learned is not None:
            yield stored_names.LEARNED_PART, self._learned
        if self._operator.faults is not None:
            yield stored_names.OPERATION_FAULTS_PART, self._operator.faults
        if self._disturbance.couplings is not None:
            yield stored_names.PROCESS_COUPLINGS_PART, self._disturbance.couplings
        if self._disturbance.faults is not None:
            yield stored_names.LOAD_FAULTS_PART, self._disturbance.faults
            yield stored_names.COUPLINGS_PART, self._disturbance.faults.couplings
        if self._sensor.analysers is not None:
            yield stored_names.ANALYSERS_PART, self._sensor.analysers
        if self._sensor.faults is not None:
            yield stored_names.SENSOR_FAULTS_PART, self._sensor.faults
        if self._valve.faults is not None:
            yield stored_names.VALVE_FAULTS_PART, self._valve.faults
            yield stored_names.STICTION_PART, self._valve.faults.stiction

    def record(self, signals: Floats) -> None:
        """Turn samples in per cent into what is recorded: engineering units, with the historian's steps.

        signals: (3 to 5, T, N), the first of those of State.
        """
        sp, op, pv, *others = signals
        for values in (pv, sp, *others[:1]):
            values *= self._pv_scale
            values += self._pv_zero
        if self._op_range is not None:
            op_zero, op_scale = self._op_range
            op *= op_scale
            op += op_zero
        self._pv_recorder.record(pv)
        self._op_recorder.record(op)

    def bring_faults_up(self, next_tick: int) -> None:
        """Start the faults that are present before the next scan; what they do at their start is state."""
        if self._schedule is not None:
            self._schedule.move_to(next_tick - 1)
            for _, faults in self._stage_faults:
                faults.update()

    def _update_faults(self, tick: int) -> None:
        """Bring the faults up to this scan: which are on, and how severe."""
        if self._schedule is not None and (stages := self._schedule.move_to(tick)):
            for stage, faults in self._stage_faults:
                if stage in stages:
                    faults.update()

    def _simulate_scan(self, tick: int, noise: Floats, load: Floats) -> None:
        """Simulate one scan, stage by stage."""
        self._update_faults(tick)  # 1 schedule: faults,
        self._operator.step(tick)  # and moves
        learned = self._learned
        self._disturbance.step(load)  # 2 load at the process input
        if learned is not None:
            learned.disturb(tick)
        self._process.measure()  # 3 true process variable
        if learned is not None:
            learned.measure()
            learned.sense(noise)
        self._sensor.step(tick, noise)  # 4 measured process variable
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


def _zero_and_scale(limits: tuple[float, float]) -> tuple[float, float]:
    """Return where a range begins, and one per cent of it."""
    return limits[0], (limits[1] - limits[0]) / 100.0
