"""How alike a synthetic loop is to the record it was learned from.

Everything compares a pair of signals, (T, 2): PV and OP, on the record's own grid. Distances are in units of the
record's standard deviations. Whether a monitor could tell the two apart is asked of a random forest (Breiman,
2001) that sees features of short windows, catch24 (Lubba et al., 2019) among them, with whole loops held out: an AUC
of 0.5 is indistinguishable. The copy ratio says whether that was had by replaying: how near synthetic windows lie to
the record, over how near unseen windows of the same loop do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np
import numpy.typing as npt

from clpm_execd.plant.block import Floats

WINDOW = 64
_TINY = 1e-12  # of a signal's size: it does not move
_FOLDS = 5
_TREES = 300


@dataclass(frozen=True, slots=True)
class Distances:
    """Between two stretches of a loop; 0 is the same.

    w1: Wasserstein distance of the values, standard deviations. acf: mean difference of the autocorrelations up to lag
    60. psd: of the decadic logarithms of the spectra. ccf: of the cross-correlation of OP and PV up to lag 30. Of w1,
    acf and psd the mean of PV's and OP's.
    """

    w1: float
    acf: float
    psd: float
    ccf: float

    @classmethod
    def median(cls, of: Sequence[Distances]) -> Distances:
        """The median of each."""
        return cls(*(float(np.median([getattr(one, item.name) for one in of])) for item in fields(cls)))


def distances(record: Floats, other: Floats) -> Distances:
    """Between a record and something else of the same loop, (T, 2) each, of any lengths from 8 on."""
    from scipy.stats import wasserstein_distance

    size = np.where(moves(record), record.std(axis=0), 1.0)
    record, other = (record - record.mean(axis=0)) / size, (other - record.mean(axis=0)) / size
    both = range(record.shape[1])
    return Distances(
        w1=float(np.mean([wasserstein_distance(record[:, i], other[:, i]) for i in both])),
        acf=float(np.mean([np.abs(autocorrelation(record[:, i]) - autocorrelation(other[:, i])).mean() for i in both])),
        psd=float(np.mean([_spectral(record[:, i], other[:, i]) for i in both])),
        ccf=float(np.abs(cross_correlation(record) - cross_correlation(other)).mean()))


def moves(signals: Floats) -> npt.NDArray[np.bool_]:
    """(n,) which of the (T, n) signals change at all."""
    return np.asarray(signals.std(axis=0) > _TINY * np.maximum(np.abs(signals).max(axis=0), 1e-300))


def _unit(x: Floats) -> Floats:
    x = x - x.mean()
    norm = float(np.sqrt(x @ x))
    return x / norm if norm > _TINY else np.zeros(len(x))


def _lagged(x: Floats, y: Floats, lags: int) -> Floats:
    """sum x(t) y(t + k) for k from 0 to lags; nought beyond the overlap."""
    n = len(x)
    return np.array([x[:n - k] @ y[k:] if k < n else 0.0 for k in range(lags + 1)])


def autocorrelation(x: Floats, lags: int = 60) -> Floats:
    """(lags,) from lag 1 on."""
    x = _unit(x)
    return _lagged(x, x, lags)[1:]


def cross_correlation(pair: Floats, lags: int = 30) -> Floats:
    """(2 lags + 1,) of OP with PV, from OP leading to PV leading."""
    pv, op = _unit(pair[:, 0]), _unit(pair[:, 1])
    return np.concatenate([_lagged(op, pv, lags)[:0:-1], _lagged(pv, op, lags)])


def _spectral(x: Floats, y: Floats) -> float:
    from scipy.signal import welch

    n = min(128, len(x), len(y))
    (_, a), (_, b) = welch(x, nperseg=n), welch(y, nperseg=n)
    least = 1e-6 * max(float(a.sum()), _TINY)
    return float(np.abs(np.log10(a[1:] + least) - np.log10(b[1:] + least)).mean())


def windows(pair: Floats, length: int = WINDOW, step: int | None = None) -> Floats:
    """(W, length, 2) the windows of a pair of signals, each without its mean; side by side unless a step is given."""
    if len(pair) < length:
        return np.empty((0, length, pair.shape[1]))
    cut = np.lib.stride_tricks.sliding_window_view(pair, length, axis=0)[::step or length].transpose(0, 2, 1)
    return np.asarray(cut - cut.mean(axis=1, keepdims=True))


def features(cut: Floats) -> Floats:
    """(W, F) what the forest sees of (W, length, 2) windows.

    catch24 of PV and of OP, of each the share of repeated values and the size of its second difference, and their
    cross-correlation at lags -5 to 5.
    """
    return np.array([_features(window) for window in cut])


def _features(window: Floats) -> list[float]:
    import pycatch22

    found: list[float] = []
    for x in window.T:
        bend = np.diff(x, 2).std() / x.std() if x.std() > _TINY else 0.0
        found += [*pycatch22.catch22_all(x.tolist(), catch24=True)["values"], float(np.mean(np.diff(x) == 0)), bend]
    found += cross_correlation(window, 5).tolist()
    return [value if isfinite(value) else 0.0 for value in found]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the forest thinks of W windows that it has not seen.

    scores: (W,) the share of its trees that call it synthetic, NaN where nothing was asked. synthetic: (W,) whether it
    is. record: (W,) the number of the record that it is of.
    """

    scores: Floats
    synthetic: npt.NDArray[np.bool_]
    record: npt.NDArray[np.intp]

    def auc(self, among: npt.NDArray[np.bool_] | None = None) -> float:
        """Of all windows, or of some: how often a synthetic one scores higher than a real one. NaN of one kind only."""
        from sklearn.metrics import roc_auc_score

        chosen = np.isfinite(self.scores) & (True if among is None else among)
        told = self.synthetic[chosen]
        return float(roc_auc_score(told, self.scores[chosen])) if told.any() and not told.all() else float("nan")


def discrimination(real: Sequence[Floats], synthetic: Sequence[Floats], groups: Sequence[Hashable],
                   length: int = WINDOW) -> float:
    """The AUC of a forest that tells synthetic from real windows of R records; see `told_apart`."""
    return told_apart(real, synthetic, groups, length).auc()


def told_apart(real: Sequence[Floats], synthetic: Sequence[Floats], groups: Sequence[Hashable],
               length: int = WINDOW, most: int | None = None) -> Verdicts:
    """A forest's verdicts on synthetic and real windows of R records, whole groups (loops) held out.

    real, synthetic: of each record a pair of signals, (T, 2); groups: (R,) which loop a record is of. Of each record
    as many synthetic windows are taken as it has real ones, spread over all there are; of either at most `most`.
    Signals are in units of the record's standard deviations. Nothing is asked where there are fewer than two groups.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    seen, told, record = _labelled(real, synthetic, length, most)
    order = {group: k for k, group in enumerate(dict.fromkeys(groups))}
    of = np.array([order[group] for group in groups], np.intp)[record]
    folds = min(_FOLDS, len(set(of.tolist())))
    scores = np.full(len(told), np.nan)
    if folds >= 2:
        for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(seen, told, of):
            forest = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=0, n_jobs=1)
            scores[test] = forest.fit(seen[train], told[train]).predict_proba(seen[test])[:, 1]
    return Verdicts(scores, told == 1, record)


def _labelled(real: Sequence[Floats], synthetic: Sequence[Floats], length: int, most: int | None
              ) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Features, whether synthetic, and the number of the record, of all windows."""
    seen, told, of = [], [], []
    for number, (record, other) in enumerate(zip(real, synthetic, strict=True)):
        size = np.where(moves(record), record.std(axis=0), 1.0)
        ours, theirs = windows(record / size, length), windows(other / size, length)
        if not len(ours) or not len(theirs):
            continue
        count = min(len(ours), len(theirs), most or len(ours))
        for label, some in ((0, ours), (1, theirs)):
            cut = some if label == 0 and most is None else some[_spread(len(some), count)]
            seen.append(features(cut))
            told += [label] * len(cut)
            of += [number] * len(cut)
    return np.concatenate(seen or [np.empty((0, 1))]), np.array(told, np.intp), np.array(of, np.intp)


def _spread(length: int, count: int) -> npt.NDArray[np.intp]:
    """So many places of a list, from its first to its last."""
    return np.linspace(0, length - 1, count).astype(np.intp)


def copy_ratio(record: Floats, synthetic: Floats, unseen: Floats, length: int = WINDOW) -> float:
    """How far synthetic windows lie from the nearest of the record, over how far unseen real ones do; medians.

    record, synthetic, unseen: (T, 2). Well below 1 the synthetic loop only replays. NaN where one of them is shorter
    than a window, or the record does not move.
    """
    size = np.where(moves(record), record.std(axis=0), 1.0)
    known = windows(record / size, length, step=1)
    ours, theirs = windows(synthetic / size, length), windows(unseen / size, length)
    if not len(known) or not len(ours) or not len(theirs):
        return float("nan")
    apart = float(np.median(_nearest(theirs, known)))
    return float(np.median(_nearest(ours, known))) / apart if apart > _TINY else float("nan")


def _nearest(cut: Floats, known: Floats) -> Floats:
    """(W,) the distance of each window to the nearest of the known ones."""
    a, b = cut.reshape(len(cut), -1), known.reshape(len(known), -1)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)))
