r"""Two supervised reconstruction networks that represent the common designs.

:class:`PostProcessor` corrects a direct reconstruction,

.. math:: \hat x = x_0 + N(x_0), \qquad x_0 = \text{FBP}(y)\text{, LI}(y)\text{ or zero-filled }y

(Jin et al. 2017). :class:`Cascade` alternates networks with gradient steps on the data fidelity,

.. math:: z_k = x_k + N_k(x_k), \qquad
          x_{k+1} = z_k - \lambda_k A^H (A z_k - y) / |A|^2

(Schlemper et al. 2018; a variational network after Hammernik et al. 2018), with trained lambda_k.
Every N is MONAI's DiffusionModelUNet, the network of the shipped priors, with a constant condition.

Networks of two channels take the real and the imaginary part of complex images, and the result is
the modulus of theirs. Networks of one channel take the modulus of complex images.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast, final

import torch
from pydantic import Field
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.nets.dropout import with_dropout
from medscore.nets.unet import UNetSpec
from medscore.operators.base import Operator
from medscore.operators.linalg import wide
from medscore.operators.mri.real_images import one_channel, two_channels
from medscore.reconstruction.baselines.direct import direct


@final
class PostProcessor(nn.Module):
    """A network applied to a direct reconstruction.

    Args:
        network: N, a function of images (batch, channels, H, W) and a condition (batch,).
        channels: 2 for complex images, else 1.
    """

    def __init__(self, network: nn.Module, channels: int = 1) -> None:
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, operator: Operator, y: Tensor) -> Tensor:
        """Reconstruct images (batch, 1, H, W) in the network's range.

        Args:
            operator: the operator of the measurements.
            y: measurements in the network's units.
        """
        with plain(y):
            start = _as_channels(direct(operator, y), self.channels)
        return _magnitude(start + _without_condition(self.network, start))


@final
class Cascade(nn.Module):
    """An unrolled iteration of networks and gradient steps.

    Args:
        networks: N_k, functions of images (batch, channels, H, W) and a condition (batch,).
        channels: 2 for complex images, else 1.
    """

    def __init__(self, networks: list[nn.Module], channels: int = 1) -> None:
        super().__init__()
        self.network, self.channels = _Blocks(networks), channels

    def forward(self, operator: Operator, y: Tensor) -> Tensor:
        """Reconstruct images (batch, 1, H, W) in the network's range.

        Args:
            operator: the operator of the measurements.
            y: measurements in the network's units.
        """
        with plain(y):
            x = _as_channels(direct(operator, y), self.channels)
            size = wide(_norm_squared(operator, y), x)
        for network, step in zip(self.network.blocks, self.network.steps, strict=True):
            z = x + _without_condition(network, x)
            with plain(y):
                gradient = operator.adjoint(operator.forward(_as_image(z)) - y)
                x = z - step * _as_channels(gradient, self.channels) / size
        return _magnitude(x)


class _Blocks(nn.Module):
    """The trained parts of a cascade: networks and step sizes."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(networks)
        self.steps = nn.Parameter(torch.ones(len(networks)))


class PostProcessorSpec(Strict):
    """Parameters of :class:`PostProcessor`.

    Attributes:
        kind: ``post-processor``.
        network: parameters of the network.
        dropout: probability that a feature of a residual block is dropped
            (:mod:`medscore.nets.dropout`).
    """

    kind: Literal["post-processor"]
    network: UNetSpec
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self) -> PostProcessor:
        """The untrained network, initialised with torch's global generator."""
        network = with_dropout(self.network.build(), self.dropout)
        return PostProcessor(network, self.network.image_channels)


class CascadeSpec(Strict):
    """Parameters of :class:`Cascade`.

    Attributes:
        kind: ``cascade``.
        network: parameters of each network.
        blocks: number of networks.
    """

    kind: Literal["cascade"]
    network: UNetSpec
    blocks: int = Field(default=5, gt=0, le=256)

    def build(self) -> Cascade:
        """The untrained network, initialised with torch's global generator."""
        networks = [self.network.build() for _ in range(self.blocks)]
        return Cascade(networks, self.network.image_channels)


def check_channels(model: PostProcessorSpec | CascadeSpec, of_complex: bool, name: str) -> None:
    """Reject a network that does not fit the images of a measurement.

    A post-processor of one channel takes the modulus of complex images; a cascade needs them whole.

    Args:
        model: the network.
        of_complex: whether the images are complex.
        name: name of the network in the error.

    Raises:
        MedscoreError: it has the wrong number of image channels.
    """
    channels = model.network.image_channels
    if channels == 1 and not (of_complex and model.kind == "cascade"):
        return
    if channels != 2 or not of_complex:
        images = "complex" if of_complex else "real"
        raise MedscoreError(
            f"network {name}, a {model.kind}, has image_channels {channels} and the images are "
            f"{images}",
            hint=f"use a network with image_channels {2 if of_complex else 1}",
        )


ModelSpec = Annotated[PostProcessorSpec | CascadeSpec, Field(discriminator="kind")]
Reconstructor = PostProcessor | Cascade


def plain(y: Tensor) -> torch.autocast:
    """A context that disables autocast, so that operators keep their precision.

    Args:
        y: a tensor on the device.
    """
    return torch.autocast(y.device.type, enabled=False)


def _norm_squared(operator: Operator, y: Tensor) -> Tensor:
    """|A|^2 of each sample, computed once if all samples share the mask."""
    shared = operator.select([0]) is operator
    return operator.norm_squared(y[:1] if shared else y).expand(len(y))


def _without_condition(network: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, network(x, x.new_zeros(len(x)))).float()


def _as_channels(x: Tensor, channels: int) -> Tensor:
    """Images (batch, 1, H, W) as the network sees them."""
    if channels == 2:
        return two_channels(x)
    return x.abs() if x.is_complex() else x.float()


def _as_image(x: Tensor) -> Tensor:
    """What the operator takes of images as the network sees them."""
    return one_channel(x) if x.shape[1] == 2 else x


def _magnitude(x: Tensor) -> Tensor:
    """Images (batch, 1, H, W) of one channel, or the modulus of two."""
    return _as_image(x).abs() if x.shape[1] == 2 else x
