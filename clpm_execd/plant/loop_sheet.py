"""The loop sheet: what is known of each loop before its first sample, as a plant's engineering documents list it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clpm_execd.plant.block import MODES, SECOND
from clpm_execd.plant.loop_set import LoopSet
from clpm_execd.plant.plant import choose_default_scan
from clpm_execd.plant.specs import LoopSpec
from clpm_execd.plant.stages.controller import is_direct_acting
from clpm_execd.plant.tuning import tune_controller


@dataclass(frozen=True, slots=True)
class LoopSheetRow:
    """A loop as it starts; a text that is not configured is empty.

    Parameters
    ----------
    loop_id, description, area, type : str
    unit : str
        The engineering unit of range_low, range_high and sp.
    range_low, range_high : float
        The range of the transmitter.
    sp : float
        The set point.
    mode : str
        Mode of the first sample, unless a move or a fault comes first.
    cascade : str
        The id of the master.
    form : str
        Form of the PID algorithm: ideal, series or parallel.
    action : str
        reverse or direct.
    gain, reset, derivative : float
        The settings in force, configured or from the tuning rule: %OP/%PV, s, s; of the parallel form Kp, 1/Ki, Kd.
    op_low, op_high : float
        The limits of OP, as it is recorded.
    interval, scan : float
        Time between samples and between controller executions, s.
    tags : mapping of str to str
        The tags of the loop in line protocol, besides those of all loops.
    """

    loop_id: str
    description: str
    area: str
    type: str
    unit: str
    range_low: float
    range_high: float
    sp: float
    mode: str
    cascade: str
    form: str
    action: str
    gain: float
    reset: float
    derivative: float
    op_low: float
    op_high: float
    interval: float
    scan: float
    tags: Mapping[str, str]


def make_loop_sheet(loops: Sequence[LoopSpec], interval: int, scan: int | None = None,
                    modes: Sequence[str] = MODES) -> list[LoopSheetRow]:
    """Return a row for each loop, in their order.

    Parameters
    ----------
    loops : sequence of LoopSpec
        All loops of the plant.
    interval : int
        Time between samples, ns.
    scan : int, optional
        Time between controller executions, ns; by default that of the plant.
    modes : sequence of str
        The text of each mode, in the order of MODES.
    """
    loops = LoopSet.of(loops)
    scan = choose_default_scan(interval) if scan is None else scan
    return [_make_row(loop, modes[MODES.index(mode)], interval / SECOND, scan / SECOND)
            for loop, mode in zip(loops, _find_initial_modes(loops), strict=True)]


def _find_initial_modes(loops: LoopSet) -> list[str]:
    """Return the mode of each loop as a sample has it: a master whose slave is not in CAS waits in MAN."""
    modes = loops.map(lambda loop: loop.mode)
    index = {loop: i for i, loop in enumerate(loops.ids)}
    masters = set(loops.masters)
    for slave in (i for i, loop in enumerate(loops.ids) if loop not in masters):  # the lowest of each cascade
        while (master := loops.masters[slave]) is not None:
            if modes[slave] != "CAS":
                modes[index[master]] = "MAN"
            slave = index[master]
    return modes


def _make_row(loop: LoopSpec, mode: str, interval: float, scan: float) -> LoopSheetRow:
    controller = tune_controller(loop, scan)
    return LoopSheetRow(
        loop_id=loop.id, description=loop.description, area=loop.area, type=loop.type, unit=loop.unit,
        range_low=loop.range[0], range_high=loop.range[1], sp=loop.sp, mode=mode, cascade=loop.cascade or "",
        form=controller.form, action="direct" if is_direct_acting(loop) else "reverse",
        gain=controller.gain or 0.0, reset=controller.reset or 0.0, derivative=controller.derivative or 0.0,
        op_low=loop.recording.op_range[0], op_high=loop.recording.op_range[1], interval=interval, scan=scan,
        tags=loop.tags)
