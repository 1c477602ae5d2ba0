"""The typical loop of each type: the values of a loop whose configuration gives only its type.

Dynamics, noise and load lie within the ranges of docs/physics.md. The controller is tuned from the process by a rule,
so that the loop stays stable when a user changes the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

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
    """A type of loop. letters: of its tags (ISA-5.1)."""

    letters: str
    description: str
    process: ProcessSpec
    sensor: SensorSpec
    disturbance: DisturbanceSpec


def _build_fopdt(gain: float, tau: float, dead_time: float) -> ProcessSpec:
    return ProcessSpec(model="fopdt", gain=gain, tau=(tau,), dead_time=dead_time)


def _build_ou_load(sigma: float, correlation: float) -> DisturbanceSpec:
    return DisturbanceSpec(sigma=sigma, correlation=correlation)


# Gain in %PV/%OP (level: %PV/s/%OP), time constants and dead times in s, noise in % of span, load in % of travel and s.
LOOP_TYPES = {
    "flow": LoopType(
        "FIC", "fast and noisy", _build_fopdt(1.1, 3.0, 1.0), SensorSpec(noise=0.12), _build_ou_load(0.6, 12.0)),
    "pressure": LoopType(
        "PIC", "a gas volume", _build_fopdt(1.2, 30.0, 3.0), SensorSpec(noise=0.06), _build_ou_load(0.5, 25.0)),
    "level": LoopType(
        "LIC", "an integrating vessel", ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0),
        SensorSpec(noise=0.08), _build_ou_load(0.8, 30.0)),
    "temperature": LoopType(
        "TIC", "slow, with two time constants",
        ProcessSpec(model="sopdt", gain=1.4, tau=(240.0, 60.0), dead_time=30.0),
        SensorSpec(noise=0.04), _build_ou_load(0.8, 60.0)),
    "composition": LoopType(
        "AIC", "slow, with a long dead time", _build_fopdt(1.0, 900.0, 300.0), SensorSpec(noise=0.08),
        _build_ou_load(0.8, 120.0)),
}

# Steps in the span: a 12-bit converter has 4096, and records have two or three decimals.
_STEPS_PER_SPAN = 5000.0


def _choose_decimal_step(span: float) -> float:
    """Return the greatest of 1, 2 and 5 times a power of ten that is not above the step of a converter."""
    step = span / _STEPS_PER_SPAN
    exponent = Decimal(step).adjusted()
    steps = (float(f"{factor}e{exponent}") for factor in (1, 2, 5))
    return max(size for size in steps if size <= step * (1.0 + 1e-9))


def template(loop_type: str, loop_id: str, span: tuple[float, float]) -> LoopSpec:
    """Return the typical loop of a type, with SP at mid-range.

    Parameters
    ----------
    loop_type : str
        A key of LOOP_TYPES.
    loop_id : str
    span : tuple of float
        Lower and upper limit of the transmitter range, engineering units.

    Raises
    ------
    KeyError
        There is no such type.
    """
    typical = LOOP_TYPES[loop_type]
    return LoopSpec(
        id=loop_id,
        type=loop_type,
        range=span,
        sp=(span[0] + span[1]) / 2.0,
        process=typical.process,
        sensor=typical.sensor,
        disturbance=typical.disturbance,
        recording=RecordingSpec(resolution=Resolution(pv=_choose_decimal_step(span[1] - span[0]), op=0.01)),
    )
