"""Types of arrays with their shapes, which the tests check at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Complex, Float
from torch import Tensor

Draw: TypeAlias = Callable[[Tensor], Tensor]
"""Draws white noise in the shape of its argument."""

State = Float[Tensor, "batch *shape"]
"""A batch of states of the diffusion: images (batch, channel, H, W) or vectors (batch, D)."""

Times = Float[Tensor, "batch"]
"""One diffusion time per sample, from 0 (data) to 1 (noise)."""

Images = Float[Tensor, "batch channel height width"]
"""Real images."""

Sinogram = Float[Tensor, "batch channel views detectors"]
"""Line integrals on the full grid of views."""

Readings = Float[Tensor, "batch channel *views detectors"]
"""Line integrals of slices or volumes: a sinogram, or projections of a cone beam."""

Volumes = Float[Tensor, "batch channel depth height width"]
"""Real volumes."""

Projections = Float[Tensor, "batch channel views rows columns"]
"""Line integrals on the detector of a cone beam, in all views."""

AnyFloat = Float[Tensor, "..."]
"""Real numbers of any shape."""

ComplexImages = Complex[Tensor, "batch channel height width"]
"""Complex images."""

Kspace = Complex[Tensor, "batch coil ky kx"]
"""Centred k-space on the full Cartesian grid; single-coil data have one coil."""

Frequencies = Float[Tensor, " frequencies"]
"""Frequencies in cycles per pixel."""

Spectra = Float[Tensor, "batch frequencies"]
"""A power spectrum for each sample."""
