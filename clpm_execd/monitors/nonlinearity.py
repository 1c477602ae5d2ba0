"""Stiction by higher-order statistics: is the error non-Gaussian and nonlinear, and how wide is the PV-OP ellipse?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.monitors.signals import Floats, filter_band

NON_GAUSSIAN, NONLINEAR = 0.001, 0.01  # limits of NGI and NLI in the paper of 2006: estimates of 0 scatter by less
LEAST_STICTION_PERCENT = 0.5  # of travel; the papers call less than this negligible

# The paper's estimate of the bicoherence: segments of 64 samples that overlap by half, Hann window, 128 frequencies.
_SEGMENT, _FFT = 64, 128
_MIN_SAMPLES = 1024  # fewer make too few segments; the paper uses 4096
_NORMAL_95 = 1.6449  # quantile of the standard normal distribution
_MAX_CONDITION = 1e12  # of the moments of points that are not all on one line
_TRIMMED_FRACTION = 0.1  # of the bicoherences, at either end, that the robust mean leaves out


@dataclass(frozen=True, slots=True)
class Nonlinearity:
    """Non-Gaussianity index, nonlinearity index, and the frequencies of the highest bicoherence, per sample."""

    ngi: float
    nli: float
    frequencies: tuple[float, float]

    @property
    def is_nonlinear(self) -> bool:
        return self.ngi > NON_GAUSSIAN and self.nli > NONLINEAR


def measure_nonlinearity(error: Floats) -> Nonlinearity:
    """Return the indices of the squared bicoherence; of a record that is too short they are 0.

    Parameters
    ----------
    error : array (T,)
        SP - PV, in any unit; its period should be a few to some thirty samples.

    References
    ----------
    Choudhury, Shah and Thornhill, Diagnosis of poor control-loop performance using higher-order statistics, Automatica
    40, 2004; Choudhury, Shah, Thornhill and Shook, Automatic detection and quantification of stiction in control
    valves, Control Engineering Practice 14, 2006.
    """
    if len(error) < _MIN_SAMPLES or error.std() == 0.0:
        return Nonlinearity(0.0, 0.0, (0.0, 0.0))
    bicoherence, i, j, segments = _estimate_bicoherence(error)
    # The limit that 95 % of Gaussian signals do not exceed: 2 K bic^2 has a chi-square distribution, nearly normal as a
    # mean.
    critical = (_NORMAL_95 + np.sqrt(4.0 * len(bicoherence) - 1.0)) ** 2 / (4.0 * segments * len(bicoherence))
    ngi = float(bicoherence.mean() - critical)
    middle_values = np.sort(bicoherence)[round(_TRIMMED_FRACTION * len(bicoherence)):
                                         round((1.0 - _TRIMMED_FRACTION) * len(bicoherence))]
    highest = int(np.argmax(bicoherence))
    nli = abs(float(bicoherence[highest] - (middle_values.mean() + 2.0 * middle_values.std())))
    return Nonlinearity(ngi, nli, (float(i[highest] / _FFT), float(j[highest] / _FFT)))


def _estimate_bicoherence(x: Floats) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Return the squared bicoherence in the principal domain, its two frequency indices, and the number of segments."""
    x = (x - x.mean()) / x.std()
    starts = np.arange(0, len(x) - _SEGMENT + 1, _SEGMENT // 2)
    segments = x[starts[:, None] + np.arange(_SEGMENT)]
    segments = (segments - segments.mean(axis=1, keepdims=True)) * np.hanning(_SEGMENT)
    spectra = np.fft.fft(segments, _FFT, axis=1)
    i, j = np.triu_indices(_FFT // 2)
    inside = (i > 0) & (2 * i + j <= _FFT) & (i + j < _FFT // 2)  # of the triangle without redundant pairs
    i, j = i[inside], j[inside]
    product, total = spectra[:, i] * spectra[:, j], spectra[:, i + j]
    numerator = np.abs(np.mean(product * np.conj(total), axis=0)) ** 2
    denominator = np.mean(np.abs(product) ** 2, axis=0) * np.mean(np.abs(total) ** 2, axis=0)
    return numerator / np.maximum(denominator, 1e-300), i, j, len(starts)


def measure_apparent_stiction(op: Floats, pv: Floats, period: float) -> float:
    """Return the width of the ellipse through OP and PV in the direction of OP, %; 0 if no ellipse fits.

    Both are filtered to the oscillation first. The ellipse is the one of least squares by Fitzgibbon, Pilu and Fisher
    (IEEE Trans. Pattern Analysis 21, 1999), in the form of Halir and Flusser (1998).

    Parameters
    ----------
    op, pv : array (T,)
        % and % of span.
    period : float
        Period of the oscillation, in samples.
    """
    x, y = (filter_band(signal, 2.0 * period, period / 4.0) for signal in (pv, op))
    if x.std() == 0.0 or y.std() == 0.0:
        return 0.0
    coefficients = _fit_ellipse(x / x.std(), y / y.std())
    if coefficients is None:
        return 0.0
    # Where PV is at its mean, the ellipse a x^2 + b x y + c y^2 + .. has this width in the direction of OP.
    a, b, c, d, e, f = coefficients
    x0, y0 = np.linalg.solve([[2.0 * a, b], [b, 2.0 * c]], [-d, -e])
    level = -(f + (d * x0 + e * y0) / 2.0)
    return float(2.0 * np.sqrt(max(level / c, 0.0)) * y.std())


def _fit_ellipse(x: Floats, y: Floats) -> Floats | None:
    """Return the six coefficients of the ellipse of least squares, or None if there is none."""
    quadratic = np.stack([x * x, x * y, y * y], axis=1)
    linear = np.stack([x, y, np.ones(len(x))], axis=1)
    s1, s2, s3 = quadratic.T @ quadratic, quadratic.T @ linear, linear.T @ linear
    if np.linalg.cond(s3) > _MAX_CONDITION:
        return None
    reduction = -np.linalg.solve(s3, s2.T)
    reduced = s1 + s2 @ reduction
    vectors = np.linalg.eig(np.stack([reduced[2] / 2.0, -reduced[1], reduced[0] / 2.0]))[1].real
    is_ellipse = 4.0 * vectors[0] * vectors[2] - vectors[1] ** 2 > 0.0
    if not is_ellipse.any():
        return None
    first = vectors[:, is_ellipse][:, 0]
    return np.concatenate([first, reduction @ first])
