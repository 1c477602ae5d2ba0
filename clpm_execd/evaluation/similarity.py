"""Metrics of how similar a simulated loop is to the record it was fitted to.

All metrics compare a pair of signals, (T, 2): PV and OP, at the record's own interval. Distances are in units of the
record's standard deviations. Whether a monitor could distinguish the two is measured by a random forest (Breiman, 2001)
on features of short windows, catch24 (Lubba et al., 2019) among them, cross-validated with complete loops held out: an
AUC of 0.5 means indistinguishable. The novelty ratio shows whether the simulation only replays the record: how far
simulated windows are from the nearest window of the record, over how far held-out real windows are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np
import numpy.typing as npt

from clpm_execd.identification.signal_statistics import autocorrelation, cross_correlation
from clpm_execd.plant.block import Floats

# Short enough that two hours at 10 s give eleven windows, long enough for catch24; a reference distance between two
# halves of 79 real records is known for it (clpm_execd/docs/fitting.md).
WINDOW_SAMPLES = 64
FEATURE_LAGS = 5  # of the cross-correlation among a window's features
SPECTRUM_SAMPLES = 128  # of a segment of Welch's method
# Of a signal's total power: what lies below is noise of the arithmetic, and its logarithm would dominate the distance.
SPECTRUM_FLOOR = 1e-6
_ZERO = 1e-12  # of a signal's size: it is constant but for rounding
_FOLDS = 5  # the usual number (Hastie, Tibshirani and Friedman, 2009, section 7.10)
_TREES = 300  # over eight seeds an AUC of 260 windows varied by 0.015 with 50 trees, by 0.007 with 300 (1 sigma)


@dataclass(frozen=True, slots=True)
class Distances:
    """Distances between two recordings of a loop; 0 is identical.

    Parameters
    ----------
    w1 : float
        Wasserstein distance of the values, in standard deviations; mean of PV and OP.
    acf : float
        Mean absolute difference of the autocorrelations at the lags 1 to 60; mean of PV and OP.
    psd : float
        Mean absolute difference of the decadic logarithms of the spectra; mean of PV and OP.
    ccf : float
        Mean absolute difference of the cross-correlation of OP with PV at the lags -30 to 30.
    """

    w1: float
    acf: float
    psd: float
    ccf: float

    @classmethod
    def median(cls, distances: Sequence[Distances]) -> Distances:
        """Return the median of each distance over several loops."""
        return cls(*(float(np.median([getattr(one, item.name) for one in distances])) for item in fields(cls)))


def measure_distances(record: Floats, other: Floats) -> Distances:
    """Return the distances between a record and another recording of the same loop.

    Parameters
    ----------
    record, other : ndarray, shape (T, 2)
        PV and OP, of any lengths from 8 on. Both are scaled by the record's mean and standard deviation.
    """
    from scipy.stats import wasserstein_distance

    scale = np.where(is_moving(record), record.std(axis=0), 1.0)
    record, other = (record - record.mean(axis=0)) / scale, (other - record.mean(axis=0)) / scale
    both = range(record.shape[1])
    return Distances(
        w1=float(np.mean([wasserstein_distance(record[:, i], other[:, i]) for i in both])),
        acf=float(np.mean([np.abs(autocorrelation(record[:, i]) - autocorrelation(other[:, i])).mean() for i in both])),
        psd=float(np.mean([_spectral_distance(record[:, i], other[:, i]) for i in both])),
        ccf=float(np.abs(cross_correlation(record) - cross_correlation(other)).mean()))


def is_moving(signals: Floats) -> npt.NDArray[np.bool_]:
    """Return (n,) which of the (T, n) signals change at all."""
    return np.asarray(signals.std(axis=0) > _ZERO * np.maximum(np.abs(signals).max(axis=0), 1e-300))


def _spectral_distance(x: Floats, y: Floats) -> float:
    from scipy.signal import welch

    n = min(SPECTRUM_SAMPLES, len(x), len(y))
    (_, a), (_, b) = welch(x, nperseg=n), welch(y, nperseg=n)
    least = SPECTRUM_FLOOR * max(float(a.sum()), _ZERO)
    return float(np.abs(np.log10(a[1:] + least) - np.log10(b[1:] + least)).mean())


def cut_windows(pair: Floats, length: int = WINDOW_SAMPLES, step: int | None = None) -> Floats:
    """Return (W, length, 2) windows of a pair of signals without their means, side by side unless a step is given."""
    if len(pair) < length:
        return np.empty((0, length, pair.shape[1]))
    windows = np.lib.stride_tricks.sliding_window_view(pair, length, axis=0)[::step or length].transpose(0, 2, 1)
    return np.asarray(windows - windows.mean(axis=1, keepdims=True))


def extract_features(windows: Floats) -> Floats:
    """Return (W, F) features of (W, length, 2) windows.

    They are catch24 of PV and of OP, of each the fraction of repeated values and the size of its second difference, and
    their cross-correlation at lags -5 to 5.
    """
    return np.array([_extract_features(window) for window in windows])


def _extract_features(window: Floats) -> list[float]:
    import pycatch22

    features: list[float] = []
    for x in window.T:
        curvature = np.diff(x, 2).std() / x.std() if x.std() > _ZERO else 0.0
        features += [*pycatch22.catch22_all(x.tolist(), catch24=True)["values"], float(np.mean(np.diff(x) == 0)),
                     curvature]
    features += cross_correlation(window, FEATURE_LAGS).tolist()
    return [value if isfinite(value) else 0.0 for value in features]


@dataclass(frozen=True, slots=True)
class WindowScores:
    """How a forest scores W windows that it was not trained on.

    Parameters
    ----------
    scores : ndarray, shape (W,)
        The fraction of the trees that call the window simulated; NaN where no forest was trained.
    is_simulated : ndarray of bool, shape (W,)
        Whether the window is simulated.
    record : ndarray of int, shape (W,)
        The number of the record that the window belongs to.
    """

    scores: Floats
    is_simulated: npt.NDArray[np.bool_]
    record: npt.NDArray[np.intp]

    def auc(self, subset: npt.NDArray[np.bool_] | None = None) -> float:
        """Return the area under the ROC curve, of all windows or of some; NaN where these are of one kind only."""
        from sklearn.metrics import roc_auc_score

        chosen = np.isfinite(self.scores) & (True if subset is None else subset)
        labels = self.is_simulated[chosen]
        return float(roc_auc_score(labels, self.scores[chosen])) if labels.any() and not labels.all() else float("nan")


def discriminator_auc(real: Sequence[Floats], simulated: Sequence[Floats], groups: Sequence[Hashable],
                      length: int = WINDOW_SAMPLES) -> float:
    """Return the AUC of a forest that distinguishes simulated from real windows; see `score_windows`."""
    return score_windows(real, simulated, groups, length).auc()


def score_windows(real: Sequence[Floats], simulated: Sequence[Floats], groups: Sequence[Hashable],
                  length: int = WINDOW_SAMPLES, max_windows: int | None = None) -> WindowScores:
    """Return how random forests score simulated and real windows, cross-validated with complete groups held out.

    Parameters
    ----------
    real, simulated : sequence of R ndarrays, shape (T, 2)
        PV and OP of each record and of its simulation. They are scaled by the record's standard deviations.
    groups : sequence of R hashables
        What is held out together: the loop that a record belongs to. With fewer than two groups no forest is trained.
    length : int
        Of a window, samples.
    max_windows : int, optional
        The most real, and the most simulated, windows of a record. Of each record as many simulated windows are taken
        as there are real ones, spread over its simulation.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    features, labels, record = _label_windows(real, simulated, length, max_windows)
    order = {group: k for k, group in enumerate(dict.fromkeys(groups))}
    group_of_window = np.array([order[group] for group in groups], np.intp)[record]
    folds = min(_FOLDS, len(set(group_of_window.tolist())))
    scores = np.full(len(labels), np.nan)
    if folds >= 2:
        splits = StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(features, labels, group_of_window)
        for train, test in splits:
            forest = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=0, n_jobs=1)
            scores[test] = forest.fit(features[train], labels[train]).predict_proba(features[test])[:, 1]
    return WindowScores(scores, labels == 1, record)


def _label_windows(real: Sequence[Floats], simulated: Sequence[Floats], length: int, max_windows: int | None
                   ) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return of all windows the features, the labels (1 is simulated), and the number of the record."""
    features, labels, numbers = [], [], []
    for number, (record, other) in enumerate(zip(real, simulated, strict=True)):
        scale = np.where(is_moving(record), record.std(axis=0), 1.0)
        real_windows, simulated_windows = cut_windows(record / scale, length), cut_windows(other / scale, length)
        if not len(real_windows) or not len(simulated_windows):
            continue
        count = min(len(real_windows), len(simulated_windows), max_windows or len(real_windows))
        for label, windows in ((0, real_windows), (1, simulated_windows)):
            chosen = windows if label == 0 and max_windows is None else windows[_spread(len(windows), count)]
            features.append(extract_features(chosen))
            labels += [label] * len(chosen)
            numbers += [number] * len(chosen)
    return (np.concatenate(features or [np.empty((0, 1))]), np.array(labels, np.intp), np.array(numbers, np.intp))


def _spread(length: int, count: int) -> npt.NDArray[np.intp]:
    """Return `count` indices of a list, evenly from its first to its last."""
    return np.linspace(0, length - 1, count).astype(np.intp)


def novelty_ratio(record: Floats, simulated: Floats, held_out: Floats) -> float:
    """Return how far simulated windows are from the nearest one of the record, over how far held-out real ones are.

    Well below 1 the simulation only replays the record. Both distances are medians over the windows.

    Parameters
    ----------
    record, simulated, held_out : ndarray, shape (T, 2)
        PV and OP of the record, of its simulation, and of another recording of the same loop.

    Returns
    -------
    float
        NaN where one of the three is shorter than a window, or the record does not move.
    """
    scale = np.where(is_moving(record), record.std(axis=0), 1.0)
    reference = cut_windows(record / scale, WINDOW_SAMPLES, step=1)
    simulated_windows, real_windows = (cut_windows(each / scale, WINDOW_SAMPLES) for each in (simulated, held_out))
    if not len(reference) or not len(simulated_windows) or not len(real_windows):
        return float("nan")
    distance = float(np.median(_nearest_distances(real_windows, reference)))
    return float(np.median(_nearest_distances(simulated_windows, reference))) / distance if distance > _ZERO \
        else float("nan")


def _nearest_distances(windows: Floats, reference: Floats) -> Floats:
    """Return (W,) the Euclidean distance of each window to the nearest one of the reference."""
    a, b = windows.reshape(len(windows), -1), reference.reshape(len(reference), -1)
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)))
