r"""The divergence of a vector field, exactly or by random probes.

.. math:: \nabla \cdot v = \operatorname{tr}(\nabla_x v) = E[\epsilon^T \nabla_x v\, \epsilon],
          \qquad E[\epsilon] = 0,\ \operatorname{Cov}[\epsilon] = I

(Skilling 1989; Hutchinson 1989; Song et al. 2022, section 9.4.2). Each probe costs one backward
pass, the exact divergence D backward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medscore.likelihood.estimates import Estimates
from medscore.types import State
from medscore.white_noise import Noise

Field = Callable[[State], State]
"""v(x), in which samples do not depend on each other."""

Divergence = Callable[[Field, State], tuple[State, Estimates]]
"""Maps a field and points to the field's values there and estimates of its divergence."""


def exact(field: Field, x: State) -> tuple[State, Estimates]:
    """v(x) and its divergence (batch, 1), by one backward pass for each of the D numbers.

    Args:
        field: v.
        x: points (batch, ...).
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        values = field(leaf)
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for i in range(leaf[0].numel()):
            (row,) = torch.autograd.grad(
                values.flatten(1)[:, i].sum(), leaf, retain_graph=True, materialize_grads=True
            )
            total += row.flatten(1)[:, i]
    return values.detach(), total[:, None]


@dataclass(frozen=True)
class Hutchinson:
    """One unbiased estimate of the divergence for each probe.

    Attributes:
        probes: epsilon, (estimates, batch, ...) in the shape of the points.
    """

    probes: Float[Tensor, "estimates batch *shape"]

    def __call__(self, field: Field, x: State) -> tuple[State, Estimates]:
        """v(x) and estimates (batch, estimates) of its divergence.

        Args:
            field: v.
            x: points (batch, ...).
        """
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            values = field(leaf)
            found = []
            for probe in self.probes.to(x):
                (row,) = torch.autograd.grad(
                    values, leaf, probe, retain_graph=True, materialize_grads=True
                )
                found.append((row * probe).flatten(1).sum(1))
        return values.detach(), torch.stack(found, 1)


def rademacher(like: State, seeds: Sequence[int], count: int) -> Hutchinson:
    """Random signs, which have the least variance of all probes for a symmetric Jacobian.

    Args:
        like: points (batch, ...), for shape, type and device.
        seeds: one seed per sample.
        count: number of probes.
    """
    return _probes(like, seeds, count, lambda z: torch.where(z < 0, -1.0, 1.0).to(z))


def gaussian(like: State, seeds: Sequence[int], count: int) -> Hutchinson:
    """Standard normal probes.

    Args:
        like: points (batch, ...), for shape, type and device.
        seeds: one seed per sample.
        count: number of probes.
    """
    return _probes(like, seeds, count, lambda z: z)


def _probes(
    like: State, seeds: Sequence[int], count: int, make: Callable[[Tensor], Tensor]
) -> Hutchinson:
    noise = Noise(seeds)
    return Hutchinson(make(torch.stack([noise(like) for _ in range(count)])))
