"""The five loops that stream when nothing is configured, and the five of a demonstration.

TIC208030 to TIC208034 are at steady state near PV 405.27, SP 405.41 and OP 63.5, the levels of the historical data of
unit 208. Each has a character of its own: a quick one, a slow one, a noisy one, one with a long dead time, one with a
slow load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Any

from clpm_execd.plant.specs import (
    ControllerSpec,
    DisturbanceSpec,
    LoopSpec,
    OperatorSpec,
    ProcessSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
    ThroughputSpec,
    ValveSpec,
)

DEFAULT_IDS = ("TIC208030", "TIC208031", "TIC208032", "TIC208033", "TIC208034")
_RANGE, _SP, _PV, _OP = (300.0, 500.0), 405.41, 405.2694502, 63.5  # engineering units, and %: as in that data
# Small, so that OP stays near the level of that data: over days its hourly mean moves by about one per cent.
_THROUGHPUT_PERCENT, _AMBIENT_PERCENT = 1.2, 0.3


def _build_loop(
    number: int, gain: float, tau: tuple[float, float], dead_time: float, tuning: str, noise: float,
    load: tuple[float, float], hours_between_moves: float, valve: ValveSpec,
) -> LoopSpec:
    return LoopSpec(
        id=DEFAULT_IDS[number], type="temperature", range=_RANGE, sp=_SP, op=_OP, pv=_PV,
        process=ProcessSpec(model="sopdt", gain=gain, tau=tau, dead_time=dead_time),
        controller=ControllerSpec(tuning=tuning),
        valve=valve,
        sensor=SensorSpec(noise=noise),
        disturbance=DisturbanceSpec(sigma=load[0], correlation=load[1]),
        throughput=ThroughputSpec(sigma=_THROUGHPUT_PERCENT, ambient=_AMBIENT_PERCENT),
        recording=RecordingSpec(resolution=Resolution(pv=1e-7 if number == 0 else 0.01, op=0.01)),
        operator=OperatorSpec(interval=hours_between_moves * 3600.0, size=0.8),
    )


def default_loops(**throughput: Any) -> tuple[LoopSpec, ...]:
    """Return the five loops of unit 208.

    Parameters
    ----------
    throughput
        Fields of ThroughputSpec that all of them have instead of their own.
    """
    linear = ValveSpec(lag=2.0)
    equal = ValveSpec(characteristic="equal-percentage", lag=3.0)
    loops = (
        _build_loop(0, 1.2, (120.0, 25.0), 12.0, "lambda", 0.020, (0.7, 45.0), 5.0, linear),
        _build_loop(1, 0.8, (420.0, 80.0), 30.0, "lambda", 0.015, (1.0, 240.0), 8.0, equal),
        _build_loop(2, 1.5, (180.0, 40.0), 20.0, "tight", 0.060, (0.5, 20.0), 6.0, linear),
        _build_loop(3, 1.0, (150.0, 60.0), 75.0, "lambda", 0.025, (0.9, 90.0), 12.0, equal),
        _build_loop(4, 2.0, (300.0, 45.0), 25.0, "sluggish", 0.030, (0.5, 1800.0), 7.0, linear),
    )
    return tuple(replace(loop, throughput=replace(loop.throughput, **throughput)) for loop in loops)


# The sines of the demonstration: all different, and visible on a trend of some minutes; its loops can follow them.
_SINE_PERIODS_SECONDS = (240.0, 360.0, 540.0, 780.0, 1080.0)
_SINE_AMPLITUDE_PERCENT = 4.0  # of span
_PERIODS_PER_RESPONSE = 8.0  # a process that is so much faster than the sine follows it


def demo_loops(loops: Sequence[LoopSpec]) -> tuple[LoopSpec, ...]:
    """Return the same loops as trending data: sine set points of different periods, and processes that can follow.

    Parameters
    ----------
    loops
        Loops of any number and type.
    """
    periods = _SINE_PERIODS_SECONDS
    return tuple(_with_sine(loop, periods[i % len(periods)]) for i, loop in enumerate(loops))


def _with_sine(loop: LoopSpec, period: float) -> LoopSpec:
    """Return the loop with a sine of this period, s, on its SP, its process made fast enough to follow."""
    quick = with_response(loop, period / _PERIODS_PER_RESPONSE)
    return replace(quick, controller=replace(loop.controller, tuning="tight"),
                   operator=OperatorSpec(wave=_SINE_AMPLITUDE_PERCENT, period=period))


def with_response(loop: LoopSpec, seconds: float) -> LoopSpec:
    """Return the loop with a process that responds within so many seconds: time constants and dead time together.

    Parameters
    ----------
    loop
        The loop; its process is not made slower.
    seconds
        The longest response.
    """
    response = fsum((*loop.process.tau, loop.process.dead_time))
    factor = min(1.0, seconds / response) if response > 0 else 1.0
    process = replace(
        loop.process,
        tau=tuple(factor * tau for tau in loop.process.tau),
        dead_time=factor * loop.process.dead_time,
        gain=loop.process.gain / factor if loop.process.model == "integrator" else loop.process.gain,
    )
    return replace(loop, process=process)
