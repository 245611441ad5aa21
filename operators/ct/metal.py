r"""Metal artifact removal: Lambda selects the rays that miss the metal (Song et al. 2022, B.6.2).

Rays through metal form its trace in the sinogram. Their measurements carry little information, so
they are discarded, and the rest of the sinogram is a partial measurement like any other: a
:class:`~medscore.operators.ct.radon.Radon` whose mask is the complement of the trace. In practice
the metal is segmented in the artifact-affected image by a threshold (B.6.5).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.projector import project
from medscore.operators.grid import OperatorError
from medscore.types import Images, Sinogram

METAL_HU = 2500.0
"""Brighter pixels of a reconstruction count as metal; cortical bone is below 2000 HU."""


def estimate_metal(hu: Images, *, threshold: float = METAL_HU, smallest: int = 2) -> Tensor:
    """The mask of metal (batch, 1, H, W), bool, in an artifact-affected image.

    Args:
        hu: images in HU, (batch, 1, H, W).
        threshold: pixels above it are metal, in HU. Tooth enamel can exceed the default.
        smallest: minimum number of connected pixels (including diagonal neighbours) of a piece.
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
    """The mask of rays that cross metal, (batch, 1, views, detectors) bool.

    Args:
        metal: mask of the metal, (batch, 1, H, W).
        geometry: the scan.
        margin: number of detectors by which the trace is widened on each side.

    Raises:
        OperatorError: ``margin`` is negative.
    """
    if margin < 0:
        raise OperatorError(f"`margin` is {margin}, expected 0 or more detectors")
    trace = project(metal.to(torch.float32), geometry) > 0
    if not margin:
        return trace
    wide = torch.nn.functional.max_pool2d(
        trace.float(), (1, 2 * margin + 1), stride=1, padding=(0, margin)
    )
    return wide > 0


def without_metal(measured: Tensor, trace: Tensor) -> Tensor:
    """The mask of a scan without its metal trace, for :class:`Radon`.

    Args:
        measured: mask of the scan, (views, 1) or (views, detectors).
        trace: mask of the rays through metal, (batch, 1, views, detectors).

    Raises:
        OperatorError: no measurement of some sample remains.
    """
    remaining = measured.bool().to(trace.device) & ~trace
    if not bool(remaining.flatten(1).any(1).all()):
        raise OperatorError("the metal trace covers all measured rays: nothing remains")
    return remaining


def interpolate_trace(sinogram: Sinogram, mask: Tensor) -> Sinogram:
    """Linear interpolation of the missing rays along the detectors (LI, Kalender et al. 1987).

    Beyond the last measured ray of a view its value is repeated. Views without any measured ray are
    interpolated between their nearest neighbours with some, so missing views are filled as well; a
    sinogram without any measured ray becomes zero.

    Args:
        sinogram: (batch, channel, views, detectors); values where nothing was measured, including
            NaN, are ignored.
        mask: 1 where a ray was measured, broadcastable to ``sinogram``.
    """
    taken = mask.bool().expand(sinogram.shape)
    along = _interpolate(torch.where(taken, sinogram, 0), taken)
    filled = taken.any(-1, keepdim=True).expand(sinogram.shape)
    return _interpolate(along.transpose(-1, -2), filled.transpose(-1, -2)).transpose(-1, -2)


def _interpolate(y: Tensor, taken: Tensor) -> Tensor:
    """Linear interpolation along the last axis; rows without any known value are unchanged."""
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
