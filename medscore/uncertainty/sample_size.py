r"""The effective sample size of Markov chains, from their autocorrelation.

The mean of N correlated draws is as accurate as that of :math:`N / \tau` independent ones, with
the integrated autocorrelation time :math:`\tau = 1 + 2 \sum_k \rho_k`. The pairs
:math:`\rho_{2m} + \rho_{2m+1}` of a reversible chain are positive and decrease: the sum ends where
one is not positive, and none counts more than those before it (Geyer 1992, section 3.3). For a
chain :math:`x' = \rho x + z` the share is :math:`(1 - \rho) / (1 + \rho)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError


def effective_share(chains: Tensor, mean: Tensor | float | None = None) -> Tensor:
    """The effective sample size of each quantity, divided by the number of draws.

    Args:
        chains: draws (steps, chains, ...) of one quantity or several, from chains that start at
            their stationary distribution; the autocorrelations are averaged over the chains.
        mean: the mean of the quantities, if it is known; by default that of all draws.

    Returns:
        The shares, (...). They exceed 1 for draws that alternate around their mean.

    Raises:
        MedscoreError: less than four steps, or a quantity that does not change.
    """
    steps = len(chains)
    if chains.ndim < 2 or steps < 4:
        raise MedscoreError(
            f"`chains` has the shape {tuple(chains.shape)}", hint="use (steps, chains, ...)"
        )
    centred = chains - (chains.mean((0, 1)) if mean is None else mean)
    spectrum = torch.fft.rfft(centred, n=2 * steps, dim=0)
    products = torch.fft.irfft(spectrum.abs().square(), n=2 * steps, dim=0)[:steps].mean(1)
    if not bool((products[0] > 0).all()):
        raise MedscoreError("`chains` holds a quantity that does not change", hint="leave it out")
    correlations = products / products[0]
    even = steps // 2 * 2
    pairs = correlations[:even].reshape(even // 2, 2, *correlations.shape[1:]).sum(1)
    positive = torch.cumprod((pairs > 0).to(pairs.dtype), 0)
    found: Tensor = 1 / (2 * (torch.cummin(pairs, 0).values * positive).sum(0) - 1)
    return found
