r"""Metal artifact removal: Lambda = the rays that miss the metal (Song et al. 2022, B.6.2).

Metal in the image shadows a trace in the sinogram. What was measured there says little, so it is
dropped, and the rest of the sinogram is a partial measurement like any other: a
:class:`~medscore.operators.ct.radon.Radon` whose mask is the complement of the trace. In practice
the metal is known from the artifact-affected image alone, by thresholding it (B.6.5).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.projector import project
from medscore.types import Images, Sinogram

METAL_HU = 2500.0
"""What is brighter in a reconstruction is taken for metal; cortical bone stays under 2000 HU."""


def estimate_metal(hu: Images, *, threshold: float = METAL_HU, smallest: int = 2) -> Tensor:
    """Pixels (batch, 1, H, W) bool of an artifact-affected image in HU that look like metal.

    Args:
        threshold: in HU. Tooth enamel can exceed the default. smallest: connected pixels, corners
            included, that a piece must have.
    """
    bright = (hu > threshold).cpu().numpy()
    kept = np.zeros_like(bright)
    for index in np.ndindex(*bright.shape[:2]):
        labels, _ = ndimage.label(bright[index], structure=np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        kept[index] = (sizes >= smallest)[labels]
    return torch.from_numpy(kept).to(hu.device)


def metal_trace(metal: Tensor, geometry: Geometry, *, margin: int = 0) -> Tensor:
    """Rays (batch, 1, views, detectors) bool that cross the metal (batch, 1, H, W), and ``margin``
    more detectors on each side.

    Raises:
        ValueError: ``margin`` is negative.
    """
    if margin < 0:
        raise ValueError(f"margin is {margin}, expected 0 or more detectors")
    trace = project(metal.to(torch.float32), geometry) > 0
    if not margin:
        return trace
    wide = torch.nn.functional.max_pool2d(
        trace.float(), (1, 2 * margin + 1), stride=1, padding=(0, margin)
    )
    return wide > 0


def without_metal(measured: Tensor, trace: Tensor) -> Tensor:
    """Lambda of a scan, sparse or not, without its metal trace: for :class:`Radon`.

    Args:
        measured: (views, 1) or (views, detectors). trace: (batch, 1, views, detectors).

    Raises:
        ValueError: nothing remains of some sample.
    """
    remaining = measured.bool().to(trace.device) & ~trace
    if not bool(remaining.flatten(1).any(1).all()):
        raise ValueError("the metal trace covers all that was measured: nothing remains")
    return remaining


def interpolate_trace(sinogram: Sinogram, mask: Tensor) -> Sinogram:
    """LI: the missing rays by linear interpolation along the detectors of their view (Kalender et
    al. 1987); towards the detector's end, the nearest ray. Views without any ray are interpolated
    between the nearest views that have some, so sparse views come out filled too; a sinogram
    without any stays zero.

    Args:
        sinogram: (batch, channel, views, detectors); what it holds where nothing was measured,
            be it NaN, is not used. mask: 1 where it was measured.
    """
    taken = mask.bool().expand(sinogram.shape)
    along = _interpolate(torch.where(taken, sinogram, 0), taken)
    filled = taken.any(-1, keepdim=True).expand(sinogram.shape)
    return _interpolate(along.transpose(-1, -2), filled.transpose(-1, -2)).transpose(-1, -2)


def _interpolate(y: Tensor, taken: Tensor) -> Tensor:
    """Fill each row of the last axis linearly between what was taken; rows without any stay."""
    n = y.shape[-1]
    place = torch.arange(n, device=y.device).expand(y.shape)
    before = torch.where(taken, place, -1).cummax(-1).values
    after = torch.where(taken, place, n).flip(-1).cummin(-1).values.flip(-1)
    nothing = (before < 0) & (after >= n)
    left = torch.where(before < 0, after, before).clamp(0, n - 1)
    right = torch.where(after >= n, before, after).clamp(0, n - 1)
    share = (place - left).to(y) / (right - left).clamp_min(1).to(y)
    line = y.gather(-1, left) * (1 - share) + y.gather(-1, right) * share
    return torch.where(taken | nothing, y, line)
