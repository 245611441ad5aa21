r"""Noise prewhitening from noise scans: coils with independent noise of one standard deviation.

With the covariance of the noise of n samples of all coils and its Cholesky factor,

.. math:: C = \frac1{n - 1} \sum_i \eta_i \eta_i^H = L L^H,

the coils become :math:`\sigma_C L^{-1} s` with :math:`\sigma_C^2 = \mathrm{tr}\,C / c` of c coils,
which keeps their scale (Kellman and McVeigh 2005; Hansen and Kellman 2015). The receiver's
bandwidth makes the noise of the image lines differ from that of the noise scan, by
:math:`r = b\,T / T_\eta` with the dwell times T and the relative bandwidth b of the receiver's
noise, so the standard deviation of their real and imaginary part each is
:math:`\sigma_C / \sqrt{2 r}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECEIVER = 0.793
"""Relative bandwidth of the receiver's noise where the header does not state it."""

ENOUGH = 4
"""Samples of the noise scan per coil that a covariance needs at least."""

CONDITION = 1e6
"""Largest ratio of the powers of independent noise components."""


@dataclass(frozen=True)
class NoiseScan:
    """Noise measured without excitation.

    Attributes:
        lines: arrays (coils, samples).
        ratio: r above: variance of the noise of the noise scan over that of the image lines.
    """

    lines: Sequence[NDArray[Any]]
    ratio: float


@dataclass(frozen=True)
class Whitening:
    """How coils are whitened.

    Attributes:
        matrix: (coils, coils), to be applied to them.
        std: standard deviation of their noise afterwards, of the real and the imaginary part each.
    """

    matrix: NDArray[np.complex128]
    std: float


def whitening(noise: NoiseScan, coils: int) -> tuple[Whitening | None, str]:
    """How a noise scan whitens the coils.

    Args:
        noise: the noise scan.
        coils: number of coils of the image lines.

    Returns:
        The whitening, and why there is none if it is ``None``.
    """
    if not noise.lines:
        return None, ""
    if any(len(line) != coils for line in noise.lines):
        return None, "of other coils"
    samples = np.concatenate([np.asarray(line, np.complex128) for line in noise.lines], axis=1)
    if samples.shape[1] < ENOUGH * coils:
        return None, f"only {samples.shape[1]} samples"
    scale = float(np.abs(samples).max())
    if not np.isfinite(scale) or scale <= 0 or not 1e-3 < noise.ratio < 1e3:
        return None, "values that are not valid"
    samples = samples / scale
    covariance = samples @ samples.conj().T / (samples.shape[1] - 1)
    powers = np.linalg.eigvalsh(covariance)
    if powers[0] <= powers[-1] / CONDITION:
        return None, "coils that are not independent"
    sigma = float(np.sqrt(np.trace(covariance).real / coils))
    matrix = np.asarray(sigma * np.linalg.inv(np.linalg.cholesky(covariance)), np.complex128)
    return Whitening(matrix, scale * sigma / float(np.sqrt(2 * noise.ratio))), ""
