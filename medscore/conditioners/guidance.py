r"""Guidance by a classifier or by an energy (Song et al. 2022, section 7.5 and Eq. 7.14).

.. math:: s(x, t) + w \nabla_x \log p_t(y | x), \qquad s(x, t) - w \nabla_x E_t(x).

The first needs a classifier of noisy images; the second any differentiable function of them, which
multiplies the density by :math:`e^{-w E}` (Zhao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, Guided
from medscore.priors.base import Prior
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class EnergyGuidance(Conditioner):
    """One backward pass through the energy an evaluation.

    Args:
        energy: E_t(x) of each sample, (batch,), from x and t. weight: w.
    """

    energy: Callable[[State, Times], Tensor]
    weight: float = 1.0

    def prior(self, prior: Prior) -> Prior:
        return Guided(prior, self.guidance)

    def guidance(self, x: State, t: Times) -> State:
        """-w grad E."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(leaf, t).sum(), leaf)
        return -self.weight * gradient


@final
@dataclass(frozen=True)
class ClassifierGuidance(Conditioner):
    """One backward pass through the classifier an evaluation.

    Args:
        classifier: logits (batch, classes) of noisy images x at times t.
        labels: the class wanted for each sample, (batch,) integers. weight: w.
    """

    classifier: Callable[[State, Times], Tensor]
    labels: Tensor
    weight: float = 1.0

    def prior(self, prior: Prior) -> Prior:
        return EnergyGuidance(self.energy, self.weight).prior(prior)

    def energy(self, x: State, t: Times) -> Tensor:
        """-log p_t(y | x)."""
        logs = torch.log_softmax(self.classifier(x, t), dim=1)
        return -logs.gather(1, self.labels[:, None])[:, 0]
