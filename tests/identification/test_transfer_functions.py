"""The filters take a process, its load and its sensor's noise out of a record, and leave white noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clpm_execd.identification.process.transfer_functions import load_to_noise_ratio, make_filters, pole_of
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec
from clpm_execd.plant.stages.process import discretize

pytestmark = pytest.mark.slow

INTERVAL, SAMPLES, QUARTERS = 10.0, 80, 4
OP = np.concatenate([[0.0], np.random.default_rng(1).standard_normal(SAMPLES - 1).cumsum()])
LAGS = st.floats(0.5, 2000.0)
NOISES = st.tuples(st.floats(-8.0, 8.0), st.floats(-6.0, 6.0)).map(np.array)


@st.composite
def processes(draw: st.DrawFn) -> ProcessSpec:
    """Behind a dead time of whole quarters of a scan, whether one, two or ten of them make an interval."""
    lags = draw(st.lists(LAGS, max_size=2))
    model = ("integrator", "fopdt", "sopdt")[len(lags)]
    return ProcessSpec(model=model, gain=1.0, tau=tuple(lags), dead_time=2.5 * draw(st.integers(0, 40)))


def at_samples(process: ProcessSpec, op: Floats, parts: int) -> Floats:
    """Return PV at the samples by quarter scans, for OP that is linear between samples and held at the scans."""
    scans = np.interp(np.arange((len(op) - 1) * parts + 1) / parts, np.arange(len(op)), op)
    held_op = np.repeat(scans, QUARTERS)
    h = INTERVAL / parts / QUARTERS
    late = round(process.dead_time / h)
    p11, p21, p22, b1, b2 = discretize(process, h)
    x1 = x2 = 0.0
    pv = [0.0]
    for k in range(len(held_op) - 1):
        u = held_op[k - late] if k >= late else 0.0
        x1, x2 = p11 * x1 + b1 * u, p21 * x1 + p22 * x2 + b2 * u
        pv.append(x2)
    return np.array(pv)[::QUARTERS * parts]


@given(processes(), NOISES, st.sampled_from((1, 2, 10)))
def test_pv_that_follows_op_is_filtered_to_what_op_is(process: ProcessSpec, noise: Floats, parts: int) -> None:
    of = make_filters(process, INTERVAL, parts, noise)
    y, u = of.of_pv(at_samples(process, OP, parts)), of.of_op(OP)
    assert y == pytest.approx(u, rel=1e-6, abs=1e-7 * max(1.0, np.abs(u).max()))


@given(processes(), NOISES)
def test_colour_has_the_spectrum_of_load_and_noise_and_can_be_inverted(process: ProcessSpec, noise: Floats) -> None:
    of = make_filters(process, INTERVAL, 10, noise)
    p11, p21, p22, b1, b2 = discretize(process, INTERVAL)
    z = np.exp(1j * np.linspace(0.05, np.pi, 40))
    pole = pole_of(noise)
    load = load_to_noise_ratio(process, INTERVAL, noise)**2 * (1.0 - pole**2) * np.abs(b2 * z + p21 * b1 - p11 * b2)**2
    spectrum = load + np.abs((z - p11) * (z - p22) * (z - pole))**2
    ours = np.abs(np.polyval(of.colour, z))**2
    assert ours / ours[-1] == pytest.approx(spectrum / spectrum[-1], rel=1e-7)
    assert np.abs(np.roots(of.colour)).max() < 1.0 + 1e-9


def test_a_dead_time_longer_than_the_record_hears_nothing_of_op() -> None:
    process = ProcessSpec(model="fopdt", gain=1.0, tau=(30.0,), dead_time=20.0 * SAMPLES)
    of = make_filters(process, INTERVAL, 10, np.array([1.0, 0.0]))
    assert not of.of_op(OP).any()
