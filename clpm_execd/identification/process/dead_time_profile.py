"""The profile of a likelihood over the dead time, which may have several maxima.

The interval of the dead time is that of a likelihood ratio (Venzon and Moolgavkar, 1988).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

_STEPS = (0.1, 0.25, 0.5, 0.8, 1.2, 1.7, 2.3)  # of log(dead time + interval): up to a tenth and ten times the first one
# Drop of twice the log-likelihood to the ends of the interval: the 90 % quantile of chi-squared with two degrees of
# freedom, for dead time and gain together.
_DROP_2LOGL = 4.6
_ABANDON_ABOVE_2LOGL = 15.0  # below the maximum, where a profile ends: e^-7.5 of the likelihood is negligible


class ProfiledFit(Protocol):
    """A fit with its cost, minus twice the log-likelihood."""

    @property
    def cost(self) -> float: ...


AnyFit = TypeVar("AnyFit", bound=ProfiledFit)


def profile_dead_time(fit_at: Callable[[AnyFit, float], AnyFit | None], first: AnyFit, dead_time: float, least: float
                      ) -> tuple[AnyFit, tuple[float, float], list[AnyFit]]:
    """Return the best fit over dead times, the ends of the 90 % interval of the dead time, and the fits within it.

    Dead times are log(dead time + interval), from `least` on. fit_at: the fit at one, from the parameters of another.
    """
    fits = {dead_time: first}
    for sign in (-1.0, 1.0):
        fit: AnyFit | None = first
        for step in _STEPS:
            at = max(dead_time + sign * step, least)
            if fit is None or at in fits or fit.cost > min(one.cost for one in fits.values()) + _ABANDON_ABOVE_2LOGL:
                break
            fit = fit_at(fit, at)
            if fit is not None:
                fits[at] = fit
    best, points = min(fits.values(), key=lambda one: one.cost), sorted(fits)
    roots = np.sqrt([fits[at].cost - best.cost for at in points])
    limit = _DROP_2LOGL**0.5
    inside = np.flatnonzero(roots <= limit)
    ends = []
    for k, outer in ((int(inside[0]), int(inside[0]) - 1), (int(inside[-1]), int(inside[-1]) + 1)):
        end = points[k]
        if 0 <= outer < len(points):
            end += (points[outer] - end) * float((limit - roots[k]) / (roots[outer] - roots[k]))
        ends.append(end)
    return best, (ends[0], ends[1]), [fits[points[k]] for k in inside]
