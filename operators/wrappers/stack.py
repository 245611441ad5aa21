"""Volumes measured slice by slice by one operator."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from medscore.operators.base import Operator


class Stack(Operator):
    """``inner`` on every slice of volumes (batch, channel, slices, H, W).

    Measurements are (batch, channel or coil, slices, ...). Where ``inner`` has a mask for each
    sample, its samples are the slices.

    Args:
        inner: an operator on images (batch, channel, H, W).
        slices: number of slices.

    Raises:
        ValueError: ``inner`` has masks for another number of slices.
    """

    def __init__(self, inner: Operator, slices: int) -> None:
        mask = inner.diagonal
        if mask.ndim > 3:  # (slices or 1, channel, ...) to (1, channel, slices or 1, ...)
            mask = mask.transpose(0, 1)[None]
        self.inner, self.slices = inner, slices
        self.surjective, self.zero_filled_is_pinv = inner.surjective, inner.zero_filled_is_pinv
        super().__init__(
            mask,
            image_shape=(slices, *inner.image_shape[-2:]),
            grid_shape=(slices, *inner.grid_shape[-2:]),
            noise=inner.noise_model,
        )

    def __repr__(self) -> str:
        return f"Stack({self.slices} slices of {self.inner!r})"

    def settings(self) -> dict[str, Any]:
        return {"inner": self.inner, "slices": self.slices}

    def to_volume(self, slices: Tensor) -> Tensor:
        """Images or measurements of the slices of one volume, as those of the volume.

        Args:
            slices: (slices, channel or coil, ...).
        """
        return _unfold(slices, slices[:1])

    def to_slices(self, volume: Tensor) -> Tensor:
        """One volume, or its measurements, as those of its slices.

        Args:
            volume: (1, channel or coil, slices, ...).
        """
        return _fold(volume)

    def T(self, x: Tensor) -> Tensor:
        return _unfold(self._inner(x).T(_fold(x)), x)

    def T_adjoint(self, z: Tensor) -> Tensor:
        return _unfold(self._inner(z).T_adjoint(_fold(z)), z)

    def T_inv(self, z: Tensor) -> Tensor:
        return _unfold(self._inner(z).T_inv(_fold(z)), z)

    def _inner(self, volumes: Tensor) -> Operator:
        return self.inner.select(list(range(self.slices)) * len(volumes))


def _fold(x: Tensor) -> Tensor:
    """(batch, channel, slices, ...) to (batch * slices, channel, ...)."""
    return x.transpose(1, 2).flatten(0, 1)


def _unfold(x: Tensor, like: Tensor) -> Tensor:
    stacked: Tensor = x.unflatten(0, (len(like), -1))
    return stacked.transpose(1, 2)
