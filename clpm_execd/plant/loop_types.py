"""The typical loop of each type: where a loop starts from when its configuration says no more than its type.

Ranges of dynamics, tuning and noise are those of real plants; a controller is tuned by rule from its process, so
that whatever the user changes there stays stable.
"""

from __future__ import annotations

from dataclasses import dataclass

from clpm_execd.plant.specs import (
    DisturbanceSpec,
    LoopSpec,
    ProcessSpec,
    RecordingSpec,
    Resolution,
    SensorSpec,
)


@dataclass(frozen=True, slots=True)
class LoopType:
    """A type's ISA letters, its meaning and its typical parts."""

    letters: str
    meaning: str
    process: ProcessSpec
    sensor: SensorSpec
    disturbance: DisturbanceSpec


def _fopdt(gain: float, tau: float, dead_time: float) -> ProcessSpec:
    return ProcessSpec(model="fopdt", gain=gain, tau=(tau,), dead_time=dead_time)


def _load(sigma: float, correlation: float) -> DisturbanceSpec:
    return DisturbanceSpec(sigma=sigma, correlation=correlation)


LOOP_TYPES = {
    "flow": LoopType("FIC", "fast and noisy", _fopdt(1.1, 3.0, 1.0), SensorSpec(noise=0.12), _load(0.6, 12.0)),
    "pressure": LoopType("PIC", "a gas volume", _fopdt(1.2, 30.0, 3.0), SensorSpec(noise=0.06), _load(0.5, 25.0)),
    "level": LoopType(
        "LIC", "a vessel, integrating", ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0),
        SensorSpec(noise=0.08), _load(0.8, 30.0)),
    "temperature": LoopType(
        "TIC", "slow, with a second lag",
        ProcessSpec(model="sopdt", gain=1.4, tau=(240.0, 60.0), dead_time=30.0),
        SensorSpec(noise=0.04), _load(0.8, 60.0)),
    "composition": LoopType(
        "AIC", "slow, with much dead time", _fopdt(1.0, 900.0, 300.0), SensorSpec(noise=0.08), _load(0.8, 120.0)),
}

_STEPS = 5000.0  # in the span: what a 12 bit converter and two or three decimals leave of a value


def _decimal_step(span: float) -> float:
    """The power of ten, or its half or fifth, next below a five-thousandth of the span."""
    step = span / _STEPS
    exponent = 0
    while 10.0**exponent > step:
        exponent -= 1
    while 10.0 ** (exponent + 1) <= step:
        exponent += 1
    factor = max(f for f in (1, 2, 5) if f * 10.0**exponent <= step * (1 + 1e-9))
    return factor * 10.0**exponent if exponent >= 0 else factor / 10.0**-exponent


def template(loop_type: str, loop_id: str, span: tuple[float, float]) -> LoopSpec:
    """The typical loop of a type, at mid-range. Raises KeyError on an unknown type."""
    typical = LOOP_TYPES[loop_type]
    return LoopSpec(
        id=loop_id,
        type=loop_type,
        range=span,
        sp=(span[0] + span[1]) / 2.0,
        process=typical.process,
        sensor=typical.sensor,
        disturbance=typical.disturbance,
        recording=RecordingSpec(resolution=Resolution(pv=_decimal_step(span[1] - span[0]), op=0.01)),
    )
