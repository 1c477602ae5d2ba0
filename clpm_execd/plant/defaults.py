"""The five loops that stream when nothing is configured, and the five of a demonstration.

TIC208030 to TIC208034 rest near PV 405.27, SP 405.41 and OP 63.5, the levels of the historical data of unit 208.
Each has a character of its own: a quick one, a slow one, a noisy one, one with much dead time, one whose load
wanders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    LoopSpec,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
    ValveSpec,
)

DEFAULT_IDS = ("TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034")
_RANGE, _SP, _PV, _OP = (300.0, 500.0), 405.41, 405.2694502, 63.5


def _loop(
    number: int, gain: float, tau: tuple[float, float], dead_time: float, tuning: str, noise: float,
    load: tuple[float, float], moves_every: float, valve: ValveSpec,
) -> LoopSpec:
    return LoopSpec(
        id=DEFAULT_IDS[number], type="temperature", range=_RANGE, sp=_SP, op=_OP, pv=_PV,
        process=ProcessSpec(model="sopdt", gain=gain, tau=tau, dead_time=dead_time),
        controller=ControllerSpec(tuning=tuning),
        valve=valve,
        sensor=SensorSpec(noise=noise),
        disturbance=DisturbanceSpec(sigma=load[0], correlation=load[1]),
        recording=RecordingSpec(resolution=Resolution(pv=1e-7 if number == 0 else 0.01, op=0.01)),
        operator=OperatorSpec(interval=moves_every * 3600.0, size=0.8),
    )


def default_loops() -> tuple[LoopSpec, ...]:
    """The five loops of unit 208."""
    linear = ValveSpec(lag=2.0)
    equal = ValveSpec(characteristic="equal-percentage", lag=3.0)
    return (
        _loop(0, 1.2, (120.0, 25.0), 12.0, "lambda", 0.020, (0.7, 45.0), 5.0, linear),
        _loop(1, 0.8, (420.0, 80.0), 30.0, "lambda", 0.015, (1.0, 240.0), 8.0, equal),
        _loop(2, 1.5, (180.0, 40.0), 20.0, "tight", 0.060, (0.5, 20.0), 6.0, linear),
        _loop(3, 1.0, (150.0, 60.0), 75.0, "lambda", 0.025, (0.9, 90.0), 12.0, equal),
        _loop(4, 2.0, (300.0, 45.0), 25.0, "sluggish", 0.030, (0.5, 1800.0), 7.0, linear),
    )


def demo_loops(loops: Sequence[LoopSpec]) -> tuple[LoopSpec, ...]:
    """The same loops as trending data: sine set points of different periods, and processes quick enough to follow."""
    periods = (240.0, 360.0, 540.0, 780.0, 1080.0)
    return tuple(_waving(loop, periods[i % len(periods)]) for i, loop in enumerate(loops))


def _waving(loop: LoopSpec, period: float) -> LoopSpec:
    """The loop with a sine of the given period (s) on its SP, its process a good tenth of that slow."""
    slow = sum(loop.process.tau) + loop.process.dead_time
    pace = min(1.0, period / 8.0 / slow) if slow > 0 else 1.0
    process = replace(
        loop.process,
        tau=tuple(pace * tau for tau in loop.process.tau),
        dead_time=pace * loop.process.dead_time,
        gain=loop.process.gain / pace if loop.process.model == "integrator" else loop.process.gain,
    )
    return replace(loop, process=process, controller=replace(loop.controller, tuning="tight"),
                   operator=OperatorSpec(wave=4.0, period=period))
