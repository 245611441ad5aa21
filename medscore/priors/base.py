r"""The interface of a prior: the denoiser and the score of the noisy data distributions p_t.

Tweedie's formula relates the two for :math:`x_t = \alpha x_0 + \sigma z`:

.. math:: E[x_0 | x_t] = (x_t + \sigma^2 \nabla \log p_t(x_t)) / \alpha.

A prior implements ``denoise``; ``score`` follows from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.uncertainty.learned import LearnedCovariance


class Prior(ABC):
    """A score model on a forward diffusion; one call of ``denoise`` is one evaluation (NFE).

    Attributes:
        sde: the forward diffusion.
        domain: the image domain; needed to reconstruct measurements, but not to sample.
        evaluations_of_a_call: network evaluations of a call of ``denoise``, if more than one.
    """

    sde: SDE
    domain: ImageDomain | None = None
    evaluations_of_a_call: int = 1

    @abstractmethod
    def denoise(self, x: State, t: Times) -> State:
        """The posterior mean E[x_0 | x_t = x], in the shape of ``x``.

        Args:
            x: noisy images at time t, (batch, channel, H, W), in the network's range.
            t: times, (batch,).
        """

    @property
    def has_covariance(self) -> bool:
        """Whether the prior knows a covariance, learned or exact: that of
        :meth:`denoise_with_covariance`."""
        return False

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, LearnedCovariance]:
        """The mean and the covariance of x_0 given x_t = x, in one evaluation.

        Args:
            x: noisy images at time t, (batch, channel, H, W), in the network's range.
            t: times, (batch,).

        Raises:
            MedscoreError: the prior has no learned covariance.
        """
        raise MedscoreError(
            f"the prior {self.domain.name if self.domain else type(self).__name__} has no learned "
            "covariance",
            hint="train one with a recipe that has `head`, and keep its file beside the prior's",
        )

    def score(self, x: State, t: Times) -> State:
        r"""The score :math:`\nabla_x \log p_t(x) = (\alpha D(x, t) - x) / \sigma^2`.

        Args:
            x: noisy images at time t, (batch, channel, H, W), in the network's range.
            t: times, (batch,).

        Raises:
            MedscoreError: ``denoise`` returns another shape.
        """
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        denoised = like(x, self.denoise(x, t), f"`denoise` of the prior {type(self).__name__}")
        return (alpha * denoised - x) / sigma**2


def like(x: State, found: object, source: str) -> Tensor:
    """What a prior or network returned, if it is a tensor in the shape of its input.

    Args:
        x: the input.
        found: the output.
        source: what returned it, in messages.

    Raises:
        MedscoreError: it is not.
    """
    if isinstance(found, Tensor) and found.shape == x.shape:
        return found
    shape = tuple(x.shape)
    kind = type(found).__name__
    got = f"the shape {tuple(found.shape)}" if isinstance(found, Tensor) else kind
    raise MedscoreError(
        f"{source} returned {got} for an input of the shape {shape}",
        hint="return one tensor in the shape of the input",
    )
