"""The one conditioner interface: two arrows, each the identity unless a method needs it.

``prior -> prior`` serves methods that change the score or the denoised image; ``sampler ->
sampler`` serves methods that change the state. Either way any sampler works with any conditioner.
"""

from __future__ import annotations

from medscore.prior import Prior
from medscore.samplers.base import Sampler


class Conditioner:
    """What k of Eq. 8.6 stands for, in general."""

    def prior(self, prior: Prior) -> Prior:
        """A prior whose score or denoiser knows the measurements."""
        return prior

    def sampler(self, sampler: Sampler) -> Sampler:
        """A sampler that moves its state towards the measurements."""
        return sampler
