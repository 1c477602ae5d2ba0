"""The Kalman likelihood of a loop is that of the joint normal distribution of its samples, computed otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.stats import multivariate_normal

from clpm_execd.identification.closed_loop.state_space import Filter, Grid, Loop, seen_at_samples
from clpm_execd.plant.specs import ProcessSpec

SAMPLES = 40
PROCESSES = [ProcessSpec(model="fopdt", gain=1.2, tau=(30.0,), dead_time=7.0),
             ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0),
             ProcessSpec(model="sopdt", gain=1.4, tau=(90.0, 30.0), dead_time=12.0)]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.model)
def test_the_likelihood_is_that_of_the_joint_normal_distribution(process: ProcessSpec) -> None:
    loop = Loop(gain=0.8, reset=40.0, weight=1.0, process=process, correlation=25.0, load=0.6, noise=0.1, output=0.05)
    model = seen_at_samples([loop], Grid(1.0, 5, 1.0, False, (0.02, 0.02)))
    of = Filter(model)
    transition, observation = model.onward[0], model.seen
    load, cross, noise = model.load[0], model.cross[0], model.noise[0]

    # The steady state by SciPy's solver of the Riccati equation, and the covariance of all samples at once.
    state = solve_discrete_are(transition.T, observation.T, load, noise, s=cross)
    assert of.spread[0] == pytest.approx(observation @ state @ observation.T + noise, rel=1e-8)
    joint = np.zeros((SAMPLES, 2, SAMPLES, 2))
    for t in range(SAMPLES):
        joint[t, :, t] = observation @ state @ observation.T + noise
        onward = transition @ state @ observation.T + cross
        for later in range(t + 1, SAMPLES):
            joint[later, :, t] = observation @ onward
            joint[t, :, later] = joint[later, :, t].T
            onward = transition @ onward
        state = transition @ state @ transition.T + load
    joint = joint.reshape(2 * SAMPLES, 2 * SAMPLES)

    samples = np.random.default_rng(1).multivariate_normal(np.zeros(2 * SAMPLES), joint)
    pv_and_integral = samples.reshape(SAMPLES, 2)
    innovations = pv_and_integral - of.predicted(np.hstack([pv_and_integral, np.zeros((SAMPLES, 2))])[None])[0]
    likelihood = multivariate_normal.logpdf(innovations, cov=of.spread[0]).sum()
    assert likelihood == pytest.approx(multivariate_normal.logpdf(samples, cov=joint), rel=1e-7)
