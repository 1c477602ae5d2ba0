"""Whitening filters of a loop's record for a process, a load and sensor noise.

The sampled model is A D PV = K B D OP + C e: the process K B/A of the plant with its dead time, OP that moves linearly
between two samples and is held at the controller's scans, a first-order load (D) at the process input, and white sensor
noise. All are rational transfer functions at the samples for any number of scans in an interval.
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
_TAPS = 4  # of B at the samples: the order of A, and two for the fractional dead time


class Filters(NamedTuple):
    """Polynomials in 1/z: numerators for PV, (4,), and OP of `late` samples ago, (5,), and the denominator C, (4,)."""

    pv: Floats
    op: Floats
    late: int
    colour: Floats

    def of_pv(self, pv: Floats) -> Floats:
        """Return filtered PV, (n,), with zero initial state."""
        from scipy.signal import lfilter

        return np.asarray(lfilter(self.pv, self.colour, pv))

    def of_op(self, op: Floats) -> Floats:
        """Return filtered OP, (..., n), with zero initial state."""
        from scipy.signal import lfilter

        delayed, late = np.zeros_like(op), min(self.late, op.shape[-1])
        delayed[..., late:] = op[..., :op.shape[-1] - late]
        return np.asarray(lfilter(self.op, self.colour, delayed))


def make_filters(process: ProcessSpec, interval: float, parts: int, noise: Floats, is_held: bool = False) -> Filters:
    """Return the filters of a process with `parts` scans in an interval, s.

    is_held: whether OP is constant in the interval before each sample, not linear between two of them.
    noise: (2,) the logit of the load's pole, and the log of its lasting effect on PV relative to the sensor noise.
    """
    (a1, a2), (b0, b1, b2, b3), late, part = _sampled(process, interval, parts, is_held)
    pole = pole_of(noise)
    return Filters(np.array((1.0, a1 - pole, a2 - pole * a1, -pole * a2)),
                   np.array((b0, b1 - pole * b0, b2 - pole * b1, b3 - pole * b2, -pole * b3)), late,
                   _spectral_factor(part, pole, load_to_noise_ratio(process, interval, noise)))


@lru_cache
def _sampled(process: ProcessSpec, interval: float, parts: int, is_held: bool
             ) -> tuple[tuple[float, float], list[float], int, tuple[float, ...]]:
    """Return A without its leading 1, B, the delay of OP in samples, and the result of `discretize`."""
    part = discretize(process, interval)
    late, rest = divmod(int(process.dead_time * parts / interval + 1e-9) + 1, parts)
    taps = _decimate(discretize_with_dead_time(process, interval / parts), parts, rest, is_held)
    return (-part[0] - part[2], part[0] * part[2]), taps.tolist(), late, part


def _decimate(weights: tuple[float, ...], parts: int, rest: int, is_held: bool) -> Floats:
    """Return B at the samples, (4,); A is that of the process over an interval. rest: fractional dead time, scans."""
    p11, p21, p22, new1, new2, old1, old2 = weights
    top = np.array((new2, old2 + p21 * new1 - p11 * new2, p21 * old1 - p11 * old2))
    # 1 / (1 - p/z) at the scans is a polynomial of powers of p/z over the same expression at the samples.
    powers = np.arange(parts)
    op_weights = np.ones(parts) if is_held else _interpolation_weights(parts)
    for part in ((p11**powers,) if p11 else ()) + (p22**powers, op_weights):
        top = np.convolve(top, part)
    taps = np.zeros(_TAPS)
    at_samples = top[parts - 1 - rest::parts]
    taps[:len(at_samples)] = at_samples
    return taps


@lru_cache
def _interpolation_weights(parts: int) -> Floats:
    """Return the weights of a sample of OP in the scans before and after it, by linear interpolation."""
    return np.convolve(np.ones(parts), np.ones(parts)) / parts


def _spectral_factor(transition: tuple[float, ...], pole: float, ratio: float) -> Floats:
    """Return C, (4,), the spectral factor of load and sensor noise with its zeros inside the unit circle.

    See Astrom (1970, section 4.3). The roots are computed in 2 - z - 1/z, in which a zero and its mirror image are one
    root, so that zeros near 1 are not confused with their mirror images.
    """
    zeros = []
    for inverse in np.roots(_spectrum(transition, pole, ratio)):
        root = sqrt(1.0 - 4.0 * inverse)
        zeros.append((root - 1.0) / (root + 1.0))
    return np.asarray(np.poly(zeros).real)


def _spectrum(transition: tuple[float, ...], pole: float, ratio: float) -> tuple[float, float, float, float]:
    """Return the coefficients of the noise spectrum in powers of 2 - z - 1/z, for a sensor noise of variance 1."""
    p11, p21, p22, b1, b2 = transition
    power, late = ratio**2 * (1.0 - pole * pole), p21 * b1 - p11 * b2
    s0, s1, s2, s3 = 1.0, 0.0, 0.0, 0.0
    for p in (p11, p22, pole):
        at_zero = (1.0 - p)**2
        s0, s1, s2, s3 = at_zero * s0, at_zero * s1 + p * s0, at_zero * s2 + p * s1, at_zero * s3 + p * s2
    return s0 + power * (b2 + late)**2, s1 - power * b2 * late, s2, s3


def noise_share(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Return the sensor noise as a share of the innovation variance, from the spectrum at the Nyquist frequency."""
    part, pole, size = discretize(process, h), pole_of(noise), load_to_noise_ratio(process, h, noise)
    s0, s1, s2, s3 = _spectrum(part, pole, size)
    c0, c1, c2, c3 = _spectral_factor(part, pole, size).tolist()
    return float((c0 - c1 + c2 - c3)**2 / (s0 + 4.0 * s1 + 16.0 * s2 + 64.0 * s3))


def pole_of(noise: Floats) -> float:
    """Return the pole of the load, per sample, from its logit noise[0]."""
    return _MAX_POLE / (1.0 + exp(-min(max(float(noise[0]), -10.0), 10.0)))


def pole_logit(pole: float) -> float:
    """Return the logit of the load's pole, per sample: the inverse of `pole_of`."""
    return log(max(pole, 1e-4)) - log(max(_MAX_POLE - pole, 1e-4))


def load_to_noise_ratio(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Return the ratio of the standard deviations of load and sensor noise.

    noise[1] is the log of the load's lasting effect on PV over the noise; for an integrator, of that in 100 samples.
    """
    lasting = abs(process.gain) * (100.0 * h if process.model == "integrator" else 1.0)
    return exp(min(max(float(noise[1]), -10.0), 10.0)) / max(lasting, 1e-9)
