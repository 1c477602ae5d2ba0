"""The Kalman likelihood of a loop is that of the joint normal distribution of its samples, computed otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from clpm_execd.identification.closed_loop.state_space import Cycle, Grid, KalmanFilter, LoopParameters, make_models
from clpm_execd.plant.specs import ProcessSpec

SAMPLES = 40
PROCESSES = [ProcessSpec(model="fopdt", gain=1.2, tau=(30.0,), dead_time=7.0),
             ProcessSpec(model="integrator", gain=0.01, tau=(), dead_time=4.0),
             ProcessSpec(model="sopdt", gain=1.4, tau=(90.0, 30.0), dead_time=12.0)]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.model)
@pytest.mark.parametrize(("derivative", "cycles"), [
    (0.0, ()), (6.0, ()), (0.0, (Cycle(60.0, 300.0, 4.0), Cycle(20.0, 40.0, 1.0)))])
def test_the_likelihood_is_that_of_the_joint_normal_distribution(process: ProcessSpec, derivative: float,
                                                                 cycles: tuple[Cycle, ...]) -> None:
    loop = LoopParameters(gain=0.8, reset=40.0, weight=1.0, process=process, correlation=25.0, load=6.0, op_noise=0.5,
                          derivative=derivative, cycles=cycles)
    model = make_models([loop], Grid(1.0, 5, 1.0, rounding=0.1))[0]
    kalman_filter = KalmanFilter([model])
    transition, observation, load, noise = model.transition, model.observation, model.state_cov, model.obs_cov

    # The steady state by SciPy's solver of the Riccati equation, and the covariance of all samples at once.
    state = solve_discrete_are(transition.T, observation.T, load, noise)
    assert kalman_filter.innovation_cov[0] == pytest.approx(observation @ state @ observation.T + noise, rel=1e-6)
    joint = np.zeros((SAMPLES, 2, SAMPLES, 2))
    for t in range(SAMPLES):
        joint[t, :, t] = observation @ state @ observation.T + noise
        cross_cov = transition @ state @ observation.T
        for later in range(t + 1, SAMPLES):
            joint[later, :, t] = observation @ cross_cov
            joint[t, :, later] = joint[later, :, t].T
            cross_cov = transition @ cross_cov
        state = transition @ state @ transition.T + load
    joint = joint.reshape(2 * SAMPLES, 2 * SAMPLES)

    # PV is also an input of the model. Its effect is added to the samples, which the filter then subtracts.
    samples = np.random.default_rng(1).multivariate_normal(np.zeros(2 * SAMPLES), joint)
    pv_and_memory = samples.reshape(SAMPLES, 2).copy()
    z = np.zeros(len(transition))
    for t in range(SAMPLES):
        pv_and_memory[t] += observation @ z
        z = transition @ z + model.input_matrix[:, 0] * pv_and_memory[t, 0]
    from scipy.stats import multivariate_normal  # takes half a second, which the collection of all tests does not need

    innovations = pv_and_memory - kalman_filter.predict(np.hstack([pv_and_memory, np.zeros((SAMPLES, 1))])[None])[0]
    likelihood = multivariate_normal.logpdf(innovations, cov=kalman_filter.innovation_cov[0]).sum()
    assert likelihood == pytest.approx(multivariate_normal.logpdf(samples, cov=joint), rel=1e-7)


def test_a_periodic_load_has_its_standard_deviation_and_its_period() -> None:
    cycle = Cycle(period=60.0, memory=300.0, load=4.0)
    loop = LoopParameters(gain=0.8, reset=40.0, weight=1.0, process=PROCESSES[0], correlation=25.0, load=6.0,
                          op_noise=0.5, cycles=(cycle,))
    model = make_models([loop], Grid(1.0, 5, 1.0))[0]
    turn, covariance = model.transition[-2:, -2:], model.state_cov[-2:, -2:]
    stationary = np.linalg.solve(np.eye(4) - np.kron(turn, turn), covariance.ravel()).reshape(2, 2)
    assert stationary[0, 0] ** 0.5 == pytest.approx(4.0, rel=0.02)
    over_a_period = np.linalg.matrix_power(turn, 12)  # of five steps each
    assert over_a_period == pytest.approx(np.exp(-60.0 / 300.0) * np.eye(2), abs=1e-9)
