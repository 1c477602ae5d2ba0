"""The filters that make white noise of a loop's record: a process, a load and a sensor's noise.

A D PV = K B D OP + C e, sampled: the process K B/A of the plant behind its dead time, OP that moves evenly between two
samples and is held at the controller's scans, a load of first order (D) at the process's input, and white noise of the
sensor. All are rational at the samples, however many scans lie between two of them.
"""

from __future__ import annotations

from cmath import sqrt
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize, discretize_with_dead_time

_MAX_POLE = 0.9995  # of the load, a sample
_TAPS = 4  # of a process at the samples, the order of A and what its dead time leaves of an interval


class Filters(NamedTuple):
    """Numerators for PV, (4,), and for OP of `late` samples ago, (5,), and C, (4,), that divides both: in 1/z."""

    pv: Floats
    op: Floats
    late: int
    colour: Floats

    def of_pv(self, pv: Floats) -> Floats:
        """Return PV, (n,), filtered from rest."""
        from scipy.signal import lfilter

        return np.asarray(lfilter(self.pv, self.colour, pv))

    def of_op(self, op: Floats) -> Floats:
        """Return OP, (..., n), filtered from rest."""
        from scipy.signal import lfilter

        delayed, late = np.zeros_like(op), min(self.late, op.shape[-1])
        delayed[..., late:] = op[..., :op.shape[-1] - late]
        return np.asarray(lfilter(self.op, self.colour, delayed))


def make_filters(process: ProcessSpec, interval: float, parts: int, noise: Floats) -> Filters:
    """Return the filters of a process with `parts` scans in an interval, s, and of its noise, (2,).

    noise: the logit of the load's pole, and the logarithm of its size, as in `ratio`.
    """
    (a1, a2), (b0, b1, b2, b3), late, part = _sampled(process, interval, parts)
    pole = pole_of(noise)
    return Filters(np.array((1.0, a1 - pole, a2 - pole * a1, -pole * a2)),
                   np.array((b0, b1 - pole * b0, b2 - pole * b1, b3 - pole * b2, -pole * b3)), late,
                   _colour(part, pole, load_to_noise_ratio(process, interval, noise)))


@lru_cache
def _sampled(process: ProcessSpec, interval: float, parts: int
             ) -> tuple[tuple[float, float], list[float], int, tuple[float, ...]]:
    """Return A without its 1, B, how many samples late OP acts, and the process as `discretize` has it."""
    part = discretize(process, interval)
    late, rest = divmod(int(process.dead_time * parts / interval + 1e-9) + 1, parts)
    taps = _at_samples(discretize_with_dead_time(process, interval / parts), parts, rest)
    return (-part[0] - part[2], part[0] * part[2]), taps.tolist(), late, part


def _at_samples(weights: tuple[float, ...], parts: int, rest: int) -> Floats:
    """Return B at the samples, (4,); A is that of the process over an interval. rest: of the dead time, scans."""
    p11, p21, p22, new1, new2, old1, old2 = weights
    top = np.array((new2, old2 + p21 * new1 - p11 * new2, p21 * old1 - p11 * old2))
    # 1 / (1 - p/z) at the scans is a sum of powers over the same at the samples.
    powers = np.arange(parts)
    for part in ((p11**powers,) if p11 else ()) + (p22**powers, _evenly(parts)):
        top = np.convolve(top, part)
    taps = np.zeros(_TAPS)
    at_samples = top[parts - 1 - rest::parts]
    taps[:len(at_samples)] = at_samples
    return taps


@lru_cache
def _evenly(parts: int) -> Floats:
    """Return what a sample of OP is in the scans before and after it."""
    return np.convolve(np.ones(parts), np.ones(parts)) / parts


def _colour(transition: tuple[float, ...], pole: float, ratio: float) -> Floats:
    """Return C, (4,), of the load and the sensor's noise together.

    It is the factor of their spectrum that has its zeros within the unit circle (Astrom, 1970, section 4.3). Each root
    of the spectrum in 2 - z - 1/z is one zero: this keeps those near 1 apart from their mirror images.
    """
    zeros = []
    for inverse in np.roots(_spectrum(transition, pole, ratio)):
        root = sqrt(1.0 - 4.0 * inverse)
        zeros.append((root - 1.0) / (root + 1.0))
    return np.asarray(np.poly(zeros).real)


def _spectrum(transition: tuple[float, ...], pole: float, ratio: float) -> tuple[float, float, float, float]:
    """Return the spectrum of both together, by powers of 2 - z - 1/z; the sensor's noise has a variance of 1."""
    p11, p21, p22, b1, b2 = transition
    power, late = ratio**2 * (1.0 - pole * pole), p21 * b1 - p11 * b2
    s0, s1, s2, s3 = 1.0, 0.0, 0.0, 0.0
    for p in (p11, p22, pole):
        still = (1.0 - p)**2
        s0, s1, s2, s3 = still * s0, still * s1 + p * s0, still * s2 + p * s1, still * s3 + p * s2
    return s0 + power * (b2 + late)**2, s1 - power * b2 * late, s2, s3


def noise_share(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Return which share of the errors' variance is the sensor's noise: by the spectrum at its upper end."""
    part, pole, size = discretize(process, h), pole_of(noise), load_to_noise_ratio(process, h, noise)
    s0, s1, s2, s3 = _spectrum(part, pole, size)
    c0, c1, c2, c3 = _colour(part, pole, size).tolist()
    return float((c0 - c1 + c2 - c3)**2 / (s0 + 4.0 * s1 + 16.0 * s2 + 64.0 * s3))


def pole_of(noise: Floats) -> float:
    """Return the pole of the load, a sample, from its logit."""
    return _MAX_POLE / (1.0 + exp(-min(max(float(noise[0]), -10.0), 10.0)))


def pole_logit(pole: float) -> float:
    """Return the logit of the load's pole, a sample, as it stands in the noise."""
    return log(max(pole, 1e-4)) - log(max(_MAX_POLE - pole, 1e-4))


def load_to_noise_ratio(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Return sigma of the load over the noise's, by its lasting effect on PV (of an integrator in 100 samples)."""
    lasting = abs(process.gain) * (100.0 * h if process.model == "integrator" else 1.0)
    return exp(min(max(float(noise[1]), -10.0), 10.0)) / max(lasting, 1e-9)
