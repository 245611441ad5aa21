r"""CT: T is the Radon transform over a full grid of views, Lambda selects the measured rays."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from medscore.errors import MedscoreWarning
from medscore.operators.autograd import outside, remember
from medscore.operators.base import Operator
from medscore.operators.ct.fbp import (
    Window,
    adjoint_filter,
    amplified,
    filtered_backprojection,
    ramp_filter,
)
from medscore.operators.ct.geometry import FanBeam, Geometry
from medscore.operators.ct.projector import MEMORY, backproject, project
from medscore.operators.ct.ray_gram import ray_gram
from medscore.operators.ct.views import onto_all_views, seen_views
from medscore.operators.gram import Gram
from medscore.operators.linalg import chebyshev, largest_eigenvalue
from medscore.operators.noise import NoiseModel
from medscore.types import Images, Sinogram

REFINEMENTS = 4
"""Chebyshev steps after filtered back-projection in ``T_inv``."""

SMALLEST_EIGENVALUE = 0.2
"""Lower end of the Chebyshev interval; components below it (the corners of the frequency square)
are the loss of ``T_inv``. The PSNR of T_inv(T x) is at least 42 dB on CT slices
(benchmarks/sparse_ct.py)."""


class Radon(Operator):
    """Line integrals (batch, channel, views, detectors) of images (batch, channel, size, size).

    A warning is given if the detector does not cover the image.

    Args:
        geometry: the full grid of views, a parallel or a fan beam; lengths are in mm, so images in
            1/mm have dimensionless line integrals.
        mask: the measured rays: (views, 1) or (views, detectors), or one mask for each sample,
            (batch, 1, views, 1 or detectors).
        noise: noise of the scan.
        backend: see :func:`medscore.operators.ct.projector.choose`.
        memory: largest size in bytes of a matrix that the backend ``auto`` stores.

    Raises:
        ValueError: the mask does not fit the geometry.
    """

    surjective = False

    def __init__(
        self,
        geometry: Geometry,
        mask: Tensor,
        noise: NoiseModel | None = None,
        *,
        backend: str = "auto",
        memory: int = MEMORY,
    ) -> None:
        super().__init__(
            mask,
            image_shape=(geometry.size, geometry.size),
            grid_shape=(geometry.views, geometry.detectors),
            noise=noise,
        )
        _warn_if_truncated(geometry)
        self.geometry = geometry
        self._backend: dict[str, Any] = {"backend": backend, "memory": memory}
        self.measured = self._views().any(0)
        """Views with any measured ray in any sample, (views,) bool."""
        self._rows = self.measured.nonzero()[:, 0]
        few = 4 * len(self._rows) <= geometry.views
        self._few = tuple(self._rows.tolist()) if few else None
        """The measured views, if they are few enough for A to have a matrix of its own, which takes
        up to twice the memory of that of T."""

    def __repr__(self) -> str:
        g, few = self.geometry, len(self._rows)
        beam = "parallel beam"
        if isinstance(g, FanBeam):
            beam = (
                f"fan beam from {g.source_distance:g} mm to a {g.detector_shape} detector at "
                f"{g.detector_distance:g} mm"
            )
        turn = 360 if isinstance(g, FanBeam) or float(g.angles[-1] - g.angles[0]) > math.pi else 180
        away = f", {g.detector_offset:g} mm beside the axis" if g.detector_offset else ""
        share = float(self._mask.float().mean())  # a mask of fewer axes is the same along others
        rest = f", {100 * share * g.views / few:.3g} % of their rays"
        noise = repr(self.noise_model)
        return (
            f"Radon({g.size}x{g.size} pixels of {g.spacing:g} mm, {beam}, {few} of {g.views} views "
            f"over {turn} degrees, {g.detectors} detectors of {g.detector_spacing:g} mm{away}"
            f"{rest if share * g.views < few - 1e-6 else ''}"
            f"{'' if noise == 'Noiseless()' else f', {noise}'})"
        )

    def settings(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "mask": self._mask, "noise": self.noise_model}

    def T(self, x: Images) -> Sinogram:
        return project(x, self.geometry, **self._backend)

    def T_adjoint(self, z: Sinogram) -> Images:
        return backproject(z, self.geometry, **self._backend)

    def forward(self, x: Images) -> Sinogram:
        self._count[0] += 1
        return self._rays(x)

    def _rays(self, x: Tensor) -> Tensor:
        """A x, without counting the call."""
        if self._few is None:
            z = self.T(x)
            return self.mask(z) * z
        rays = project(x, self.geometry, views=self._few, **self._backend)
        z = onto_all_views(rays, self._rows, self.geometry.views, -2)
        return self.mask(z) * z

    def adjoint(self, y: Sinogram) -> Images:
        if self._few is None:
            return super().adjoint(y)
        self._count[0] += 1
        rays = (self.mask(y) * y).index_select(-2, self._rows.to(y.device))
        return backproject(rays, self.geometry, views=self._few, **self._backend)

    def gram(self, y: Sinogram) -> Gram:
        def make() -> Gram:
            one = y.new_ones(1, 1, *self.image_shape)
            return ray_gram(self.geometry, self._rays(one), self._views())

        found: Gram = remember(self._cache, ("gram", y.dtype, y.device), make)
        return found

    def T_inv(self, z: Sinogram) -> Images:
        r"""Filtered back-projection, refined by a fixed polynomial in the normal operator.

        With the ramp filter F and M = T^T F T, filtered back-projection x_0 = T^T F z solves
        M x = T^T F z up to the deviation of M from the identity. Chebyshev iteration on the
        spectrum [0.2, lambda_max] reduces that error by the same polynomial for every z, so
        ``T_inv`` is linear.
        """
        g = self.geometry
        high = 1.02 * outside(lambda: _largest_eigenvalue(g))
        return chebyshev(
            lambda x: self.filtered_backprojection(self.T(x)),
            self.filtered_backprojection(z),
            low=SMALLEST_EIGENVALUE,
            high=high,
            steps=REFINEMENTS,
        )

    def filtered_backprojection(self, z: Sinogram) -> Images:
        """T^T F z with the ramp filter F over the full grid, the first approximation of T_inv.

        Args:
            z: full sinograms (batch, channel, views, detectors).
        """
        ramp, gain = outside(lambda: adjoint_filter(self.geometry))
        return amplified(self.T_adjoint(ramp(z)), gain)

    def fbp(self, y: Sinogram, window: Window = "ram-lak") -> Images:
        """Filtered back-projection of the measured views, the classical reconstruction.

        Each view is weighted by the angle that it represents, each ray of a fan beam by how often
        it is measured. If the masks of the samples differ, each sample has its own views.

        Args:
            y: measurements (batch, channel, views, detectors).
            window: apodisation window of the ramp filter.

        Raises:
            MedscoreError: rays are missing that filtered back-projection needs: the arc of a fan
                beam is shorter than half a turn and the fan angle, or a displaced detector leaves
                out a part of the image that no opposite view shows.
        """
        seen = self._views()
        if len(seen) == len(y) and bool((seen != seen[:1]).any()):
            rows = (self.mask(y) * y).split(1)
            return torch.cat(
                [self._fbp(one, own, window) for one, own in zip(rows, seen, strict=True)]
            )
        return self._fbp(self.mask(y) * y, self.measured, window)

    def _fbp(self, y: Sinogram, measured: Tensor, window: Window) -> Images:
        rows = measured.expand(self.geometry.views).nonzero()[:, 0]
        views = tuple(rows.tolist())
        ramp = outside(lambda: ramp_filter(self.geometry, views, window=window))
        taken = y.index_select(-2, rows.to(y.device))
        if ramp.adjoint and 4 * len(rows) > self.geometry.views:
            return self.T_adjoint(onto_all_views(ramp(taken), rows, self.geometry.views, -2))
        return filtered_backprojection(taken, self.geometry, ramp, views, **self._backend)

    def _views(self) -> Tensor:
        """The views with any measured ray: (samples, views), or (1, views) if they share a mask."""
        return seen_views(self._mask, self.geometry.views, 1)


def _warn_if_truncated(geometry: Geometry) -> None:
    """Warn, with their share, if some pixels are not visible in every view."""
    y = (torch.arange(geometry.size) - (geometry.size - 1) / 2) * geometry.spacing
    lost = (y[:, None] ** 2 + y**2).sqrt() > geometry.field_of_view + geometry.spacing / 2
    share = float(lost.double().mean())
    if share >= 5e-4:  # less is printed as 0.0 %
        warnings.warn(
            f"the detector covers a circle of radius {geometry.field_of_view:g} mm: "
            f"{100 * share:.1f} % of the image's pixels lie outside it, and their attenuation "
            "is missing in some views",
            MedscoreWarning,
            stacklevel=3,
        )


@lru_cache(maxsize=8)
def _largest_eigenvalue(geometry: Geometry) -> float:
    """lambda_max of M = T^T F T, by power iteration from a fixed start."""
    ramp, gain = adjoint_filter(geometry)
    start = torch.randn(1, geometry.size, geometry.size, generator=torch.Generator().manual_seed(0))
    found = largest_eigenvalue(
        lambda v: amplified(backproject(ramp(project(v, geometry)), geometry), gain), start
    )
    return float(found)
