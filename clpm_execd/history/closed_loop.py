"""Controller and process together, from a record slower than the controller's scan.

Between two samples the controller scanned several times, each time with a PV that is not in the record: no sum over
the recorded errors is the integral that it made. So the loop is written down at its scans and seen at the samples, and
its likelihood is that of a Kalman filter's innovations (Ljung, 1999, section 13.5, joint input-output identification).
For each dead time Fisher's scoring climbs it, from either of the lags that the process and the load may have taken
from each other, and with a derivative where that is plainly likelier. Deviations are Fisher's or White's (1982), which
hold where the model is not quite the plant's, whichever are wider: the latter come out too small of a short record
(Kauermann and Carroll, 2001). Intervals hold 90 % of the likelihood over all dead times (Tierney and Kadane, 1986). A
loop that explains its record worse than a plain regression does is none of these, and is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np

from clpm_execd.history.between_samples import FILTER
from clpm_execd.history.controller_law import SCAN, PidLaw, long_run
from clpm_execd.history.likelihood import Found, Likelihood
from clpm_execd.history.prediction import LOOSE, LOOSE_DELAY
from clpm_execd.history.process_law import ProcessLaw, halved, most_doubtful, quantiles
from clpm_execd.history.signals import Signals
from clpm_execd.plant.block import Floats
from clpm_execd.plant.loop import ProcessSpec

_LEAST = 200  # samples
_CLIMBS, _TRIES = 20, 6
_SHORTER, _LONGER = 0.3, 2.0  # times the longest step, after one that led nowhere or did not
_AS_EXPECTED = 0.5  # of the gain by a step: with less the next is damped as much
_ENOUGH = 0.05  # of the likelihood's logarithm, doubled: a smaller gain ends the climb
_ROUGHLY = 1.0  # as much, where a climb begins that is not the last
_NEAR = 1.0  # as much, gained by a step that hardly moves
_FAR = 0.03  # as much, of what a place is less likely than one that is known
_ANY = 4.0  # sigma of the logarithms of which nothing is known
_PLAINLY = 1e-3  # sigma of the weight of SP around a plain one
_PLAIN_WEIGHTS = (1.0, 0.0)  # of SP, that nearly all controllers have
_WEIGHTS = (0.0, 0.25, 0.5, 0.75)  # from which others are looked for
_APART = 0.01  # of two such that are not the same
_DELAYS = (1.0, 0.5, 2.0, 0.25, 3.0, 0.0)  # of the typical dead time, that are tried
_FARTHER = 1.5  # times the longest dead time that was tried, where that is the likeliest
_MOST_DELAYS = 16
_DOUBTFUL = 0.12  # a share of all likelihood that is not left between two dead times
_BLUR = 0.5  # of a scan
_AS_LIKELY = 15.0  # of the same as _ENOUGH: what is less likely by more is not followed
_UNMET = 40.0  # of `at_moves`: a move of SP that is not explained
_SAME = 0.2  # of their deviations: nearer parameters are the same
_BAND = 20  # samples over which scores may depend on each other
_FASTER = (1, 2, 5)  # scans in an interval of no more than SCAN, that are tried
_PLAIN = 0.05  # of the reset: in a shorter interval of such little is hidden between two samples
_SURE = 0.35  # sigma of the logarithm of the gain: above this the record does not tell it
_MORE, _FAR_MORE = 0.2, 0.8  # of the logarithm of the errors' variance over that of a regression's; at first
_NUMBERS = 8  # of a loop without lags and derivative
_DERIVATIVE = 0.15  # of the reset, from which one is looked for that the samples do not show
_SHARES = (1.0, 0.3, 0.1)  # of that, from which it is looked for as well
_HARDLY, _LEAST_SHOWN = 0.02, 0.2  # of a scan: a derivative that does nothing, and the shortest that is looked at
_MOST_SHOWN = 2.0  # of the reset: the longest, at the expected dead time
_PROMISES, _DERIVES = 4.0, 12.0  # of the same as _ENOUGH: so much likelier one must seem to be, and be in the end
_ROUNDING = 0.003  # sigma of a logarithm that is left of rounding


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
    if law.reset[0] <= 0:
        return None
    if signals.interval > SCAN:
        scans = [SCAN, signals.interval] if law.exact else [SCAN]
    elif law.exact or signals.interval < _PLAIN * law.reset[0]:
        return None
    else:
        scans = [signals.interval / parts for parts in _FASTER]
    signs = (1.0, -1.0) if law.hidden else (float(np.sign(law.gain[0])),)
    of = [Likelihood(signals, process, steps, scan, sign, stepped) for scan in scans for sign in signs]
    if of[0].samples < _LEAST:
        return None
    searches = [_search(one, law, process) for one in of]
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


@dataclass(frozen=True, slots=True)
class _Fit:
    """At one dead time, s: parameters as in `Likelihood`, their standard deviations, and the cost.

    That is twice the negative logarithm of their likelihood, and what is typical adds. misfit: White's variances over
    Fisher's.
    """

    delay: float
    values: Floats
    deviations: Floats
    cost: float
    misfit: float = 1.0

    def same(self, other: _Fit) -> bool:
        """Whether both are one likeliest place."""
        return bool((np.abs(self.values - other.values) < _SAME * self.deviations).all())


@dataclass(frozen=True, slots=True)
class _Profile:
    """Fits at several dead times, sorted."""

    fits: list[_Fit]
    of: Likelihood


def _likely(fits: list[tuple[_Search, _Fit]], margin: float) -> list[tuple[_Search, _Fit]]:
    """Those that are nearly as likely as the best, each once."""
    least = min((fit.cost for _, fit in fits), default=inf)
    kept: list[tuple[_Search, _Fit]] = []
    for search, fit in fits:
        if fit.cost < least + margin and not any(search.like(other) and fit.same(known) for other, known in kept):
            kept.append((search, fit))
    return kept


def _followed(begun: Sequence[tuple[_Search, _Fit]]) -> list[tuple[_Search, _Fit]]:
    """These, and moves of SP followed, unless none explains nearly enough."""
    if not any(search.explains(fit, _FAR_MORE) for search, fit in begun):
        return []
    return _likely([side for search, fit in begun for side in search.followed(fit)], _AS_LIKELY)


def _derived(searches: Sequence[_Search], known: Sequence[tuple[_Search, _Fit]], law: PidLaw
             ) -> list[tuple[_Search, _Fit]]:
    """Those with a derivative where that is plainly likelier: looked for from those known, and as a law has it.

    One much longer than the reset, or so short that scans hardly show it, is none.
    """
    least, derivative = min((fit.cost for _, fit in known), default=inf), _DERIVATIVE * law.reset[0]
    starts = [(search, fit.delay, fit.values) for search, fit in known if search.promises(fit)]
    if law.derivative[0] > 0:
        derivative, starts = law.derivative[0], [*starts, *((one, one.expected, one.typical) for one in searches)]
    begun = _likely([search.deriving(delay, values, derivative, least) for search, delay, values in starts],
                    2.0 * _AS_LIKELY)
    sides = _followed([(search, fit) for search, fit in begun
                       if log(_LEAST_SHOWN * search.of.scan) < fit.values[-2] < fit.values[1] + log(_MOST_SHOWN)])
    return sides if min((fit.cost for _, fit in sides), default=inf) < least - _DERIVES else []


def _search(of: Likelihood, law: PidLaw, process: ProcessSpec) -> _Search:
    """Begun with what is typical of the process, and a weight of SP of 1."""
    lags = [log(max(t, 0.1 * of.grid.step)) for t in process.tau]
    if len(lags) == 2:
        lags[1] -= lags[0]
    correlation = max(2.0 * sum(process.tau), 2.0 * of.interval)
    noise = 0.3 * max(float(np.mean([stretch.seen[:, 0].std() for stretch in of.data])), 1e-3)
    typical = [log(abs(law.gain[0])), log(law.reset[0]), log(abs(process.gain)), *lags, log(correlation), log(0.5),
               log(noise), log(0.02), 1.0]
    loose = [_ANY] * 3 + [*LOOSE[:of.lags]] + [_ANY] * 4 + [_PLAINLY]
    return _Search(of, process.dead_time, np.array(typical), np.array(loose))


@dataclass(frozen=True, slots=True)
class _Search:
    """The likeliest parameters of one model of a loop, held to what is typical, each as loosely as it says.

    expected: dead time, s.
    """

    of: Likelihood
    expected: float
    typical: Floats
    loose: Floats

    def like(self, other: _Search) -> bool:
        """Whether it looks for the same."""
        return (self.of.scan, self.of.sign, len(self.typical)) == (other.of.scan, other.of.sign, len(other.typical))

    def begun(self) -> list[_Fit]:
        """At the expected dead time, the likeliest parameters of either side, moves of SP being followed loosely."""
        self.of.anywhen = self.of.moves > 0
        enough = _ROUGHLY if self.of.moves else _ENOUGH  # then they are climbed on
        one = self._tried(self.expected, self.typical, enough=enough)
        if not self.of.lags or not np.isfinite(one.cost):
            return [one]
        k = 3 + self.of.lags  # the load's correlation
        swapped = one.values.copy()
        swapped[3], swapped[k] = swapped[k], swapped[3]
        other = self._tried(one.delay, swapped, one.cost, enough)
        return [one] if abs(other.values[3] - one.values[3]) < 0.1 else [one, other]

    def promises(self, fit: _Fit) -> bool:
        """Whether a derivative would explain more, by the slope of the likelihood where there is none (Rao, 1948)."""
        search, at = self._with_derivative(fit.values, _HARDLY * self.of.scan)
        held = search.loose**-2.0
        held[-2] = 0.0
        try:
            scores, information = self.of.slopes(fit.delay, at, self.of.losses(fit.delay, at))
            uphill, spread = float(scores[:, -2].sum()), np.linalg.inv(information + np.diag(held))[-2, -2]
        except (ValueError, np.linalg.LinAlgError):
            return False
        return uphill < 0.0 and uphill * uphill * spread > _PROMISES

    def deriving(self, delay: float, start: Floats, derivative: float, least: float) -> tuple[_Search, _Fit]:
        """With a derivative, s, or a shorter one, the likeliest parameters from a start on that has none.

        least: as of `_tried`.
        """
        anew = replace(self, of=self.of.anew())
        anew.of.anywhen = anew.of.moves > 0
        starts = [anew._with_derivative(start, share * derivative) for share in _SHARES]
        search, at = min(starts, key=lambda one: one[0]._cost_at(delay, one[1])[0])
        return search, search._tried(delay, at, least)

    def _with_derivative(self, start: Floats, derivative: float) -> tuple[_Search, Floats]:
        last = len(start) - 1
        search = replace(self, typical=np.insert(self.typical, last, log(derivative)),
                         loose=np.insert(self.loose, last, _ANY))
        return search, np.insert(start, last, log(derivative))

    def followed(self, fit: _Fit) -> list[tuple[_Search, _Fit]]:
        """The fit climbed on, moves of SP being followed; its weight a plain one, or else all that are likely."""
        self.of.anywhen = False
        if not self.of.moves:
            return [(self, fit)]
        tried: list[tuple[_Search, _Fit]] = []
        for search, start in self._weighed(fit, _PLAIN_WEIGHTS, _PLAINLY):
            tried.append((search, search._tried(fit.delay, start)))
            if search._at_moves(tried[-1][1]).max() < _UNMET:
                return tried[-1:]
        for search, start in self._weighed(fit, _WEIGHTS, _ANY):
            tried.append((search, search._tried(fit.delay, start, min(known.cost for _, known in tried))))
        search, best = min(tried, key=lambda one: one[1].cost)
        others = [one for one in tried if abs(one[1].values[-1] - best.values[-1]) > _APART]
        return [(search, search._without(best, search._at_moves(best))), *others]

    def _weighed(self, fit: _Fit, weights: Sequence[float], loose: float) -> list[tuple[_Search, Floats]]:
        """Where to begin with each of these weights of SP, held to them so loosely; the likeliest first."""
        starts = [(replace(self, typical=np.append(self.typical[:-1], weight), loose=np.append(self.loose[:-1], loose)),
                   np.append(fit.values[:-1], weight)) for weight in weights]
        return sorted(starts, key=lambda one: one[0]._cost_at(fit.delay, one[1])[0])

    def _without(self, fit: _Fit, lost: Floats) -> _Fit:
        """The fit without those moves of SP that it does not explain."""
        if not (lost > _UNMET).any() or not np.isfinite(fit.cost):
            return fit
        self.of.spoil(lost > _UNMET)
        return self._tried(fit.delay, fit.values)

    def explains(self, fit: _Fit, less: float) -> bool:
        """Whether it explains PV and OP by no more than so much less than a regression does."""
        return self.of.explained(fit.delay, fit.values)[1] < less

    def _at_moves(self, fit: _Fit) -> Floats:
        return self.of.at_moves(fit.delay, fit.values) if np.isfinite(fit.cost) else np.full(self.of.moves, inf)

    def profile(self, side: _Fit, least: float) -> list[_Fit]:
        """The likeliest parameters at all dead times in question, each begun from its neighbours.

        least: cost of the best of all sides, beside which this one may be too unlikely for doubt.
        """
        fits = {side.delay: side}
        about = max(self.expected, self.of.grid.step)
        for factor in _DELAYS:
            self._at(fits, factor * about, least)
        while len(fits) < _MOST_DELAYS and min(fits, key=lambda delay: fits[delay].cost) == max(fits):
            self._at(fits, _FARTHER * max(fits), least)
        while len(fits) < _MOST_DELAYS:
            costs = {delay: fit.cost for delay, fit in fits.items()}
            doubtful = _DOUBTFUL * exp(max(min(costs.values()) - least, 0.0) / 2.0)
            halfway = most_doubtful(costs, _BLUR * self.of.scan, doubtful)
            if halfway is None:
                break
            self._at(fits, halfway, least)
        return [fits[delay] for delay in sorted(fits) if np.isfinite(fits[delay].cost)]

    def _at(self, fits: dict[float, _Fit], delay: float, least: float) -> None:
        if delay not in fits:
            known = sorted((fit for fit in fits.values() if np.isfinite(fit.cost)), key=lambda fit: fit.delay)
            delays = [fit.delay for fit in known]
            start = [np.interp(delay, delays, values) for values in np.array([fit.values for fit in known]).T]
            fits[delay] = self._tried(delay, np.array(start), min(least, *(fit.cost for fit in known)))

    def _tried(self, delay: float, start: Floats, least: float = inf, enough: float = _ENOUGH) -> _Fit:
        """The likeliest parameters from a start on; a fit that costs infinitely much where there are none.

        least: cost of a fit that is known, beside which this one may be too unlikely to be looked for closely.
        """
        try:
            return self._climbed(delay, start, least, enough)
        except (ValueError, np.linalg.LinAlgError):
            return self._none(delay, start)

    def _none(self, delay: float, start: Floats) -> _Fit:
        return _Fit(delay, start, np.full(len(start), inf), inf)

    def _climbed(self, delay: float, start: Floats, least: float, enough: float) -> _Fit:
        prior = np.diag(1.0 / self.loose**2)
        at, damp, reach = start, 1e-3, 1.0
        cost, found = self._cost_at(delay, at)
        if found is None:
            return self._none(delay, start)
        for _ in range(_CLIMBS):
            little = max(enough, _FAR * (cost - least))
            scores, information = self.of.slopes(delay, at, found)
            information += prior
            uphill = scores.sum(axis=0) + prior @ (at - self.typical)
            if uphill @ np.linalg.solve(information, uphill) < little:
                break
            before, expected = cost, inf
            for _ in range(_TRIES):
                step = np.linalg.solve(information + damp * np.diag(np.diag(information)), uphill)
                step *= min(1.0, reach / float(np.abs(step).max()))
                there = at - step
                less, tried = self._cost_at(delay, there)
                if tried is not None and less < cost:
                    expected = float(step @ (2.0 * uphill - information @ step))
                    damp /= 10.0 if cost - less > _AS_EXPECTED * expected else 1.0
                    at, found, cost, reach = there, tried, less, min(1.0, _LONGER * reach)
                    break
                damp *= 10.0
                reach = _SHORTER * float(np.abs(step).max())
            gained = before - cost
            if gained < little or (expected < _NEAR and (gained - expected)**2 < little * expected):
                break  # in the latter case by as little as is left beyond a step that gained what it should
        inverse = np.linalg.inv(information)
        return self._fit(delay, at, cost, np.diag(inverse), np.diag(inverse @ (long_run(scores, _BAND) + prior)
                                                                    @ inverse))

    def _cost_at(self, delay: float, at: Floats) -> tuple[float, Found | None]:
        """What these parameters cost, infinitely much where they have no filter, and what was found."""
        try:
            found = self.of.losses(delay, at)
        except (ValueError, np.linalg.LinAlgError):
            return inf, None
        late = log((delay + self.of.interval) / (self.expected + self.of.interval)) / LOOSE_DELAY
        spoilt = sum(int(stretch.spoilt.sum()) for stretch in self.of.data) * _UNMET / 2.0
        cost = float(found.losses.sum() + (((at - self.typical) / self.loose) ** 2).sum()) + late * late + spoilt
        return (cost, found) if np.isfinite(cost) else (inf, None)

    def _fit(self, delay: float, at: Floats, cost: float, fisher: Floats, white: Floats) -> _Fit:
        """From the variances of both."""
        deviations = np.sqrt(np.maximum(fisher, white))
        deviations[:2] = np.hypot(deviations[:2], _ROUNDING)
        k = 3 + self.of.lags
        return _Fit(delay, at, deviations, cost, float(np.mean(white[:k] / fisher[:k])))


def _told(sides: Sequence[tuple[_Search, _Fit]]) -> _Told | None:
    """What these and their profiles tell; None where there are none."""
    least = min((fit.cost for _, fit in sides), default=inf)
    return _Told([_Profile(search.profile(fit, least), search.of) for search, fit in sides]) if sides else None


class _Told:
    """What profiles are, weighed by their likelihood; that counts as much less as the model is not the plant's."""

    def __init__(self, profiles: Sequence[_Profile]) -> None:
        best = min(profiles, key=lambda profile: min(fit.cost for fit in profile.fits))
        self.of, self.best = best.of, min(best.fits, key=lambda fit: fit.cost)
        fits = [fit for profile in profiles for fit in profile.fits]
        self.values = np.array([fit.values for fit in fits])
        self.deviations = np.array([fit.deviations for fit in fits])
        self.delays = np.array([fit.delay for fit in fits])
        costs = np.array([fit.cost for fit in fits])
        chance = np.exp(np.maximum((costs.min() - costs) / 2.0 / max(1.0, self.best.misfit), -700.0))
        chance *= np.concatenate([halved(np.diff([fit.delay for fit in profile.fits])) for profile in profiles])
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
        early, late = quantiles(self.delays, np.full(len(self.delays), _BLUR * self.of.scan), self.chance)
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
