"""Processes are exact: an open-loop step is the analytic solution to 1e-9 of span.

That holds for every model, for lags that are equal, nearly equal or zero, for every scan, and for dead times that
are no multiple of it. A step shows in PV one scan after `at` + dead time, and no sooner.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from still import move, run, still

from clpm_execd.plant.specs import ProcessSpec

SCANS = [0.1, 1.0, 5.0]
DEAD_TIMES = [0.0, 0.37, 1.0, 2.0, 3.3, 11.75]  # scans
SPAN, STEP, AT, SAMPLES = 200.0, 6.0, 10, 150  # engineering units, %, scans, scans


def analytic(process: ProcessSpec, t: float) -> float:
    """The unit step response at t seconds after the dead time, to fifty digits (Seborg et al., 2016, chapter 5)."""
    if t <= 0:
        return 0.0
    if process.model == "integrator":
        return process.gain * t
    with localcontext() as context:
        context.prec = 50
        time = Decimal(t)
        lags = [Decimal(tau) for tau in process.tau if tau > 0]
        if not lags:
            remainder = Decimal(0)
        elif len(lags) == 1:
            remainder = (-time / lags[0]).exp()
        elif lags[0] == lags[1]:
            remainder = (1 + time / lags[0]) * (-time / lags[0]).exp()
        else:
            one, two = lags
            remainder = (one * (-time / one).exp() - two * (-time / two).exp()) / (one - two)
        return process.gain * float(1 - remainder)


def step_response(process: ProcessSpec, scan: float) -> np.ndarray:
    """PV as a fraction of the span, from balance, after a step of OP at scan AT."""
    loop = still(range=(-50.0, 150.0), sp=50.0, mode="MAN", process=process, moves=(move(AT * scan, op=50.0 + STEP),))
    return (run(loop, SAMPLES, scan).true_pv[:, 0] - 50.0) / SPAN


def expected(process: ProcessSpec, scan: float) -> np.ndarray:
    since = [(k - AT) * scan - process.dead_time for k in range(SAMPLES)]
    return np.array([STEP / 100.0 * analytic(process, t if t > 1e-9 else 0.0) for t in since])


PROCESSES = {
    "first order": ("fopdt", 1.3, (17.0,)),
    "first order, negative gain": ("fopdt", -2.2, (4.0,)),
    "first order, lag far below the scan": ("fopdt", 1.0, (0.03,)),
    "no lag": ("fopdt", 1.0, (0.0,)),
    "second order": ("sopdt", 1.4, (40.0, 9.0)),
    "second order, slower lag last": ("sopdt", 1.4, (9.0, 40.0)),
    "equal lags": ("sopdt", 0.9, (12.0, 12.0)),
    "lags that differ by 1e-3": ("sopdt", 0.9, (12.0, 12.012)),
    "lags that differ by 1e-6": ("sopdt", 0.9, (12.000012, 12.0)),
    "lags that differ by 1e-12": ("sopdt", 0.9, (12.0, 12.0 * (1 + 1e-12))),
    "lags that differ by one digit": ("sopdt", 0.9, (12.0, float(np.nextafter(12.0, 13.0)))),
    "tiny lags nearly equal": ("sopdt", 0.9, (1.000e-6, 0.995e-6)),
    "first lag zero": ("sopdt", 1.1, (0.0, 20.0)),
    "second lag zero": ("sopdt", 1.1, (20.0, 0.0)),
    "integrator": ("integrator", 0.012, ()),
    "emptying integrator": ("integrator", -0.02, ()),
}


@pytest.mark.parametrize("dead", DEAD_TIMES)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("name", PROCESSES)
def test_an_open_loop_step_is_the_analytic_solution(name: str, scan: float, dead: float) -> None:
    model, gain, tau = PROCESSES[name]
    process = ProcessSpec(model=model, gain=gain, tau=tau, dead_time=dead * scan)
    within = expected(process, scan)
    if model == "integrator":  # a vessel fills to the brim and no further
        within = np.clip(within, -0.5, 0.5)
    assert np.abs(step_response(process, scan) - within).max() < 1e-9


@pytest.mark.parametrize("dead", DEAD_TIMES)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("name", ["first order", "no lag", "second order", "integrator"])
def test_a_step_shows_after_its_dead_time_and_within_one_scan(name: str, scan: float, dead: float) -> None:
    model, gain, tau = PROCESSES[name]
    process = ProcessSpec(model=model, gain=gain, tau=tau, dead_time=dead * scan)
    moved = np.flatnonzero(step_response(process, scan) != 0)
    assert AT + dead < moved[0] <= AT + dead + 1


def test_loops_of_unlike_models_and_dead_times_share_a_plant_and_stay_exact() -> None:
    processes = [ProcessSpec(model=model, gain=gain, tau=tau, dead_time=dead)
                 for dead in (0.0, 0.4, 7.0, 30.25) for model, gain, tau in PROCESSES.values()]
    loops = [still(f"L{i}", mode="MAN", process=process, moves=(move(AT, op=50.0 + STEP),))
             for i, process in enumerate(processes)]
    pv = (run(loops, SAMPLES).true_pv - 50.0) / 100.0
    for i, process in enumerate(processes):
        assert np.abs(pv[:, i] - expected(process, 1.0)).max() < 1e-9


def test_a_loop_that_starts_off_its_operating_point_goes_there_by_its_own_dynamics() -> None:
    first = still("FIRST", mode="MAN", pv=60.0, process=ProcessSpec(model="fopdt", tau=(25.0,), dead_time=3.0))
    vessel = still("VESSEL", mode="MAN", pv=60.0, process=ProcessSpec(model="integrator", gain=0.01, tau=()))
    pv = run([first, vessel], 100).true_pv
    assert np.abs(pv[:, 0] - (50.0 + 10.0 * np.exp(-np.arange(100) / 25.0))).max() < 1e-9
    assert np.abs(pv[:, 1] - 60.0).max() < 1e-9
