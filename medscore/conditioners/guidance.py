r"""Guidance by a classifier or an energy function (Song 2022, section 7.5 and Eq. 7.14).

.. math:: s(x, t) + w \nabla_x \log p_t(y | x), \qquad s(x, t) - w \nabla_x E_t(x).

The first needs a classifier of noisy images. The second accepts any differentiable function of
them, by which the density is multiplied by :math:`e^{-w E}` (Zhao et al. 2022).
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
    """Guidance by an energy function; one backward pass through it per evaluation.

    Attributes:
        energy: computes the energies E_t(x), (batch,), from noisy images x and times t.
        weight: scale w of the guidance.
    """

    energy: Callable[[State, Times], Tensor]
    weight: float = 1.0

    def prior(self, prior: Prior) -> Prior:
        return Guided(prior, self.guidance)

    def guidance(self, x: State, t: Times) -> State:
        """The guidance term -w grad E_t(x).

        Args:
            x: noisy images, (batch, channel, ...).
            t: times, (batch,).
        """
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(leaf, t).sum(), leaf)
        return -self.weight * gradient


@final
@dataclass(frozen=True)
class ClassifierGuidance(Conditioner):
    """Guidance by a classifier; one backward pass through it per evaluation.

    Attributes:
        classifier: computes logits (batch, classes) from noisy images x and times t.
        labels: target class of each sample, (batch,), integers.
        weight: scale w of the guidance.
    """

    classifier: Callable[[State, Times], Tensor]
    labels: Tensor
    weight: float = 1.0

    def prior(self, prior: Prior) -> Prior:
        return EnergyGuidance(self.energy, self.weight).prior(prior)

    def energy(self, x: State, t: Times) -> Tensor:
        """The energy -log p_t(y | x) of each sample, (batch,).

        Args:
            x: noisy images, (batch, channel, ...).
            t: times, (batch,).
        """
        logs = torch.log_softmax(self.classifier(x, t), dim=1)
        return -logs.gather(1, self.labels[:, None])[:, 0]
