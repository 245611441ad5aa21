r"""Denoising second-order score matching, D2SM (Song 2022, Theorem 4.1, Eq. 4.11 to 4.17).

For :math:`x_t = \alpha x_0 + \sigma z` the minimiser over :math:`s_2` of

.. math:: E \left\| s_2 + s_1 s_1^T + (I - z z^T)/\sigma^2 \right\|_F^2
          + \frac{\gamma}{2} E \left\| s_1 + z/\sigma \right\|^2

is the Hessian of :math:`\log p_t`, and with it :math:`K = I + \sigma^2 s_2` is the covariance of z
given :math:`x_t`. Multiplied by :math:`\sigma^4`, and with :math:`\hat z = -\sigma s_1`, the first
term is the residual ``noise`` below; ``error`` has the same minimiser where :math:`s_1` is exact, a
smaller variance where K is small, and is the mean squared error, not below zero, where it is not:

.. math:: \left\| K - z z^T + \hat z \hat z^T \right\|_F^2, \qquad
          \left\| K - (z - \hat z)(z - \hat z)^T \right\|_F^2 .

K is the prior's covariance :math:`\operatorname{diag}(a) + \sum_k b_k b_k^T`, so every norm has a
closed form without a D x D matrix (:mod:`medscore.objectives.symmetric`). The form ``diagonal``
compares diagonals only, with z*z in the place of z z^T (Eq. 4.17 prints the latter). Diagonal and
other entries are averages, each over its own number: in a sum the D^2 entries drown the D variances
of an image.

Weightings: ``level`` divides by :math:`\kappa^2`, the squared K of white data of the prior's
deviation d, with :math:`\kappa = d^2 / (d^2 + \sigma^2/\alpha^2)`. ``prediction`` divides the
residual of each pair of values by the predicted variances m of both. For a value alone that is what
the gradient of its Gaussian log-likelihood does,

.. math:: \frac{\partial}{\partial m} \tfrac12 \left( \log m + e^2/m \right)
          = \frac{m - e^2}{2 m^2}, \qquad e = z - \hat z,

so the loss has that likelihood for the diagonal, which a large prediction cannot lower, and

.. math:: \frac{1}{2 D (D - 1)} \sum_{i \ne j} \frac{(K_{ij} - e_i e_j)^2}{m_i m_j}

for the other entries, where m is constant in the gradient, and less the term without K. The
likelihood of the whole matrix weighs a vector b_k by 1/D against the variances, and hardly sees it.

A K that is diagonal in the cosine transforms of blocks (:mod:`medscore.uncertainty.blocks`, form
``blocks``) is compared with e e^T in the coefficients of the blocks, by their Gaussian
log-likelihood as above; the minimiser is that of Eq. 4.11 over such matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from medscore.objectives.denoising import EDMWeighting, LogNormalTimes, TimesRule
from medscore.objectives.symmetric import Symmetric
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.uncertainty.blocks import BlockCovariance
from medscore.uncertainty.learned import LearnedCovariance
from medscore.uncertainty.low_rank import DiagonalLowRank

Form = Literal["diagonal", "low_rank", "blocks"]
Residual = Literal["error", "noise"]
Weighting = Literal["prediction", "level"]
DEFAULT_TIMES = LogNormalTimes(-1.5, 1.8)


Evaluated = tuple[DiagonalLowRank, State]
"""The covariance K and the predicted noise at one noisy image."""


@dataclass(frozen=True)
class SecondOrder:
    """D2SM as the objective of a prior with a learned covariance.

    Attributes:
        data_std: standard deviation d of the data, for the weighting ``level``.
        form: ``low_rank`` compares whole matrices, ``diagonal`` their diagonals, and ``blocks`` the
            variances of the coefficients of blocks.
        residual: ``error`` or ``noise``, see above.
        weighting: ``prediction`` or ``level``; the former needs the residual ``error``.
        gamma: weight of the first-order term, |z - z_hat|^2 / 2 D, for a prior whose denoiser is
            trained too.
        antithetic: use the noise z and -z, and the control variate at the clean image
            (:func:`antithetic_loss`); three evaluations. It needs the residual ``noise``.
        times: maps uniform draws to times.

    Raises:
        ValueError: an option that needs another residual.
    """

    data_std: float
    form: Form = "low_rank"
    residual: Residual = "error"
    weighting: Weighting = "prediction"
    gamma: float = 0.0
    antithetic: bool = False
    times: TimesRule = DEFAULT_TIMES

    def __post_init__(self) -> None:
        if self.weighting == "prediction" and self.residual != "error":
            raise ValueError("weighting prediction needs residual error: the other can be negative")
        if self.antithetic and self.residual != "noise":
            raise ValueError("antithetic needs residual noise: that of Eq. 4.11")
        if self.form == "blocks" and self.weighting != "prediction":
            raise ValueError("form blocks needs weighting prediction")

    def __call__(self, prior: Prior, x0: State, u: Times, z: State) -> Times:
        """The loss of each sample, (batch,).

        Args:
            prior: a prior with a learned covariance.
            x0: clean images (batch, ...).
            u: uniform draws in [0, 1), (batch,), which become times.
            z: white noise of the shape of ``x0``.
        """
        sde = prior.sde
        t = self.times(sde, u)

        def at(noise: State) -> tuple[LearnedCovariance, State]:
            """K and the predicted noise at a noisy image."""
            x = sde.marginal(x0, t, noise)
            denoised, covariance = prior.denoise_with_covariance(x, t)
            alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
            return covariance.scaled(alpha / sigma), (x - alpha * denoised) / sigma

        k, predicted = at(z)
        others = (at(-z), at(torch.zeros_like(z))) if self.antithetic else ()
        with torch.autocast(x0.device.type, enabled=False):  # sums over an image need float32
            if isinstance(k, BlockCovariance):
                loss = k.surprise(z - predicted)
            else:
                loss = self._loss((k, predicted), others, z)
            if self.weighting == "level":
                kappa = 1 / (sde.ratio(t) ** 2 * EDMWeighting(self.data_std)(sde, t))
                loss = loss / kappa**2
            if self.gamma:
                loss = loss + 0.5 * self.gamma * (z - predicted).flatten(1).square().mean(1)
        return loss

    def _loss(
        self, here: Evaluated, others: Sequence[tuple[LearnedCovariance, State]], z: State
    ) -> Times:
        """The loss without weighting, from the evaluations at z and, if antithetic, -z and 0."""
        k, predicted = here
        if self.antithetic:
            minus, still = (_low_rank(*each) for each in others)
            return antithetic_loss(here, minus, still, z, self.form)
        if self.weighting == "prediction":
            return likelihood_loss(k, z - predicted, self.form)
        return residual_loss(k, predicted, z, self.form, self.residual)


def _low_rank(k: LearnedCovariance, predicted: State) -> Evaluated:
    """An evaluation of a covariance that is not one of blocks."""
    assert isinstance(k, DiagonalLowRank)
    return k, predicted


def residual_loss(
    k: DiagonalLowRank, predicted: State, z: State, form: Form, residual: Residual
) -> Times:
    """The squared residual of Eq. 4.11 or 4.17 in units of the noise, (batch,).

    Args:
        k: the covariance K of z given x_t.
        predicted: the predicted noise.
        z: the noise.
        form: the matrices that are compared.
        residual: the residual.
    """
    matrix = Symmetric.of(k)
    if residual == "error":
        gap = matrix.plus(-1.0, z - predicted)
    else:
        gap = matrix.plus(-1.0, z).plus(1.0, predicted)
    return _mean_square(gap, form)


def likelihood_loss(k: DiagonalLowRank, error: State, form: Form) -> Times:
    r"""The loss of the weighting ``prediction``, (batch,), see above.

    Args:
        k: the covariance K of z given x_t.
        error: the error e of the predicted noise.
        form: the matrices that are compared.
    """
    m = k.marginal
    loss = 0.5 * (torch.log(m) + error.square() / m).flatten(1).mean(1)
    if form == "diagonal":
        return loss
    scale = m.detach().rsqrt()
    w = (error * scale).flatten(1)
    zero = torch.zeros_like(w)
    low = Symmetric(zero, (k.factors * scale[:, None]).flatten(2), zero.new_ones(k.rank))
    entries = low.entries()
    own = low.square() - entries.square().sum(1)
    crossed = low.form(w) - (entries * w.square()).sum(1)
    return loss + (0.5 * own - crossed) / _pairs(low)


def antithetic_loss(
    plus: Evaluated, minus: Evaluated, still: Evaluated, z: State, form: Form
) -> Times:
    r"""D2SM with antithetic noise and a control variate (appendix B.2 of the text), (batch,).

    With :math:`P = \sigma^2 (s_2 + s_1 s_1^T) = K - I + \hat z \hat z^T` and
    :math:`R = I - z z^T`, half of

    .. math:: |P(x + \sigma z)|^2 + |P(x - \sigma z)|^2
              + 2 \langle R, P(x + \sigma z) + P(x - \sigma z) - 2 P(x) \rangle

    has the gradient of the plain loss, since E[R] = 0, and the plain loss's expectation minus
    E|R|^2. As sigma vanishes the bracket does, so the variance of the loss in units of s_2 stays
    bounded.

    Args:
        plus: K and the predicted noise at x + sigma z.
        minus: the same at x - sigma z.
        still: the same at x.
        z: the noise.
        form: the matrices that are compared.
    """
    products, squares = [], []
    for k, predicted in (plus, minus, still):
        p = Symmetric.of(k, -1.0).plus(1.0, predicted)
        squares.append(_mean_square(p, form))
        products.append(_mean_product(p, z, form))
    return 0.5 * (squares[0] + squares[1]) + products[0] + products[1] - 2 * products[2]


def _mean_square(matrix: Symmetric, form: Form) -> Times:
    """The mean square of the entries: of the diagonal, plus of the others for ``low_rank``."""
    diagonal = matrix.entries().square()
    loss = diagonal.mean(1)
    if form == "low_rank":
        loss = loss + (matrix.square() - diagonal.sum(1)) / _pairs(matrix)
    return loss


def _mean_product(matrix: Symmetric, z: State, form: Form) -> Times:
    """The mean product of the entries with those of I - z z^T, as in :func:`_mean_square`."""
    entries, squared = matrix.entries(), z.flatten(1).square()
    loss = (entries * (1 - squared)).mean(1)
    if form == "low_rank":
        loss = loss - (matrix.form(z) - (entries * squared).sum(1)) / _pairs(matrix)
    return loss


def _pairs(matrix: Symmetric) -> int:
    """Number of entries beside the diagonal; 1 where there are none."""
    d = matrix.diagonal.shape[1]
    return max(1, d * (d - 1))
