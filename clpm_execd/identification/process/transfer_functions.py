"""What makes white noise of a loop's record: a process, a load and a sensor's noise as filters of PV and OP.

A D PV = K B D OP + C e, sampled: the process K B/A of the plant behind its dead time, OP that moves evenly between two
samples and is held at the controller's scans, a load of first order (D) at the process's input, and white noise of the
sensor. All are rational at the samples, however many scans lie between two of them.
"""

from __future__ import annotations

from cmath import sqrt
from collections.abc import Sequence
from functools import lru_cache
from math import exp, log
from typing import NamedTuple

import numpy as np

from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize, discretize_with_dead_time

_MOST_POLE = 0.9995  # of the load, a sample
_TAPS = 4  # of a process at the samples, the order of A and what its dead time leaves of an interval
ONE = np.ones(1)
_THIRDS = (1.0, complex(-0.5, 0.75**0.5), complex(-0.5, -(0.75**0.5)))  # of a turn, on the unit circle


class Filters(NamedTuple):
    """Numerators for PV, (4,), and for OP of `late` samples ago, (5,), and C, (4,), that divides both: in 1/z."""

    pv: Floats
    op: Floats
    late: int
    colour: Floats

    def of_pv(self, pv: Floats) -> Floats:
        """(n,) of PV, from rest."""
        return filtered(self.pv, self.colour, pv)

    def of_op(self, op: Floats) -> Floats:
        """(..., n) of OP, from rest."""
        return self.later(filtered(self.op, self.colour, op))

    def of_both(self, pv: Floats, op: Floats) -> Floats:
        """(2, n) of PV and of OP, (n,) each, from rest."""
        return filtered(ONE, self.colour, np.array((np.convolve(pv, self.pv)[:len(pv)], _late(op, self.op, self.late))))

    def later(self, op: Floats) -> Floats:
        """(..., n) of OP, `late` samples later."""
        late, n = min(self.late, op.shape[-1]), op.shape[-1]
        felt = np.zeros_like(op)
        felt[..., late:] = op[..., :n - late]
        return felt


def filtered(by: Floats, colour: Floats, signal: Floats) -> Floats:
    """(..., n) a signal, from rest, by one polynomial of 1/z over another."""
    from scipy.signal import lfilter

    return np.asarray(lfilter(by, colour, signal))


def _late(op: Floats, by: Floats, late: int) -> Floats:
    """(n,) of OP, (n,), a polynomial of 1/z, so many samples later."""
    late, felt = min(late, len(op)), np.zeros(len(op))
    felt[late:] = np.convolve(op, by)[:len(op) - late]
    return felt


class Sampled(NamedTuple):
    """A, (3,), and B, (4,), of a process at the samples, for OP of `late` samples ago; part: of `discretize`."""

    pv: Floats
    op: Floats
    late: int
    part: tuple[float, ...]

    def of_op(self, op: Floats) -> Floats:
        """(n,) B of OP, from rest."""
        return _late(op, self.op, self.late)

    def coloured(self, process: ProcessSpec, interval: float, noise: Floats) -> tuple[float, Floats]:
        """The load's pole, a sample, and C, (4,)."""
        pole = pole_of(noise)
        return pole, _colour(self.part, pole, ratio(process, interval, noise))


@lru_cache
def sampled(process: ProcessSpec, interval: float, parts: int) -> Sampled:
    """Of a process at samples, of so many scans an interval, s."""
    part = discretize(process, interval)
    late, rest = divmod(int(process.dead_time * parts / interval + 1e-9) + 1, parts)
    return Sampled(np.array((1.0, -part[0] - part[2], part[0] * part[2])),
                   _at_samples(discretize_with_dead_time(process, interval / parts), parts, rest), late, part)


def filters(process: ProcessSpec, interval: float, parts: int, noise: Floats) -> Filters:
    """Of a process and what the parameters of the noise, (2,), say of it; parts: scans an interval, s.

    noise: the logit of the load's pole, and the logarithm of its size, as in `ratio`.
    """
    of = sampled(process, interval, parts)
    pole, colour = of.coloured(process, interval, noise)
    (_, a1, a2), (b0, b1, b2, b3) = of.pv.tolist(), of.op.tolist()
    return Filters(np.array((1.0, a1 - pole, a2 - pole * a1, -pole * a2)),
                   np.array((b0, b1 - pole * b0, b2 - pole * b1, b3 - pole * b2, -pole * b3)), of.late, colour)


def turned(of: Sequence[Filters], pv: Floats, op: Floats) -> tuple[Floats, Floats]:
    """(K, n) each: what K filters make of PV and OP, (n,), that are all so near the first that they are one in C's.

    That is to first order in what C differs by, and exact in all else.
    """
    colours = np.array([one.colour for one in of]) - of[0].colour
    seen, moved = filtered(ONE, of[0].colour, np.array((pv, op)))
    y, felt = (np.array(tops) @ _lags(signal, len(tops[0])) for tops, signal in (
        ([one.pv for one in of], seen), ([one.op for one in of], moved)))
    u = np.array([one.later(row) for one, row in zip(of, felt, strict=True)])
    for signals, again in zip((y, u), filtered(ONE, of[0].colour, np.array((y[0], u[0]))), strict=True):
        signals[1:] -= colours[1:] @ _lags(again, colours.shape[1])
    return y, u


def _lags(signal: Floats, count: int) -> Floats:
    """(count, n) a signal, (n,), now, a sample ago, .."""
    lags, n = np.zeros((count, len(signal))), len(signal)
    for k in range(min(count, n)):
        lags[k, k:] = signal[:n - k]
    return lags


@lru_cache
def _at_samples(weights: tuple[float, ...], parts: int, rest: int) -> Floats:
    """B at the samples, (4,); A is that of the process over an interval. rest: of the dead time, scans."""
    p11, p21, p22, new1, new2, old1, old2 = weights
    top = np.array((new2, old2 + p21 * new1 - p11 * new2, p21 * old1 - p11 * old2))
    # 1 / (1 - p/z) at the scans is a sum of powers over the same at the samples.
    powers = np.arange(parts)
    for part in ((p11**powers,) if p11 else ()) + (p22**powers, _evenly(parts)):
        top = np.convolve(top, part)
    taps = np.zeros(_TAPS)
    found = top[parts - 1 - rest::parts]
    taps[:len(found)] = found
    return taps


@lru_cache
def _evenly(parts: int) -> Floats:
    """What a sample of OP is in the scans before and after it."""
    return np.convolve(np.ones(parts), np.ones(parts)) / parts


@lru_cache
def _colour(transition: tuple[float, ...], pole: float, ratio: float) -> Floats:
    """C of the load and the sensor's noise together.

    It is the factor of their spectrum that has its zeros within the unit circle (Astrom, 1970, section 4.3). Each root
    of the spectrum tells one zero: this keeps those near 1 apart from their mirror images.
    """
    s0, s1, s2, s3 = _spectrum(transition, pole, ratio)
    zeros = []
    for inverse in _roots(s1 / s0, s2 / s0, s3 / s0):
        root = sqrt(1.0 - 4.0 * inverse)
        zeros.append((root - 1.0) / (root + 1.0))
    a, b, c = zeros
    return np.array((1.0, -(a + b + c).real, (a * b + a * c + b * c).real, -(a * b * c).real))


def _spectrum(transition: tuple[float, ...], pole: float, ratio: float) -> tuple[float, float, float, float]:
    """Of the load and the sensor's noise together, by powers of q = 2 - z - 1/z, the sensor's having a variance of 1.
    """
    p11, p21, p22, b1, b2 = transition
    power, late = ratio**2 * (1.0 - pole * pole), p21 * b1 - p11 * b2
    s0, s1, s2, s3 = 1.0, 0.0, 0.0, 0.0
    for p in (p11, p22, pole):
        still = (1.0 - p)**2
        s0, s1, s2, s3 = still * s0, still * s1 + p * s0, still * s2 + p * s1, still * s3 + p * s2
    return s0 + power * (b2 + late)**2, s1 - power * b2 * late, s2, s3


def share(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Of the variance of the errors, what the sensor's noise has of its own: by what the spectrum is at its upper end.
    """
    part, pole, size = discretize(process, h), pole_of(noise), ratio(process, h, noise)
    s0, s1, s2, s3 = _spectrum(part, pole, size)
    c0, c1, c2, c3 = _colour(part, pole, size).tolist()
    return float((c0 - c1 + c2 - c3)**2 / (s0 + 4.0 * s1 + 16.0 * s2 + 64.0 * s3))


def _roots(a: float, b: float, c: float) -> tuple[complex, complex, complex]:
    """Of x^3 + a x^2 + b x + c: the largest by the formula of Cardano (1545), the others, however small, by what it
    leaves of the polynomial.
    """
    p, q = b - a * a / 3.0, (2.0 * a * a - 9.0 * b) * a / 27.0 + c
    apart = sqrt(q * q / 4.0 + p**3 / 27.0)
    cube = max(-q / 2.0 + apart, -q / 2.0 - apart, key=abs) ** (1.0 / 3.0)
    parts = [cube * turn for turn in _THIRDS] if cube else [0j]
    x = max((part - (p / (3.0 * part) if part else 0.0) - a / 3.0 for part in parts), key=abs)
    for _ in range(2):  # Newton's
        slope = (3.0 * x + 2.0 * a) * x + b
        x -= (((x + a) * x + b) * x + c) / slope if slope else 0.0
    if not x:
        return 0j, 0j, 0j
    product = -c / x
    total = (b - product) / x
    apart = sqrt(total * total - 4.0 * product)
    larger = max(total + apart, total - apart, key=abs) / 2.0
    return x, larger, product / larger if larger else 0j


def pole_of(noise: Floats) -> float:
    """That of the load, a sample, from its logit."""
    return _MOST_POLE / (1.0 + exp(-min(max(float(noise[0]), -10.0), 10.0)))


def slowness(pole: float) -> float:
    """The logit of the load's pole, a sample, as it stands in the noise."""
    return log(max(pole, 1e-4)) - log(max(_MOST_POLE - pole, 1e-4))


def ratio(process: ProcessSpec, h: float, noise: Floats) -> float:
    """Sigma of the load, by what it would lastingly do to PV (of an integrator in 100 samples), over the noise's."""
    lasting = abs(process.gain) * (100.0 * h if process.model == "integrator" else 1.0)
    return exp(min(max(float(noise[1]), -10.0), 10.0)) / max(lasting, 1e-9)
