r"""Denoising score matching with a control variate, DSM-VR (Song 2022, chapter 4, appendix B.2).

.. math:: \tfrac12 \left\| s(x + \sigma z) + z/\sigma \right\|^2
          - \tfrac12 \left[ \frac{2}{\sigma} s(x)^T z + \frac{\|z\|^2}{\sigma^2} \right]
          + \frac{D}{2\sigma^2}.

The bracket has the mean :math:`D/\sigma^2`, so that the mean of the loss is that of the first term
alone. The variance of that term grows as :math:`\sigma^{-4}`, since z/sigma hides the score. By a
Taylor series of s around x the difference is bounded:
:math:`z^T \nabla s\, z + \tfrac12 \|s\|^2 + O(\sigma)`, whose mean over z is the integrand of score
matching (Eq. 3.2). The text prints the control variate without its factor 1/2, which leaves most of
the variance. The constant :math:`D / 2\sigma^2` is left out here: the loss then tends to that of
:mod:`medscore.objectives.score_matching` as sigma vanishes, and is a sum over the D components.
"""

from __future__ import annotations

from medscore.objectives.score_matching import Score, half_square
from medscore.types import State, Times


def denoising_vr(score: Score, x: State, z: State, sigma: float) -> Times:
    """The loss of each sample, (batch,); two evaluations of the score.

    Args:
        score: the score model of the noisy data.
        x: clean data (batch, ...).
        z: white noise of the shape of ``x``.
        sigma: standard deviation of the noise that is added.
    """
    noisy = score(x + sigma * z)
    # |s + z/sigma|^2 - |z/sigma|^2 written out: the difference itself loses all digits
    crossed = ((noisy - score(x)) * z).flatten(1).sum(1) / sigma
    return half_square(noisy) + crossed
