"""Array shapes, written once. The tests check every annotated call against them at run time."""

from __future__ import annotations

from jaxtyping import Complex, Float
from torch import Tensor

State = Float[Tensor, "batch *shape"]
"""A batch of points of the diffusion: images (batch, channel, H, W) or vectors (batch, D)."""

Times = Float[Tensor, "batch"]
"""One diffusion time per sample, from 0 (data) to 1 (noise)."""

Images = Float[Tensor, "batch channel height width"]
"""Real images."""

Sinogram = Float[Tensor, "batch channel views detectors"]
"""Line integrals on the full grid of views."""

AnyFloat = Float[Tensor, "..."]
"""Real numbers of any shape."""

ComplexImages = Complex[Tensor, "batch channel height width"]
"""Complex images."""

Kspace = Complex[Tensor, "batch coil ky kx"]
"""Centred k-space on the full Cartesian grid; one coil where there is but one."""
