"""The interface of the projector backends."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from medscore.operators.ct.geometry import Geometry

Views = tuple[int, ...]


@runtime_checkable
class Backend(Protocol):
    """Line integrals and their adjoint, without gradients, on arrays with one batch axis."""

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        """Sinograms (batch, views, detectors) of images.

        Args:
            x: images (batch, size, size).
            geometry: the scan.
            views: indices of the views to compute, in this order; ``None`` for all.
        """

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        """The exact adjoint of :meth:`project`, (batch, size, size).

        Args:
            sinogram: (batch, views, detectors).
            geometry: the scan.
            views: indices of the views in ``sinogram``, in this order; ``None`` for all.
        """
