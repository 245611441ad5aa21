r"""A prior on another SDE than the one it was trained on (Karras et al. 2022, section 2).

The marginals of a linear SDE are those of :math:`x_0 + v z`, scaled by alpha, with v = sigma/alpha.
At equal v, the states of two SDEs differ by the ratio of their alphas, and the denoised image is
the same. A prior can therefore be used on every SDE whose range of v lies within its own.
"""

from __future__ import annotations

from typing import final

import torch

from medscore.priors.base import Prior
from medscore.sdes.base import SDE, expand
from medscore.sdes.linear import VE
from medscore.types import State, Times


@final
class Reparameterized(Prior):
    """A prior expressed on another SDE.

    Args:
        prior: the prior on its own SDE.
        sde: the SDE to express it on.

    Raises:
        ValueError: the noise-to-signal ratios of ``sde`` exceed the range of the prior's SDE.
    """

    def __init__(self, prior: Prior, sde: SDE) -> None:
        (low, high), (ours_low, ours_high) = _range(sde), _range(prior.sde)
        if low < ours_low * (1 - 1e-4) or high > ours_high * (1 + 1e-4):
            raise ValueError(
                f"noise-to-signal ratios {low:g} to {high:g} are not within the prior's "
                f"{ours_low:g} to {ours_high:g}"
            )
        self.inner, self.sde = prior, sde

    def denoise(self, x: State, t: Times) -> State:
        ours, theirs = self.sde, self.inner.sde
        time = theirs.time(ours.ratio(t)).clamp(0, 1)
        scale = theirs.alpha(time) / ours.alpha(t)
        return self.inner.denoise(expand(scale, x) * x, time)


def edm(prior: Prior) -> Reparameterized:
    """The prior in EDM coordinates, on a VE SDE with the prior's range of sigma / alpha.

    Args:
        prior: the prior on its own SDE.
    """
    low, high = _range(prior.sde)
    return Reparameterized(prior, VE(low, high, eps=0.0))


def _range(sde: SDE) -> tuple[float, float]:
    low, high = sde.ratio(torch.tensor([sde.eps, 1.0], dtype=torch.float64)).tolist()
    return low, high
