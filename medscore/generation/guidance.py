r"""Class-conditional samples by a time-dependent classifier (Song et al. 2022, Eq. 7.14).

.. math:: \nabla \log p_t(x | y) = \nabla \log p_t(x) + \nabla \log p_t(y | x),

so a prior and a classifier of noisy images make the prior of a class, on which every sampler works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from medscore.prior import Prior
from medscore.sde import expand
from medscore.types import State, Times

LogClasses = Callable[[State, Times], Tensor]
"""log p_t(y | x) of every class y, (batch, classes)."""


@final
class Guided(Prior):
    """A prior given the class of each sample.

    Args:
        prior: unconditional. classifier: of noisy images. classes: y of each sample, (batch,) of
            integers; batches have that length. strength: factor on the classifier's gradient; 1
            is Bayes' rule.
    """

    def __init__(
        self, prior: Prior, classifier: LogClasses, classes: Tensor, strength: float = 1.0
    ) -> None:
        self.sde, self.prior, self.classifier = prior.sde, prior, classifier
        self.classes, self.strength = classes, strength

    def denoise(self, x: State, t: Times) -> State:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        return self.prior.denoise(x, t) + sigma**2 / alpha * self.pull(x, t)

    def score(self, x: State, t: Times) -> State:
        return self.prior.score(x, t) + self.pull(x, t)

    def pull(self, x: State, t: Times) -> State:
        """The classifier's gradient times the strength, shape of ``x``."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            logs = self.classifier(leaf, t)
            chosen = logs.gather(1, self.classes.to(logs.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, leaf)
        return self.strength * gradient
