r"""Cartesian MRI with several coils: A = P(Lambda) F S (Pruessmann et al. 1999).

S multiplies the image by the sensitivity of each coil. T = F S returns a sample for every coil and
is not square: T^-1 z = S^H F^H z / sum |S|^2 is a left inverse, but most multicoil k-space data lie
outside the range of T, so data consistency and ``pinv`` use conjugate gradients (CG-SENSE).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.grid import OperatorError
from medscore.operators.mri.fourier import fft2c, ifft2c, kspace_shape, phases
from medscore.operators.noise import NoiseModel
from medscore.operators.structure import Normal
from medscore.operators.wrappers.padded import Padded, middle
from medscore.operators.wrappers.restricted import Restricted
from medscore.types import ComplexImages, Kspace


@runtime_checkable
class HasMaps(Protocol):
    """An operator of several coils.

    Attributes:
        sensitivity: (coil, H, W) or (batch, coil, H, W).
    """

    sensitivity: Tensor


Coils = TypeVar("Coils", bound=HasMaps)


def sensitivity_of(operator: Operator) -> Tensor | None:
    """The sensitivity maps of ``operator`` on its images, or ``None`` if it has no coils.

    Args:
        operator: an operator on complex images, possibly padded or restricted.
    """
    own = getattr(operator, "sensitivity", None)
    if isinstance(own, Tensor):
        return own
    if isinstance(operator, Restricted):
        return sensitivity_of(operator.inner)
    if isinstance(operator, Padded):
        maps = sensitivity_of(operator.inner)
        rows, columns = operator.image_shape[-2:]
        return None if maps is None else middle(maps, (rows, columns))
    return None


def check_sensitivity(sensitivity: Tensor, axes: tuple[int, ...]) -> None:
    """Reject coil sensitivities that are not complex, not finite, or zero everywhere.

    Args:
        sensitivity: (coil, H, W) or (batch, coil, H, W).
        axes: numbers of axes that are accepted.

    Raises:
        OperatorError: invalid maps.
    """
    if not sensitivity.is_complex() or sensitivity.ndim not in axes:
        shapes = {3: "(coil, H, W)", 4: "(batch, coil, H, W)"}
        raise OperatorError(
            f"the sensitivities are {sensitivity.dtype} of shape {tuple(sensitivity.shape)}, "
            f"expected complex {' or '.join(shapes[n] for n in axes)}"
        )
    if not bool(torch.isfinite(sensitivity).all()) or not bool(sensitivity.any()):
        raise OperatorError("the sensitivities must be finite, and not zero everywhere")


def combined(sensitivity: Tensor, images: Tensor) -> Tensor:
    """Images of all coils weighted by their conjugate sensitivities, S^H x: (..., 1, H, W).

    Args:
        sensitivity: (coil, H, W) or (batch, coil, H, W).
        images: (..., coil, H, W).
    """
    return (sensitivity.to(images).conj() * images).sum(-3, keepdim=True)


def least_squares(sensitivity: Tensor, images: Tensor) -> Tensor:
    """The image whose products with the sensitivities fit those of all coils best; 0 outside.

    Args:
        sensitivity: see :func:`combined`.
        images: see :func:`combined`.
    """
    return over_power(sensitivity, combined(sensitivity, images))


def over_power(sensitivity: Tensor, image: Tensor) -> Tensor:
    """An image over the sum of the squared sensitivities; 0 outside of them.

    Args:
        sensitivity: see :func:`combined`.
        image: real or complex, (..., 1 or 2, H, W).
    """
    maps = sensitivity.to(image.device, image.dtype.to_complex())
    power = maps.abs().square().sum(-3, keepdim=True)
    return torch.where(power > 0, image / power.clamp_min(1e-30), 0)


def with_maps_of(chosen: Coils, samples: Sequence[int]) -> Coils:
    """An operator for some samples of a batch, with the coil maps of these where they differ.

    Args:
        chosen: the operator with the masks of the samples.
        samples: indices into the batch.
    """
    if chosen.sensitivity.ndim == 3 or len(chosen.sensitivity) == 1:
        return chosen
    chosen = copy.copy(chosen)
    chosen.sensitivity = chosen.sensitivity[list(samples)]
    return chosen


class MulticoilFourier(Operator):
    """k-space (batch, coil, ky, kx) of complex images (batch, 1, H, W).

    Pixels outside all sensitivities are zero in ``T_inv`` and unchanged by data consistency.

    Args:
        sensitivity: complex maps (coil, H, W), or (batch, coil, H, W) for each sample.
        mask: (ky, kx) or (batch, 1, ky, kx), the same for all coils.
        noise: noise of the receivers.

    Raises:
        OperatorError: maps that are not complex, not finite, zero everywhere or of another size.
    """

    surjective = False

    def __init__(self, sensitivity: Tensor, mask: Tensor, noise: NoiseModel | None = None) -> None:
        shape = kspace_shape(mask)
        check_sensitivity(sensitivity, (3, 4))
        if tuple(sensitivity.shape[-2:]) != shape:
            raise OperatorError(
                f"the sensitivities have {sensitivity.shape[-2]}x{sensitivity.shape[-1]} pixels, "
                f"the mask {shape[0]}x{shape[1]}"
            )
        coils = sensitivity.shape[-3]
        super().__init__(mask, image_shape=shape, grid_shape=(coils, *shape), noise=noise)
        self.sensitivity = sensitivity

    def __repr__(self) -> str:
        coils, h, w = self.grid_shape
        share = 100 * float(self._mask.float().mean())
        return f"MulticoilFourier({h}x{w}, {coils} coils, {share:.3g} % of k-space measured)"

    def settings(self) -> dict[str, Any]:
        return {
            "sensitivity": self.sensitivity,
            "mask": self._mask,
            "noise": self.noise_model,
        }

    def T(self, x: ComplexImages) -> Kspace:
        return fft2c(self.sensitivity.to(x) * x)

    def T_adjoint(self, z: Kspace) -> ComplexImages:
        return combined(self.sensitivity, ifft2c(z))

    def T_inv(self, z: Kspace) -> ComplexImages:
        return least_squares(self.sensitivity, ifft2c(z))

    def normal(self, y: Kspace) -> Normal:
        """S^H F^H Lambda F S without the centring of k-space, which is unitary on both sides, and
        without the transforms along an axis on which Lambda is constant.
        """
        mask = self.mask(y)
        axes = tuple(a for a in (-2, -1) if bool((mask != mask.narrow(a, 0, 1)).any()))
        before, _ = phases((y.shape[-2], y.shape[-1]), y.dtype, y.device)
        maps = self.sensitivity.to(y) * before

        def apply(x: ComplexImages) -> ComplexImages:
            spectrum = mask * torch.fft.fftn(maps * x, dim=axes)
            return combined(maps, torch.fft.ifftn(spectrum, dim=axes))

        return self._counted(apply)

    def select(self, samples: Sequence[int]) -> MulticoilFourier:
        return with_maps_of(super().select(samples), samples)
