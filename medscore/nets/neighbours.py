r"""A network that improves denoised slices by their neighbours: a 2.5-D denoiser.

A 2-D prior denoises every slice of a noisy volume :math:`y = x + \tilde\sigma z` by itself, to
:math:`D_k`. The slices near it are further, independent measurements of nearly the same anatomy, so
that a small network can predict a part of the error that is left,

.. math:: D'_k = D_k + e\,R\Bigl(\tfrac{D_{k+j} - D_k}{e}, \tfrac{y_{k+j} - D_{k+j}}{\tilde\sigma},
          D_k \Bigm| \tilde\sigma, \Delta z, \Delta x\Bigr), \quad |j| \le r, \qquad
          e = \tilde\sigma \epsilon / \sqrt{\tilde\sigma^2 + \epsilon^2}.

The scale e is about the error of :math:`D_k`, which is at most the noise, and at most
:math:`\epsilon` for a slice of noise alone. The network is told the distances :math:`\Delta z` of
the slices and :math:`\Delta x` of the pixels, as thick slices say less of their neighbours than
thin ones. R is the sum of linear filters of all slices, weighted by what it is told, and of a
residual network on blocks of pixels. It starts with R = 0. Beyond its ends, a volume is continued
by its mirror image.
"""

from __future__ import annotations

import math
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from medscore.io.specs import Strict
from medscore.nets.embedding import PositionalEmbedding
from medscore.nets.local_unet import ResidualBlock, normalised
from medscore.nets.spec import Few, Positive

FOLD = 2
"""Side of the blocks of pixels that are channels of the features."""

FILTERS = 8
"""Number of the linear filters."""

FEATURES = 64
"""Features of the noise level, and of each distance."""


class NeighboursSpec(Strict):
    """Parameters of :class:`NeighboursDenoiser`.

    Attributes:
        reach: number r of neighbours on each side that a slice is improved by.
        width: channels of the features.
        blocks: number of residual blocks.
        error: the error epsilon of the denoised slice when there is nothing but noise.
    """

    reach: Annotated[int, Field(gt=0, le=16)] = 2
    width: Positive = 64
    blocks: Few = 2
    error: float = Field(default=0.06, gt=0)

    def build(self) -> NeighboursDenoiser:
        """The untrained denoiser, initialised with torch's global generator."""
        return NeighboursDenoiser(self)


class NeighboursNet(nn.Module):
    """The network R.

    Args:
        spec: parameters of the network.
    """

    def __init__(self, spec: NeighboursSpec) -> None:
        super().__init__()
        inputs = 2 * (2 * spec.reach + 1)
        self.embedding = PositionalEmbedding(FEATURES)
        self.condition = nn.Sequential(
            nn.Linear(3 * FEATURES, FEATURES), nn.SiLU(), nn.Linear(FEATURES, FEATURES), nn.SiLU()
        )
        self.filters = nn.Conv2d(inputs, FILTERS, 3, padding=1)
        self.weights = nn.Linear(FEATURES, FILTERS)
        self.first = nn.Conv2d(inputs * FOLD**2, spec.width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(spec.width, FEATURES) for _ in range(spec.blocks))
        self.last = nn.Conv2d(spec.width, FOLD**2, 3, padding=1)
        for layer in (self.weights, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, images: Tensor, known: Tensor) -> Tensor:
        """The predicted error in units of e, (slices, 1, H, W).

        Args:
            images: differences, noise and slice of each slice, (slices, 2 (2 r + 1), H, W), with an
                even number of rows and of columns.
            known: logarithms of noise-to-signal ratio, distance of the slices and of the pixels in
                mm, (slices, 3).
        """
        dtype = self.first.weight.dtype
        # about 1000 steps over the ranges of noise levels and of distances
        phases = (known * known.new_tensor([100, 200, 200]) + 500).T
        given = torch.cat([self.embedding(phase) for phase in phases], 1).to(dtype)
        condition = self.condition(given)
        images = images.to(dtype)
        linear = torch.einsum("nkhw,nk->nhw", self.filters(images), self.weights(condition))
        h = self.first(functional.pixel_unshuffle(images, FOLD))
        for block in self.blocks:
            h = block(h, condition)
        last = self.last(functional.silu(normalised(h)))
        return linear[:, None] + functional.pixel_shuffle(last, FOLD)


class NeighboursDenoiser(nn.Module):
    """Denoised slices and their network R in one: the denoiser D'.

    Args:
        spec: parameters of the network.
    """

    def __init__(self, spec: NeighboursSpec) -> None:
        super().__init__()
        self.spec, self.network = spec, NeighboursNet(spec)
        self.sha256 = ""
        """SHA-256 hash of the weights in the file that the network was loaded from."""
        self.ratios = 0.0, math.inf
        """Smallest and largest noise-to-signal ratio that the network was trained for."""

    def improved(
        self, denoised: Tensor, noise: Tensor, ratio: Tensor, slice_mm: float, pixel_mm: float
    ) -> Tensor:
        """The slices D' of a stack, but for r slices at either end, (slices - 2 r, H, W).

        Args:
            denoised: slices D that were denoised one by one, (slices, H, W).
            noise: what was taken away, (y - D) / sigma~, of the same shape.
            ratio: noise-to-signal ratio sigma~, a number.
            slice_mm: distance of the slices in mm.
            pixel_mm: pixel size in mm.
        """
        r, error = self.spec.reach, self.spec.error
        scale = ratio * error / (ratio**2 + error**2) ** 0.5
        inner = denoised[r : len(denoised) - r]
        near = [denoised[j : j + len(inner)] for j in range(2 * r + 1)]
        differences = [(each - inner) / scale for j, each in enumerate(near) if j != r]
        noises = [noise[j : j + len(inner)] for j in range(2 * r + 1)]
        images = torch.stack([*differences, *noises, inner], 1)
        down, right = (-n % FOLD for n in images.shape[-2:])
        images = functional.pad(images, (0, right, 0, down), mode="replicate")
        numbers = torch.stack([ratio, ratio.new_tensor(slice_mm), ratio.new_tensor(pixel_mm)])
        found = self.network(images, numbers.log().expand(len(inner), -1))
        rows, columns = inner.shape[-2:]
        error_of: Tensor = scale * found[:, 0, :rows, :columns].to(inner.dtype)
        return inner + error_of


def mirrored(first: int, last: int, count: int) -> Tensor:
    """Numbers of the slices of a stack, which beyond the ends of the volume are mirrored.

    Args:
        first: number of the first slice, which may be negative.
        last: number behind the last slice, which may be beyond the volume.
        count: number of slices of the volume.
    """
    period = max(1, 2 * (count - 1))
    index = torch.arange(first, last) % period
    return torch.where(index < count, index, period - index)
