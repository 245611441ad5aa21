r"""Classifier-free guidance: a prior drawn towards a class more strongly than Bayes' rule does.

The denoiser of the class is extrapolated from that of images of no known class (Ho and Salimans
2022, eq. 6, for denoisers, with w = 1 for the class alone):

.. math:: D(x, t) = D(x, t; \varnothing) + w\, (D(x, t; c) - D(x, t; \varnothing)).
"""

from __future__ import annotations

import math
from typing import final

from medscore.errors import MedscoreError
from medscore.numeric import is_number
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior
from medscore.types import State, Times


@final
class ClassGuidance(Prior):
    """A prior of a class with a guidance weight; every call evaluates the network twice.

    Args:
        prior: prior of a class (:meth:`~medscore.priors.network.NetworkPrior.of_class`), on the
            grid of the images.
        weight: guidance weight w; 0 for no class, 1 for the class, and more to exaggerate it.

    Raises:
        MedscoreError: the prior has no class, or the weight is no finite number of 0 or more.
    """

    evaluations_of_a_call = 2

    def __init__(self, prior: NetworkPrior, weight: float) -> None:
        if not prior.label:
            raise MedscoreError(
                "`prior` is of no class",
                hint=f"choose one of: {', '.join(prior.classes)}"
                if prior.classes
                else "use a prior whose network knows classes",
            )
        if not is_number(weight) or not 0 <= weight < math.inf:
            raise MedscoreError(f"`weight` is {weight!r:.80}", hint="use a number >= 0")
        self.of_class, self.of_none = prior, prior.of_class(None)
        self.sde, self.domain, self.weight = prior.sde, prior.domain, weight

    def denoise(self, x: State, t: Times) -> State:
        none = self.of_none.denoise(x, t)
        return none + self.weight * (self.of_class.denoise(x, t) - none)
