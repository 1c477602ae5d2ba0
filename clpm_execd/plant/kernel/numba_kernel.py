"""`equations.simulate_scans` as machine code, from the same source and with the same bits (extra `fast`).

What has been compiled once is kept beside the source, or in the user's cache, as numba finds it writable; where
neither is, it is compiled again in each process.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.extending import register_jitable

from clpm_execd.plant.kernel import equations

_INLINED = (equations.ou_step, equations.measure, equations.derivative_action, equations.integrate,
            equations.unsaturated_output, equations.anti_windup_back_calculation, equations.actuator_lag,
            equations.equal_percentage, equations.quick_opening, equations.inner_state_step, equations.output_step)


def _compile() -> Any:
    for function in _INLINED:
        register_jitable(function)
    try:
        return njit(cache=True)(equations.simulate_scans)
    except RuntimeError:  # there is nowhere to cache it
        return njit(equations.simulate_scans)


simulate_scans = _compile()
