r"""Complex measurements of images that a network represents by real numbers, in two ways.

- :class:`Phased`: the image is :math:`e^{i\varphi} x` with real x, as of a magnitude prior, and a
  known phase :math:`\varphi`. It is estimated from the fully sampled centre, because the phase of
  an image is smooth (:func:`estimate_phase`). T x = T' (e^{i phi} x) is not surjective: most
  k-space data lie outside its range.
- :class:`TwoChannels`: the real and the imaginary part are two channels, for a prior that was
  trained on complex images. T is surjective if that of the complex images is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.sensitivity import low_resolution
from medscore.operators.structure import Normal
from medscore.operators.wrappers.padded import middle
from medscore.types import Kspace


class Phased(Operator):
    """``inner`` on real images (batch, 1, H, W) with a known phase.

    Args:
        inner: an operator on complex images (batch, 1, H, W).
        phase: e^{i phi}, complex of modulus 1, (H, W), or (1 or batch, 1, H, W).

    Raises:
        OperatorError: the phase is not complex of modulus 1, or of another size.
    """

    surjective = False

    def __init__(self, inner: Operator, phase: Tensor) -> None:
        if not phase.is_complex() or float((phase.abs() - 1).abs().max()) > 1e-4:
            raise OperatorError("the phase must consist of complex numbers of modulus 1")
        if tuple(phase.shape[-2:]) != inner.image_shape:
            raise OperatorError(
                f"the phase has shape {tuple(phase.shape)}, the image {inner.image_shape}"
            )
        self.inner, self.phase = inner, phase
        super().__init__(
            inner.diagonal,
            image_shape=inner.image_shape,
            grid_shape=inner.grid_shape,
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        return f"Phased({self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner, "phase": self.phase}

    def select(self, samples: Sequence[int]) -> Phased:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        if self.phase.ndim > 2 and len(self.phase) > 1:
            chosen.phase = self.phase[list(samples)]
        return chosen

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(self._phase(x) * x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return (self._phase(z).conj() * self.inner.T_adjoint(z)).real

    def T_inv(self, z: Tensor) -> Tensor:
        return (self._phase(z).conj() * self.inner.T_inv(z)).real

    def normal(self, y: Tensor) -> Normal | None:
        inner, phase = self.inner.normal(y), self._phase(y)
        if inner is None:
            return None
        return self._counted(lambda x: (phase.conj() * inner(phase * x)).real)

    def _phase(self, like: Tensor) -> Tensor:
        return self.phase.to(like.device, like.dtype.to_complex())


class TwoChannels(Operator):
    """``inner`` on real images (batch, 2, H, W), the real and the imaginary part.

    Args:
        inner: an operator on complex images (batch, 1, H, W).
    """

    def __init__(self, inner: Operator) -> None:
        self.inner = inner
        self.surjective = inner.surjective
        self.zero_filled_is_pinv = inner.zero_filled_is_pinv
        super().__init__(
            inner.diagonal,
            image_shape=(2, *inner.image_shape),
            grid_shape=inner.grid_shape,
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        return f"TwoChannels({self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner}

    def select(self, samples: Sequence[int]) -> TwoChannels:
        chosen = copy.copy(super().select(samples))
        chosen.inner = self.inner.select(samples)
        return chosen

    def T(self, x: Tensor) -> Tensor:
        return self.inner.T(one_channel(x))

    def T_adjoint(self, z: Tensor) -> Tensor:
        return two_channels(self.inner.T_adjoint(z))

    def T_inv(self, z: Tensor) -> Tensor:
        return two_channels(self.inner.T_inv(z))

    def normal(self, y: Tensor) -> Normal | None:
        inner = self.inner.normal(y)
        if inner is None:
            return None
        return self._counted(lambda x: two_channels(inner(one_channel(x))))


def two_channels(image: Tensor) -> Tensor:
    """Complex images (batch, 1, H, W) as real images (batch, 2, H, W).

    Args:
        image: complex images.
    """
    return torch.cat([image.real, image.imag], dim=1)


def one_channel(image: Tensor) -> Tensor:
    """Real images (batch, 2, H, W) as complex images (batch, 1, H, W).

    Args:
        image: real and imaginary part.
    """
    return torch.complex(image[:, :1], image[:, 1:])


def estimate_phase(
    kspace: Kspace,
    sensitivity: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Phase e^{i phi} (batch, 1, H, W) of the image of the fully sampled centre of k-space.

    It is 1 where there is no signal.

    Args:
        kspace: (batch, coil, ky, kx), zero where nothing was measured.
        sensitivity: sensitivity maps (coil, H, W) or (batch, coil, H, W); ``None`` for one coil.
        mask: samples that were measured, (..., ky, kx); by default those that are not zero.
        size: rows and columns of the image, where it is the middle of the field of view.

    Raises:
        OperatorError: no fully sampled centre, or several coils without ``sensitivity``.
    """
    # low_resolution returns the image of each coil over their root sum of squares
    sides = (
        None
        if mask is None
        else calibration_region(mask.bool().reshape(-1, *mask.shape[-2:]).all(0))
    )
    image = low_resolution(kspace, sides, threshold=0.0)
    if size is not None:
        image = middle(image, size)
    if sensitivity is not None:
        image = (sensitivity.conj() * image).sum(-3, keepdim=True)
    elif image.shape[-3] != 1:
        raise OperatorError(f"the data have {image.shape[-3]} coils: give `sensitivity`")
    modulus = image.abs()
    return torch.where(modulus > 0, image / modulus.clamp_min(1e-30), torch.ones_like(image))
