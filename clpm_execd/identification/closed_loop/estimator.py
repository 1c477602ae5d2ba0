"""Controller and process together, from a record slower than the controller's scan.

Between two samples the controller scanned several times, each time with a PV that is not in the record: no sum over
the recorded errors is the integral that it made. So the loop is written down at its scans and seen at the samples, and
its likelihood is that of a Kalman filter's innovations (Ljung, 1999, section 13.5, joint input-output identification).
It is climbed at each dead time, with a derivative where that is plainly likelier. Deviations are Fisher's or White's
(1982), which hold where the model is not quite the plant's, whichever are wider: the latter come out too small of a
short record (Kauermann and Carroll, 2001). Intervals hold 90 % of the likelihood over all dead times (Tierney and
Kadane, 1986). A loop that explains its record worse than a plain regression does is none of these, and is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log
from typing import NamedTuple

import numpy as np

from clpm_execd.identification.closed_loop.fisher_scoring import BLUR, Fit, Search, search_of
from clpm_execd.identification.closed_loop.likelihood import Likelihood
from clpm_execd.identification.closed_loop.state_space import FILTER
from clpm_execd.identification.loop_data import Signals
from clpm_execd.identification.pid_regression import SCAN, PidLaw
from clpm_execd.identification.process.dead_time_profile import ProcessLaw, halved, quantiles
from clpm_execd.plant.specs import ProcessSpec

_LEAST = 200  # samples
_AS_LIKELY = 15.0  # of the likelihood's logarithm, doubled: what is less likely by more is not followed
_FASTER = (1, 2, 5)  # scans in an interval of no more than SCAN, that are tried
_PLAIN = 0.05  # of the reset: in a shorter interval of such little is hidden between two samples
_SURE = 0.35  # sigma of the logarithm of the gain: above this the record does not tell it
_MORE, _FAR_MORE = 0.2, 0.8  # of the logarithm of the errors' variance over that of a regression's; at first
_NUMBERS = 8  # of a loop without lags and derivative
_DERIVATIVE = 0.15  # of the reset, from which one is looked for that the samples do not show
_LEAST_SHOWN = 0.2  # of a scan: the shortest derivative that is looked at
_MOST_SHOWN = 2.0  # of the reset: the longest, at the expected dead time
_DERIVES = 12.0  # as much: so much likelier a derivative makes a loop


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """The controller's law, the process, the load and the sensor's noise of a loop at its scans.

    load, % of travel, correlation, s, and noise, % of span: sigma of the load, its time, and sigma of the noise, each
    with its interval: value, low, high.
    """

    law: PidLaw
    process: ProcessLaw
    load: tuple[float, float, float]
    correlation: tuple[float, float, float]
    noise: tuple[float, float, float]


def closed_loop(signals: Signals, law: PidLaw, process: ProcessSpec, steps: tuple[float, float],
                stepped: Sequence[int] = ()) -> ClosedLoop | None:
    """A loop whose law, seen at the samples only, is `law`; looked for from this process on.

    steps: of PV and OP, %. stepped: samples at which the load steps. A law that is hidden says where to begin, and not
    which way the controller acts. None where every scan is in the record or what is between two samples matters little,
    where there are too few of them or they do not tell the gain, and where nothing integrates.
    """
    signs = (1.0, -1.0) if law.hidden else (float(np.sign(law.gain[0])),)
    of = [Likelihood(signals, process, steps, scan, sign, stepped)
          for scan in _scans(signals.interval, law) for sign in signs]
    if not of or of[0].samples < _LEAST:
        return None
    searches = [search_of(one, law, process) for one in of]
    begun = _likely([(search, fit) for search in searches for fit in search.begun()], 2.0 * _AS_LIKELY)
    sides = _followed(begun)
    told = _told(_derived(searches, sides or begun, law))
    if told is None or told.derivative > told.best.values[1]:  # longer than the reset none is tuned
        told = _told(sides)
    if told is None:
        return None
    explained, less = told.of.explained(told.best.delay, told.best.values)
    if told.best.deviations[0] > _SURE or not less < _MORE:
        return None
    return told.loop(law if not law.hidden else replace(law, explained=explained))


def _scans(interval: float, law: PidLaw) -> list[float]:
    """Of controllers whose law, at the samples, may be this one."""
    if law.reset[0] <= 0:
        return []
    if interval > SCAN:
        return [SCAN, interval] if law.exact else [SCAN]
    return [] if law.exact or interval < _PLAIN * law.reset[0] else [interval / parts for parts in _FASTER]


class _Profile(NamedTuple):
    """Fits of a search at several dead times, by dead time, sorted."""

    search: Search
    fits: dict[float, Fit]


def _least(fits: Iterable[tuple[Search, Fit]]) -> float:
    """The cost of the likeliest."""
    return min((fit.cost for _, fit in fits), default=inf)


def _likely(fits: list[tuple[Search, Fit]], margin: float) -> list[tuple[Search, Fit]]:
    """Those that are nearly as likely as the best, each once."""
    least = _least(fits)
    kept: list[tuple[Search, Fit]] = []
    for search, fit in fits:
        if fit.cost < least + margin and not any(search.like(other) and fit.same(known) for other, known in kept):
            kept.append((search, fit))
    return kept


def _followed(begun: Sequence[tuple[Search, Fit]]) -> list[tuple[Search, Fit]]:
    """These, and moves of SP followed, unless none explains nearly enough."""
    if not any(search.explains(fit, _FAR_MORE) for search, fit in begun):
        return []
    return _likely([side for search, fit in begun for side in search.followed(fit)], _AS_LIKELY)


def _derived(searches: Sequence[Search], known: Sequence[tuple[Search, Fit]], law: PidLaw
             ) -> list[tuple[Search, Fit]]:
    """Those with a derivative where that is plainly likelier: looked for from those known, and as a law has it.

    One much longer than the reset, or so short that scans hardly show it, is none.
    """
    least, derivative = _least(known), _DERIVATIVE * law.reset[0]
    starts = [(search, fit.delay, fit.values) for search, fit in known if search.promises(fit)]
    if law.derivative[0] > 0:
        derivative, starts = law.derivative[0], [*starts, *((one, one.expected, one.typical) for one in searches)]
    begun = _likely([search.deriving(delay, values, derivative, least) for search, delay, values in starts],
                    2.0 * _AS_LIKELY)
    sides = _followed([(search, fit) for search, fit in begun
                       if log(_LEAST_SHOWN * search.of.scan) < fit.values[-2] < fit.values[1] + log(_MOST_SHOWN)])
    return sides if _least(sides) < least - _DERIVES else []


def _told(sides: Sequence[tuple[Search, Fit]]) -> _Told | None:
    """What these and their profiles tell; None where there are none."""
    least, profiles = _least(sides), list[_Profile]()
    for search, fit in sides:
        known = next((profile.fits for profile in profiles if profile.search.like(search)), {})
        if fits := search.profile(fit, least, known):
            profiles.append(_Profile(search, fits))
    return _Told(profiles) if profiles else None


class _Told:
    """What profiles are, weighed by their likelihood; that counts as much less as the model is not the plant's."""

    def __init__(self, profiles: Sequence[_Profile]) -> None:
        everywhere = [(profile.search, fit) for profile in profiles for fit in profile.fits.values()]
        search, self.best = min(everywhere, key=lambda one: one[1].cost)
        self.of, fits = search.of, [fit for _, fit in everywhere]
        self.values = np.array([fit.values for fit in fits])
        self.deviations = np.array([fit.deviations for fit in fits])
        self.delays = np.array([fit.delay for fit in fits])
        costs = np.array([fit.cost for fit in fits])
        chance = np.exp(np.maximum((costs.min() - costs) / 2.0 / max(1.0, self.best.misfit), -700.0))
        chance *= np.concatenate([halved(np.diff([*profile.fits])) for profile in profiles])
        self.chance = chance / chance.sum()

    @property
    def derivative(self) -> float:
        """Its logarithm."""
        return float(self.best.values[-2]) if len(self.best.values) > _NUMBERS + self.of.lags else -inf

    def loop(self, law: PidLaw) -> ClosedLoop:
        """The law as it is at the scans, and the process."""
        lags, delay = self.of.lags, self.best.delay
        taus = [self._exp(3)] if lags else []
        if lags == 2:
            taus.append(tuple(a * b for a, b in zip(taus[0], self._exp(4), strict=True)))  # type: ignore[arg-type]
        early, late = quantiles(self.delays, np.full(len(self.delays), BLUR * self.of.scan), self.chance)
        apart = self.values[:, 2] - self.chance @ self.values[:, 2]
        relative = float(np.sqrt(self.chance @ (self.deviations[:, 2]**2 + apart**2)))
        return ClosedLoop(
            replace(law, gain=self._signed(0), reset=self._exp(1), weight=self._ends(-1), filter=FILTER, hidden=False,
                    derivative=self._exp(-2) if self.derivative > -inf else (0.0, 0.0, 0.0)),
            ProcessLaw(model=self.of.model, gain=self._signed(2), tau=tuple(taus), relative=relative,
                       dead_time=(delay, max(0.0, min(early, delay)), max(late, delay)),
                       criterion=self.best.cost + (len(self.best.values) + 1) * log(self.of.samples)),
            correlation=self._exp(3 + lags), load=self._exp(4 + lags), noise=self._exp(5 + lags))

    def _ends(self, at: int) -> tuple[float, float, float]:
        value = float(self.best.values[at])
        low, high = quantiles(self.values[:, at], self.deviations[:, at], self.chance)
        return value, min(low, value), max(high, value)

    def _exp(self, at: int) -> tuple[float, float, float]:
        value, low, high = self._ends(at)
        return exp(value), exp(low), exp(high)

    def _signed(self, at: int) -> tuple[float, float, float]:
        value, low, high = self._exp(at)
        return self.of.sign * value, self.of.sign * low, self.of.sign * high
