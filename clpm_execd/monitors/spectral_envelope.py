"""The root of an oscillation that many loops share: the loop that contributes most to its spectral envelope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clpm_execd.monitors.signals import Floats

ROOT_CANDIDATE = 1.0  # of the contribution index: the paper's limit
_SMOOTHING_BINS = 5  # frequencies over which the periodogram is averaged


@dataclass(frozen=True, slots=True)
class Envelope:
    """The highest peak of the spectral envelope.

    Attributes
    ----------
    frequency : float
        Per sample.
    power : float
        The fraction of all variance at that frequency.
    contribution : array (N,)
        The oscillation contribution index of each loop; the candidates for the root exceed 1.
    """

    frequency: float
    power: float
    contribution: Floats


def find_envelope_peak(pv: Floats) -> Envelope:
    """Return the strongest oscillation that the loops share, and what each contributes to it.

    The envelope at a frequency is the largest eigenvalue of the spectral density of the standardized signals; its
    eigenvector says by how much each signal takes part.

    Parameters
    ----------
    pv : array (T, N)
        Controlled variables in any units, two loops or more.

    References
    ----------
    Jiang, Choudhury and Shah, Detection and diagnosis of plant-wide oscillations from industrial data using the
    spectral envelope method, J. Process Control 17, 2007.
    """
    deviation = pv.std(axis=0)
    z_scores = (pv - pv.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
    spectra = np.fft.rfft(z_scores * np.hanning(len(pv))[:, None], axis=0)[1:]
    density = np.real(spectra[:, :, None] * np.conj(spectra[:, None, :]))
    kernel = np.full(_SMOOTHING_BINS, 1.0 / _SMOOTHING_BINS)
    flat = density.reshape(len(density), -1)
    smooth: npt.NDArray[np.float64] = np.stack([np.convolve(column, kernel, mode="same") for column in flat.T], axis=1)
    values, vectors = np.linalg.eigh(smooth.reshape(density.shape))
    peak = int(np.argmax(values[:, -1]))
    size = np.abs(vectors[peak, :, -1])
    spread = float(size.std(ddof=1))
    return Envelope((peak + 1) / len(pv), float(values[peak, -1] / values[:, -1].sum()),
                    size / (2.0 * spread) if spread > 0.0 else np.zeros(len(size)))
