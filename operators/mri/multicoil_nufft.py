r"""Non-Cartesian MRI with several coils: A = P(Lambda) F S (Pruessmann et al. 2001).

F is the Fourier transform at the points of a trajectory, S multiplies by the sensitivity of each
coil. The left inverse combines those of the coils:

.. math:: T^{-1} z = \frac{\sum_c \bar S_c\, F^{-1} z_c}{\sum_c |S_c|^2}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.mri.multicoil import (
    check_sensitivity,
    combined,
    least_squares,
    with_maps_of,
)
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.noise import NoiseModel
from medscore.types import ComplexImages


class MulticoilNonuniform(Operator):
    """k-space samples (batch, coil, samples) of complex images (batch, 1, H, W).

    Pixels outside all sensitivities are zero in ``T_inv`` and unchanged by data consistency.

    Args:
        sensitivity: complex maps (coil, H, W), or (batch, coil, H, W) for each sample.
        trajectory: (2, samples), ky and kx of each sample in radians per pixel, within [-pi, pi].
        mask: (samples,) or (batch, 1, samples), the same for all coils.
        noise: noise of the receivers.

    Raises:
        MedscoreError: finufft is not installed.
        OperatorError: invalid maps, or a trajectory of another shape or outside of [-pi, pi].
    """

    surjective = False

    def __init__(
        self,
        sensitivity: Tensor,
        trajectory: Tensor,
        mask: Tensor,
        noise: NoiseModel | None = None,
    ) -> None:
        check_sensitivity(sensitivity, (3, 4))
        coils, height, width = sensitivity.shape[-3:]
        everything = torch.ones(trajectory.shape[-1], dtype=torch.bool)
        self.inner = NonuniformFourier(trajectory, everything, height, width)
        super().__init__(
            mask,
            image_shape=(height, width),
            grid_shape=(coils, trajectory.shape[-1]),
            noise=noise,
        )
        self.sensitivity = sensitivity

    @property
    def trajectory(self) -> Tensor:
        """(2, samples), ky and kx of each sample in radians per pixel."""
        return self.inner.trajectory

    def __repr__(self) -> str:
        (h, w), (coils, samples) = self.image_shape, self.grid_shape
        share = 100 * float(self._mask.float().mean())
        return (
            f"MulticoilNonuniform({h}x{w}, {coils} coils, {share:.3g} % of {samples} samples "
            "measured)"
        )

    def settings(self) -> dict[str, Any]:
        return {
            "sensitivity": self.sensitivity,
            "trajectory": self.trajectory,
            "mask": self._mask,
            "noise": self.noise_model,
        }

    def T(self, x: ComplexImages) -> Tensor:
        return self.inner.T(self.sensitivity.to(x) * x)

    def T_adjoint(self, z: Tensor) -> ComplexImages:
        return combined(self.sensitivity, self.inner.T_adjoint(z))

    def T_inv(self, z: Tensor) -> ComplexImages:
        return least_squares(self.sensitivity, self.inner.T_inv(z))

    def select(self, samples: Sequence[int]) -> MulticoilNonuniform:
        return with_maps_of(super().select(samples), samples)
