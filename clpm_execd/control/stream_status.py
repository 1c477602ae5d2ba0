"""What `clpm-execd status` shows of a running stream, or of one of its loops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clpm_execd.control.changes import find_loop
from clpm_execd.control.controlled_plant import ControlledPlant, is_over
from clpm_execd.plant.plant import Plant
from clpm_execd.plant.specs import FaultSpec, LoopSpec
from clpm_execd.plant.tuning import tune_controller
from clpm_execd.units import SECOND, format_duration, format_time

_MOST_FAULTS = 200  # lines: a screen or two, and less than a socket takes at once


def describe_stream(source: ControlledPlant, journal: str) -> str:
    """Return the lines about a stream.

    Parameters
    ----------
    source : ControlledPlant
    journal : str
        The place where its changes are kept.
    """
    loops, plant = source.future_loops(), source.plant
    lines = [f"loops     {len(loops)}, one sample every {format_duration(source.interval)}",
             f"next      {format_time(source.next_time)}", f"journal   {journal}"]
    faulty = np.flatnonzero(loops.where(lambda loop: bool(loop.faults))).tolist()
    faults = [f"{loops.ids[i]} {text}" for i in faulty for text in _describe_faults(loops[i], plant)]
    lines += [f"{'' if k else 'faults':<10}{text}" for k, text in enumerate(faults[:_MOST_FAULTS] or ["none"])]
    if len(faults) > _MOST_FAULTS:
        lines.append(f"{'':<10}and {len(faults) - _MOST_FAULTS} more")
    return "".join(f"{line}\n" for line in lines)


def describe_loop(source: ControlledPlant, loop: object) -> str:
    """Return the lines about a loop.

    Parameters
    ----------
    source : ControlledPlant
    loop : object
        The id of the loop.

    Raises
    ------
    BadInput
        There is no such loop.
    """
    plant = source.plant
    spec = find_loop("status", {"loop": loop}, source.future_loops())
    settings = tune_controller(spec, plant.scan / SECOND)
    values = " ".join(f"{name}={value:.6g}" for name, value in plant.signals_of(spec.id).items())
    faults = list(_describe_faults(spec, plant))
    lines = [f"loop      {spec.id}", f"values    mode={plant.mode_of(spec.id)} {values}",
             f"settings  gain={settings.gain:.6g} %OP/%PV reset={settings.reset:.6g} s "
             f"derivative={settings.derivative:.6g} s"]
    lines += [f"{'' if k else 'faults':<10}{text}" for k, text in enumerate(faults or ["none"])]
    return "".join(f"{line}\n" for line in lines)


def _describe_faults(loop: LoopSpec, plant: Plant) -> Iterator[str]:
    """Yield the faults of a loop that are present or will be."""
    origin, time = plant.start_of(loop.id), plant.next_scan
    for fault, is_present in zip(loop.faults, plant.present_faults(loop, time), strict=True):
        if not is_over(fault, origin, time):
            yield f"{fault.kind} {_describe_time(fault, origin, time, is_present=is_present)}"


def _describe_time(fault: FaultSpec, origin: int, time: int, *, is_present: bool) -> str:
    start = fault.start + (origin if fault.from_start else 0)
    if fault.mean_repeat is not None and fault.duration is not None and time > start:
        return (f"{'now' if is_present else 'again later'}, for {format_duration(fault.duration)} every "
                f"{format_duration(fault.mean_repeat)} on average")
    repeat = f", every {format_duration(fault.repeat)}" if fault.repeat is not None else ""
    if fault.repeat is not None and time > start:
        start += ((time - start) // fault.repeat + (not is_present)) * fault.repeat
    begin = f"{'since' if is_present else 'from'} {format_time(start)}"
    end = "" if fault.duration is None else f" until {format_time(start + fault.duration)}"
    return begin + end + repeat
