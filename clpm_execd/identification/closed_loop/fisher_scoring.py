"""The likeliest parameters of a loop that is written down at its scans, by dead time.

Fisher's scoring climbs the likelihood with steps that are damped (Levenberg, 1944; Marquardt, 1963) and shortened until
they lead up: a climb ends where nothing near is likelier. It is begun from either of the lags that the process and the
load may have taken from each other, and from several weights of SP where no plain one explains its moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np

from clpm_execd.identification.closed_loop.likelihood import Found, Likelihood
from clpm_execd.identification.pid_regression import PidLaw, long_run
from clpm_execd.identification.process.dead_time_profile import most_doubtful
from clpm_execd.identification.process.prediction_error import LOOSE, LOOSE_DELAY
from clpm_execd.plant.block import Floats
from clpm_execd.plant.specs import ProcessSpec

_CLIMBS, _TRIES = 20, 6
_SHORTER, _LONGER = 0.3, 2.0  # times the longest step, after one that led nowhere, after one that did not
_AS_EXPECTED = 0.5  # of the gain by a step: with less the next is damped as much
_ENOUGH = 0.05  # of the likelihood's logarithm, doubled: a smaller gain ends the climb
_ROUGHLY = 1.0  # as much, where a climb begins that is not the last
_NEAR = 1.0  # as much, gained by a step that hardly moves
_FAR = 0.03  # of what a place is less likely than one that is known: a smaller gain ends the climb there
_FARTHEST, _HOPELESS = 0.3, 40.0  # the same at a dead time that is so much less likely
_ANY = 4.0  # sigma of the logarithms of which nothing is known
_PLAINLY = 1e-3  # sigma of the weight of SP around a plain one
_PLAIN_WEIGHTS = (1.0, 0.0)  # of SP, that nearly all controllers have
_WEIGHTS = (0.0, 0.25, 0.5, 0.75)  # from which others are looked for
_APART = 0.01  # of two such that are not the same
_DELAYS = (1.0, 0.5, 2.0, 0.25, 3.0, 0.0)  # of the typical dead time, that are tried
_FARTHER = 1.5  # times the longest dead time that was tried, where that is the likeliest
_MOST_DELAYS = 16
_DOUBTFUL = 0.12  # a share of all likelihood that is not left between two dead times
BLUR = 0.5  # of a scan
_UNMET = 40.0  # of `at_moves`: a move of SP that is not explained
_SAME = 0.2  # of their deviations: nearer parameters are the same
_BAND = 20  # samples over which scores may depend on each other
_SHARES = (1.0, 0.3, 0.1)  # of a derivative that is expected, from which it is looked for
_HARDLY = 0.02  # of a scan: a derivative that does nothing
_PROMISES = 4.0  # of the likelihood's logarithm, doubled: so much likelier a derivative must seem to make a loop
_ROUNDING = 0.003  # sigma of a logarithm that is left of rounding


@dataclass(frozen=True, slots=True)
class Fit:
    """At one dead time, s: parameters as in `Likelihood`, their standard deviations, and the cost.

    That is twice the negative logarithm of their likelihood, and what is typical adds. misfit: White's variances over
    Fisher's.
    """

    delay: float
    values: Floats
    deviations: Floats
    cost: float
    misfit: float = 1.0

    def same(self, other: Fit) -> bool:
        """Whether both are one likeliest place."""
        return bool((np.abs(self.values - other.values) < _SAME * self.deviations).all())


@dataclass(frozen=True, slots=True)
class Search:
    """The likeliest parameters of one model of a loop, held to what is typical, each as loosely as it says.

    expected: dead time, s.
    """

    of: Likelihood
    expected: float
    typical: Floats
    loose: Floats

    def like(self, other: Search) -> bool:
        """Whether it looks for the same."""
        return (self.of.scan, self.of.sign, len(self.typical)) == (other.of.scan, other.of.sign, len(other.typical))

    def begun(self) -> list[Fit]:
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

    def promises(self, fit: Fit) -> bool:
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

    def deriving(self, delay: float, start: Floats, derivative: float, least: float) -> tuple[Search, Fit]:
        """With a derivative, s, or a shorter one, the likeliest parameters from a start on that has none.

        least: as of `_tried`.
        """
        anew = replace(self, of=self.of.anew())
        anew.of.anywhen = anew.of.moves > 0
        starts = [anew._with_derivative(start, share * derivative) for share in _SHARES]
        search, at = min(starts, key=lambda one: one[0]._cost_at(delay, one[1])[0])
        return search, search._tried(delay, at, least)

    def _with_derivative(self, start: Floats, derivative: float) -> tuple[Search, Floats]:
        last = len(start) - 1
        search = replace(self, typical=np.insert(self.typical, last, log(derivative)),
                         loose=np.insert(self.loose, last, _ANY))
        return search, np.insert(start, last, log(derivative))

    def followed(self, fit: Fit) -> list[tuple[Search, Fit]]:
        """The fit climbed on, moves of SP being followed; its weight a plain one, or else all that are likely."""
        self.of.anywhen = False
        if not self.of.moves:
            return [(self, fit)]
        tried: list[tuple[Search, Fit]] = []
        for search, start in self._weighed(fit, _PLAIN_WEIGHTS, _PLAINLY):
            tried.append((search, search._tried(fit.delay, start)))
            if search._at_moves(tried[-1][1]).max() < _UNMET:
                return tried[-1:]
        for search, start in self._weighed(fit, _WEIGHTS, _ANY):
            tried.append((search, search._tried(fit.delay, start, min(known.cost for _, known in tried))))
        search, best = min(tried, key=lambda one: one[1].cost)
        others = [one for one in tried if abs(one[1].values[-1] - best.values[-1]) > _APART]
        return [(search, search._without(best, search._at_moves(best))), *others]

    def _weighed(self, fit: Fit, weights: Sequence[float], loose: float) -> list[tuple[Search, Floats]]:
        """Where to begin with each of these weights of SP, held to them so loosely; the likeliest first."""
        starts = [(replace(self, typical=np.append(self.typical[:-1], weight), loose=np.append(self.loose[:-1], loose)),
                   np.append(fit.values[:-1], weight)) for weight in weights]
        return sorted(starts, key=lambda one: one[0]._cost_at(fit.delay, one[1])[0])

    def _without(self, fit: Fit, lost: Floats) -> Fit:
        """The fit without those moves of SP that it does not explain."""
        if not (lost > _UNMET).any() or not np.isfinite(fit.cost):
            return fit
        self.of.spoil(lost > _UNMET)
        return self._tried(fit.delay, fit.values)

    def explains(self, fit: Fit, less: float) -> bool:
        """Whether it explains PV and OP by no more than so much less than a regression does."""
        return self.of.explained(fit.delay, fit.values)[1] < less

    def _at_moves(self, fit: Fit) -> Floats:
        return self.of.at_moves(fit.delay, fit.values) if np.isfinite(fit.cost) else np.full(self.of.moves, inf)

    def profile(self, side: Fit, least: float, known: Mapping[float, Fit]) -> dict[float, Fit]:
        """The likeliest parameters at all dead times in question, by dead time, each begun from its neighbours.

        least: cost of the best of all sides, beside which this one may be too unlikely for doubt. known: those of
        another side. None where this one comes to them.
        """
        fits = {side.delay: side}
        about = max(self.expected, self.of.grid.step)
        for factor in _DELAYS:
            self._at(fits, factor * about, least)
            if any(fit.cost < least and fit.same(known[delay]) for delay, fit in fits.items() if delay in known):
                return {}
        while len(fits) < _MOST_DELAYS and min(fits, key=lambda delay: fits[delay].cost) == max(fits):
            self._at(fits, _FARTHER * max(fits), least)
        while len(fits) < _MOST_DELAYS:
            costs = {delay: fit.cost for delay, fit in fits.items()}
            doubtful = _DOUBTFUL * exp(max(min(costs.values()) - least, 0.0) / 2.0)
            halfway = most_doubtful(costs, BLUR * self.of.scan, doubtful)
            if halfway is None:
                break
            self._at(fits, halfway, least)
        return {delay: fits[delay] for delay in sorted(fits) if np.isfinite(fits[delay].cost)}

    def _at(self, fits: dict[float, Fit], delay: float, least: float) -> None:
        if delay not in fits:
            known = sorted((fit for fit in fits.values() if np.isfinite(fit.cost)), key=lambda fit: fit.delay)
            delays = [fit.delay for fit in known]
            start = [np.interp(delay, delays, values) for values in np.array([fit.values for fit in known]).T]
            fits[delay] = self._tried(delay, np.array(start), min(least, *(fit.cost for fit in known)), far=_FARTHEST)

    def _tried(self, delay: float, start: Floats, least: float = inf, enough: float = _ENOUGH, far: float = _FAR
               ) -> Fit:
        """The likeliest parameters from a start on; a fit that costs infinitely much where there are none.

        least: cost of a fit that is known, beside which this one may be too unlikely to be looked for closely. far: a
        smaller share of what it is less likely, gained by a step, ends the climb then.
        """
        try:
            return self._climbed(delay, start, least, enough, far)
        except (ValueError, np.linalg.LinAlgError):
            return self._none(delay, start)

    def _none(self, delay: float, start: Floats) -> Fit:
        return Fit(delay, start, np.full(len(start), inf), inf)

    def _climbed(self, delay: float, start: Floats, least: float, enough: float, far: float) -> Fit:
        prior = np.diag(1.0 / self.loose**2)
        at, damp, reach = start, 1e-3, 1.0
        cost, found = self._cost_at(delay, at)
        if found is None:
            return self._none(delay, start)
        for _ in range(_CLIMBS):
            behind = cost - least
            little = max(enough, _FAR * behind, far * behind if behind > _HOPELESS else 0.0)
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

    def _fit(self, delay: float, at: Floats, cost: float, fisher: Floats, white: Floats) -> Fit:
        """From the variances of both."""
        deviations = np.sqrt(np.maximum(fisher, white))
        deviations[:2] = np.hypot(deviations[:2], _ROUNDING)
        k = 3 + self.of.lags
        return Fit(delay, at, deviations, cost, float(np.mean(white[:k] / fisher[:k])))


def search_of(of: Likelihood, law: PidLaw, process: ProcessSpec) -> Search:
    """Begun with what is typical of the process, and a weight of SP of 1."""
    lags = [log(max(t, 0.1 * of.grid.step)) for t in process.tau]
    if len(lags) == 2:
        lags[1] -= lags[0]
    correlation = max(2.0 * sum(process.tau), 2.0 * of.interval)
    noise = 0.3 * max(float(np.mean([stretch.seen[:, 0].std() for stretch in of.data])), 1e-3)
    typical = [log(abs(law.gain[0])), log(law.reset[0]), log(abs(process.gain)), *lags, log(correlation), log(0.5),
               log(noise), log(0.02), 1.0]
    loose = [_ANY] * 3 + [*LOOSE[:of.lags]] + [_ANY] * 4 + [_PLAINLY]
    return Search(of, process.dead_time, np.array(typical), np.array(loose))
