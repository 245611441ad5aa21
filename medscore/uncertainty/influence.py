r"""Where the data, not the prior, decide: posterior variance against the variance of the prior.

.. math:: I = 1 - \frac{\operatorname{Var}[x \mid y]}{\operatorname{Var}[\Phi(\bar x + \rho z)]}

for each pixel, where :math:`\bar x` is the mean of the posterior samples and :math:`\Phi` the
probability flow of the prior from the noise level :math:`\rho` to none. The denominator is the
variance of the prior about the reconstruction: so much noise is added that all details are lost,
and the prior puts others in their place (SDEdit, Meng et al. 2022, by the flow). Samples of the
prior alone would show other patients, and every measurement would seem decisive. I is 1 where the
data decide, and 0 where the prior does. For a Gaussian prior of covariance C the denominator is
exactly the diagonal of :math:`(C^{-1} + \rho^{-2} I)^{-1}`, which is the variance of the prior
given a picture of the image with noise :math:`\rho`, and approaches that of C as the noise grows.
Variances of few samples vary by themselves, so that numerator and denominator are averaged over
some pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

RATIO = 1.0
"""rho, relative to the range of the prior."""

WINDOW = 1.5
"""Standard deviation in pixels of the Gaussian over which variances are averaged."""


def influence(
    posterior: NDArray[Any], prior: NDArray[Any], window: float = WINDOW
) -> NDArray[np.float32]:
    """The influence of the data on each pixel, (slices, H, W), between 0 and 1.

    Args:
        posterior: (slices, K, H, W) posterior samples.
        prior: (slices, K', H, W) samples of the prior about the reconstruction.
        window: standard deviation in pixels over which variances are averaged; 0 for none.
    """
    above, below = (
        gaussian_filter(
            x.astype(np.float64).var(axis=1, ddof=1), (0, window, window), mode="nearest"
        )
        for x in (posterior, prior)
    )
    share = np.where(below > 0, 1 - above / np.where(below > 0, below, 1.0), 0.0)
    found: NDArray[np.float32] = share.clip(0, 1).astype(np.float32)
    return found
