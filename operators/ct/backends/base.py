"""What every projector backend offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from medscore.operators.ct.geometry import Geometry

Views = tuple[int, ...]


@runtime_checkable
class Backend(Protocol):
    """Line integrals and their adjoint, without gradients; batches alone, no other axes.

    ``views`` restricts both to some views, in the order given; ``None`` means all.
    """

    def project(self, x: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        """Images (batch, size, size) to sinograms (batch, views, detectors)."""

    def backproject(self, sinogram: Tensor, geometry: Geometry, views: Views | None) -> Tensor:
        """The exact adjoint: (batch, views, detectors) to (batch, size, size)."""
