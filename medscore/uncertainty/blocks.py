r"""Covariance matrices that are diagonal in the cosine transforms of overlapping blocks.

.. math:: C = \tfrac1r \Phi^T \operatorname{diag}(v) \Phi, \qquad v \ge 0,

where :math:`\Phi` maps an image to the orthonormal cosine transforms (DCT-II) of all blocks of
4 x 4 pixels at every second pixel. Each pixel lies in r = 4 blocks, so :math:`\Phi^T \Phi = r I`,
and v = 1 gives the identity. Unlike a diagonal matrix, C knows that the errors of a denoiser are
correlated over neighbouring pixels, and differently along an edge than across it. By Eq. 4.11 of
Song (2022) with the family of these matrices, the best v reproduces the mean square of every
coefficient :math:`\varphi_k^T e` of the error,

.. math:: u_k = \varphi_k^T C \varphi_k
          = \tfrac1r \sum_j (\varphi_k^T \varphi_j)^2 v_j = E (\varphi_k^T e)^2 .
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, pad

from medscore.types import Draw, Frequencies, Images, Spectra, Times

SIDE, STRIDE = 4, 2
"""Side of the blocks and their distance in pixels."""

COEFFICIENTS = SIDE**2
"""Number of coefficients of a block."""

COVERED = (SIDE // STRIDE) ** 2
"""Number r of blocks that a pixel lies in."""

DIRECTIONS = 32
"""Number of directions that a power spectrum is averaged over."""

Coefficients = Float[Tensor, "batch channel coefficient rows columns"]
"""One number for each coefficient of each block of an image."""

Inside = Float[Tensor, "batch channel coefficient inner_rows inner_columns"]
"""The same of the blocks that the border of the image does not cut."""


@dataclass(frozen=True)
class BlockCovariance:
    """The covariance matrices of a batch of images that are diagonal in the transforms of blocks.

    Attributes:
        variances: v, not negative, (batch, channel, 16, rows, columns) for ``rows`` x ``columns``
            blocks.
        shape: rows and columns of the images.
    """

    variances: Coefficients
    shape: tuple[int, int]

    @classmethod
    def from_maps(cls, maps: Float[Tensor, "batch maps H W"]) -> BlockCovariance:
        """The covariance whose v are the means over each block of maps of the image's size.

        Args:
            maps: a map for each coefficient of each channel, (batch, channel * 16, H, W).
        """
        split = maps.unflatten(1, (-1, COEFFICIENTS))
        flat = split.flatten(0, 1)
        pooled = avg_pool2d(pad(flat, _around(maps), mode="replicate"), SIDE, STRIDE)
        return cls(pooled.unflatten(0, split.shape[:2]), (maps.shape[-2], maps.shape[-1]))

    @property
    def marginal(self) -> Images:
        """The variance of each value: the diagonal of the matrix."""
        return self._synthesis(self.variances, _basis(self.variances).square())

    def product(self, v: Images) -> Images:
        """The product C v, (batch, channel, H, W).

        Args:
            v: images (batch, channel, H, W).
        """
        basis = _basis(self.variances)
        return self._synthesis(self.variances * transform(v), basis)

    def draw(self, noise: Draw) -> Images:
        r"""Images drawn from N(0, C), :math:`r^{-1/2} \Phi^T \sqrt v \, z`.

        Args:
            noise: draws white noise in the shape of its argument.
        """
        z = noise(self.variances)
        drawn: Images = COVERED**0.5 * self._synthesis(self.variances.sqrt() * z, _basis(z))
        return drawn

    def power(self, frequency: Frequencies) -> Spectra:
        """The power spectrum of C over its mean variance, averaged over the image and directions.

        A block moved over the whole image is a filter with the power of its cosine transform.

        Args:
            frequency: in cycles per pixel.
        """
        share = self.variances.mean((1, 3, 4))
        share = share / share.sum(1, keepdim=True)
        spectrum: Tensor = share @ _block_power(frequency)
        return spectrum

    def scaled(self, gain: Float[Tensor, "batch 1 1 1"]) -> BlockCovariance:
        """The covariance of the image times a positive number.

        Args:
            gain: the number for each sample, (batch, 1, 1, 1).
        """
        return BlockCovariance(self.variances * gain[..., None] ** 2, self.shape)

    def of_coefficients(self) -> Inside:
        """The variances u of the coefficients of the blocks that the border does not cut."""
        u = conv2d(self.variances.flatten(0, 1), _overlaps(self.variances), padding=1) / COVERED
        return self.inside(u.unflatten(0, self.variances.shape[:2]))

    def inside(self, coefficients: Coefficients) -> Inside:
        """The coefficients of the blocks that the border does not cut.

        Args:
            coefficients: one number for each coefficient of each block.
        """
        rows, columns = ((n - SIDE) // STRIDE + 1 for n in self.shape)
        return coefficients[..., 1 : 1 + rows, 1 : 1 + columns]

    def surprise(self, error: Images) -> Times:
        r"""The mean of :math:`\frac12 (\log u_k + (\varphi_k^T e)^2 / u_k)`, (batch,).

        Args:
            error: the error e of each image, (batch, channel, H, W).
        """
        u = self.of_coefficients()
        square = self.inside(transform(error)).square()
        return 0.5 * (torch.log(u) + square / u).flatten(1).mean(1)

    def _synthesis(self, coefficients: Tensor, basis: Tensor) -> Images:
        """Phi^T / r with some basis, (batch, channel, H, W)."""
        flat = conv_transpose2d(coefficients.flatten(0, 1), basis, stride=STRIDE) / COVERED
        (height, width), before = self.shape, SIDE - STRIDE
        inside: Images = flat[:, 0, before : before + height, before : before + width]
        return inside.reshape(*coefficients.shape[:2], height, width)


def transform(x: Images) -> Coefficients:
    """The coefficients Phi x of images, (batch, channel, 16, rows, columns).

    Args:
        x: images (batch, channel, H, W).
    """
    wide = pad(x, _around(x)).flatten(0, 1)[:, None]
    found: Coefficients = conv2d(wide, _basis(x), stride=STRIDE).unflatten(0, x.shape[:2])
    return found


def _around(x: Tensor) -> tuple[int, int, int, int]:
    """The padding with which each pixel lies in r blocks: left, right, top, bottom."""
    before = SIDE - STRIDE
    return before, before + -x.shape[-1] % STRIDE, before, before + -x.shape[-2] % STRIDE


def _basis(like: Tensor) -> Tensor:
    """The cosine transforms of a block as kernels, (16, 1, 4, 4)."""
    return _cosines().to(like)


def _overlaps(like: Tensor) -> Tensor:
    """(phi_k^T phi_j)^2 of a block with itself and its neighbours, (16, 16, 3, 3)."""
    basis = _cosines()
    wide = pad(basis, [SIDE - STRIDE] * 4)
    return conv2d(wide, basis, stride=STRIDE).square().to(like)


def _block_power(frequency: Tensor) -> Tensor:
    """The squared Fourier transform of each cosine, averaged over directions, (16, frequencies)."""
    angle = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    along = torch.stack([torch.sin(angle), torch.cos(angle)])
    pixel = torch.arange(SIDE, dtype=torch.float64)
    phase = -2j * math.pi * frequency.double().cpu()[:, None, None] * pixel
    rows, columns = (torch.exp(phase * axis[:, None]) for axis in along)
    basis = _cosines()[:, 0].to(rows.dtype)
    found = torch.einsum("kij,fai,faj->kfa", basis, rows, columns).abs().square().mean(-1)
    return found.to(frequency)


@lru_cache
def _cosines() -> Tensor:
    """The cosine transforms of a block in float64."""
    at = torch.arange(SIDE, dtype=torch.float64)
    rows = torch.cos(math.pi * at[:, None] * (at + 0.5) / SIDE) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    return torch.einsum("ai,bj->abij", rows, rows).reshape(COEFFICIENTS, 1, SIDE, SIDE)
