r"""The approximation of A A^T for line integrals (:mod:`medscore.operators.gram`).

Joseph's method weights the two pixels of a crossing by 1 - t and t, so a ray of length l has the
squared norm :math:`\tfrac{2}{3} l h`, with the distance h of two crossings.

In the plane of frequencies each view is a line through the origin. V views over an arc of a radians
lie f a / V apart at the frequency f, and the image's frequencies 1 / L apart, with the side L of
the image. So views overlap below :math:`f_c = V / (a L)`.
"""

from __future__ import annotations

import math

from torch import Tensor

from medscore.operators.ct.cone.geometry import VoxelGrid
from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.geometry import Geometry
from medscore.operators.ct.shares import half_turn_shares, turn_arcs
from medscore.operators.gram import Gram

CROSSING = 2 / 3 * 4 / math.pi * math.log(1 + 2**0.5)
"""2/3 of the mean distance of two crossings in pixels: that of 1 / max(|cos|, |sin|) over the
directions."""


def ray_gram(geometry: Geometry, lengths: Tensor, measured: Tensor) -> Gram:
    """The approximation of A A^T.

    Args:
        geometry: the scan.
        lengths: lengths of the rays within the image in mm, zero where nothing is measured,
            (batch or 1, 1, views, detectors).
        measured: whether any ray of a view is measured, (batch or 1, views) bool.
    """
    corners = lengths.new_tensor([overlap(geometry, views) for views in measured.cpu()])
    norms, pixel = CROSSING * geometry.spacing * lengths, geometry.spacing / pitch(geometry)
    return Gram(norms, corners[:, None, None, None], pixel)


def cone_gram(fan: FanBeam, grid: VoxelGrid, lengths: Tensor, measured: Tensor) -> Gram:
    """The approximation of A A^T for a cone beam, whose rows are taken as fan beams.

    In space, Joseph's method interpolates along two axes, so :math:`\\tfrac23` counts twice.

    Args:
        fan: the fan beam in the middle plane, with its views in the order of their angles.
        grid: the voxels.
        lengths: lengths of the rays within the volume in mm, zero where nothing is measured,
            (batch or 1, 1, views, rows, columns).
        measured: whether any ray of a view is measured, in the order of the fan, (batch or 1,
            views) bool.
    """
    step = min(grid.spacing[1:])
    corners = lengths.new_tensor([overlap(fan, views) for views in measured.cpu()])
    norms = 2 / 3 * CROSSING * step * lengths
    return Gram(norms, corners[:, None, None, None, None], step / pitch(fan))


def pitch(geometry: Geometry) -> float:
    """The distance of two rays of a view in mm at the centre of rotation.

    Args:
        geometry: the scan.
    """
    if isinstance(geometry, FanBeam):
        return geometry.detector_spacing * geometry.source_distance / geometry.detector_distance
    return geometry.detector_spacing


def overlap(geometry: Geometry, measured: Tensor) -> float:
    """f_c in cycles per detector.

    Args:
        geometry: the scan.
        measured: whether a view is measured, (views,) bool.
    """
    if not bool(measured.any()):
        return 0.0
    angles = geometry.angles[measured]
    if isinstance(geometry, FanBeam):
        arc = min(math.pi, float(turn_arcs(angles).shares.sum()))  # opposite views share a line
    else:
        arc = float(half_turn_shares(angles).sum())
    return len(angles) * pitch(geometry) / (arc * geometry.size * geometry.spacing)
