r"""Two supervised reconstructors, of whose kind most are.

:class:`PostProcessor` mends what the measurements give by themselves,

.. math:: \hat x = x_0 + N(x_0), \qquad x_0 = \text{FBP}(y)\text{, LI}(y)\text{ or zero-filled }y

(Jin et al. 2017). :class:`Cascade` alternates a network with a step towards the measurements,

.. math:: z_k = x_k + N_k(x_k), \qquad
          x_{k+1} = z_k - \lambda_k A^H (A z_k - y) / |A|^2

(Schlemper et al. 2018; a variational network after Hammernik et al. 2018), lambda_k trained too.
Every N is MONAI's DiffusionModelUNet, the network of the shipped priors, told no noise level.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn

from medscore.io.specs import Strict
from medscore.nets.unet import UNetSpec
from medscore.operators.base import Operator
from medscore.operators.linalg import wide
from medscore.reconstruction.baselines.direct import direct


@final
class PostProcessor(nn.Module):
    """``network``: N, of images (batch, 1, H, W) and a condition (batch,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, operator: Operator, y: Tensor) -> Tensor:
        """Images (batch, 1, H, W) in the network's range from measurements in its units."""
        with plain(y):
            start = _real(direct(operator, y))
        return start + _told_nothing(self.network, start)


@final
class Cascade(nn.Module):
    """``networks``: N_k."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.network = _Blocks(networks)

    def forward(self, operator: Operator, y: Tensor) -> Tensor:
        """Images (batch, 1, H, W) in the network's range from measurements in its units."""
        with plain(y):
            x = _real(direct(operator, y))
            size = wide(_norm_squared(operator, y), x)
        for network, step in zip(self.network.blocks, self.network.steps, strict=True):
            z = x + _told_nothing(network, x)
            with plain(y):
                x = z - step * _real(operator.adjoint(operator.forward(z) - y)) / size
        return x


class _Blocks(nn.Module):
    """All that is trained of a cascade."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(networks)
        self.steps = nn.Parameter(torch.ones(len(networks)))


class PostProcessorSpec(Strict):
    """Parameters of :class:`PostProcessor`."""

    kind: Literal["post-processor"]
    network: UNetSpec

    def build(self) -> PostProcessor:
        """Untrained; the initialisation draws from torch's global generator."""
        return PostProcessor(self.network.build())


class CascadeSpec(Strict):
    """Parameters of :class:`Cascade`."""

    kind: Literal["cascade"]
    network: UNetSpec
    blocks: int = Field(default=5, gt=0)

    def build(self) -> Cascade:
        """Untrained; the initialisation draws from torch's global generator."""
        return Cascade([self.network.build() for _ in range(self.blocks)])


ModelSpec = Annotated[PostProcessorSpec | CascadeSpec, Field(discriminator="kind")]
Reconstructor = PostProcessor | Cascade


def plain(y: Tensor) -> torch.autocast:
    """Physics keeps its precision where networks run in autocast."""
    return torch.autocast(y.device.type, enabled=False)


def _norm_squared(operator: Operator, y: Tensor) -> Tensor:
    """|A|^2 of each sample, found once where all share the mask."""
    shared = operator.select([0]) is operator
    return operator.norm_squared(y[:1] if shared else y).expand(len(y))


def _told_nothing(network: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, network(x, x.new_zeros(len(x)))).float()


def _real(x: Tensor) -> Tensor:
    return x.abs() if x.is_complex() else x.float()
