r"""Projection matrices of a cone-beam scan, and scans from projection matrices.

A 3 x 4 matrix P maps a point in homogeneous world coordinates to one in homogeneous image
coordinates (Hartley and Zisserman 2004, section 6.1), with a flat detector:

.. math:: P \begin{pmatrix} x \\ y \\ z \\ 1 \end{pmatrix}
          = w \begin{pmatrix} c \\ r \\ 1 \end{pmatrix}, \qquad P = (M \mid -M s), \qquad
          M^{-1} \propto \begin{pmatrix} u & v & p_{00} - s \end{pmatrix} .

c and r are the column and the row of a pixel, counted from the middle of the first (``pixels``), or
mm on the detector from its middle (``mm``), as RTK writes its matrices. The world is in mm. P and
every multiple of it are the same projection; here w is the distance from the source along the
detector's normal in mm. P does not say how far the detector is, only its size as seen from the
source; with the pitch of its columns, the distance follows.

RTK (``ThreeDCircularProjectionGeometry``) rotates about its y axis: with :data:`RTK_WORLD`, its x,
y, z are x, z and -y here, an array [z, y, x] of it is transposed to [y, z, x], and its gantry angle
is beta of :mod:`~medscore.operators.ct.cone.orbit`. LEAP's modular beam is a list of poses with
``u = pixelWidth * colVectors`` and ``v = pixelHeight * rowVectors``; ASTRA's ``cone_vec`` lists
source, detector, u and v as they are here. TIGRE has no matrices.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.grid import OperatorError
from medscore.types import AnyFloat

Unit = Literal["pixels", "mm"]
"""Unit of the image coordinates: pixels from the first, or mm from the middle of the detector."""

RTK_WORLD = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""The rotation from RTK's world axes to those here."""

WORLD = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

Axes = tuple[tuple[float, float, float], ...]


def projection_matrices(
    geometry: ConeGeometry, *, unit: Unit = "pixels", world: Axes = WORLD
) -> AnyFloat:
    """The projection matrices of a scan with a flat detector, (views, 3, 4) float64.

    Args:
        geometry: the scan.
        unit: unit of the image coordinates.
        world: rotation (3, 3) from the matrices' world axes to those of the scan, such as
            :data:`RTK_WORLD`.

    Raises:
        OperatorError: the detector is curved.
    """
    if geometry.detector_shape != "flat":
        raise OperatorError(
            "a curved detector has no projection matrix", hint="use its list of poses"
        )
    row, column = geometry.middle
    first = geometry.detector - geometry.source
    u, v = geometry.u, geometry.v
    if unit == "pixels":
        first = first - column * u - row * v
    else:
        u, v = (w / w.norm(dim=1, keepdim=True) for w in (u, v))
    m = torch.linalg.inv(torch.stack([u, v, first], -1))
    m = m / m[:, 2].norm(dim=1)[:, None, None]
    p = torch.cat([m, -m @ geometry.source[..., None]], -1)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.tensor(world, dtype=torch.float64)
    return p @ turn


def from_matrices(
    grid: VoxelGrid,
    matrices: Tensor,
    *,
    rows: int,
    columns: int,
    pitch: float | tuple[float, float],
    unit: Unit = "pixels",
    world: Axes = WORLD,
) -> ConeGeometry:
    """The scan with given projection matrices.

    Args:
        grid: the volume; its middle must lie in front of every source.
        matrices: the matrices, (views, 3, 4).
        rows: number of detector rows.
        columns: number of detector columns.
        pitch: distance of the columns in mm, which sets the distance of the detector; in ``mm`` the
            distance (v, u) of the rows and of the columns.
        unit: unit of the image coordinates.
        world: rotation (3, 3) from the matrices' world axes to those of the scan.

    Raises:
        OperatorError: a matrix has another shape, is singular or not finite, or see
            :class:`~medscore.operators.ct.cone.geometry.ConeGeometry`.
    """
    p = torch.as_tensor(matrices, dtype=torch.float64)
    if p.ndim != 3 or p.shape[1:] != (3, 4) or not len(p):
        raise OperatorError(f"`matrices` have shape {tuple(p.shape)}, expected (views, 3, 4)")
    if not bool(p.isfinite().all()):
        raise OperatorError("`matrices` contain NaN or infinity")
    across, down = (pitch, pitch) if isinstance(pitch, int | float) else (pitch[1], pitch[0])
    if unit == "mm":  # to pixels from the middle
        p = torch.tensor([1 / across, 1 / down, 1.0], dtype=torch.float64)[:, None] * p
    m = p[:, :, :3] @ torch.tensor(world, dtype=torch.float64).mT
    regular = torch.linalg.cond(m / m.norm(dim=2, keepdim=True).clamp_min(1e-300)) < 1e12
    if not bool(regular.all()):
        raise OperatorError(
            f"the projection matrix of view {int((~regular).nonzero()[0])} is singular",
            hint="its first three columns must be invertible: parallel beams are not supported",
        )
    source = -torch.linalg.solve(m, p[:, :, 3:])[..., 0]
    u, v, first = torch.linalg.inv(m).unbind(-1)
    centre = torch.tensor(grid.centre, dtype=torch.float64)
    ahead = (m[:, 2] * (centre - source)).sum(1)
    scale = (ahead.sign() * across / u.norm(dim=1))[:, None]
    u, v, first = scale * u, scale * v, scale * first
    if unit == "pixels":
        first = first + (columns - 1) / 2 * u + (rows - 1) / 2 * v
    return ConeGeometry(grid, source, source + first, u, v, rows, columns)
