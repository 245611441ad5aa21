"""Differentiable cone-beam projections and their exact adjoint, by Joseph's method.

Detectors with columns along z, as those of a circular orbit, take the faster way of
:mod:`~medscore.operators.ct.cone.upright`; all others that of
:mod:`~medscore.operators.ct.cone.tilted`. Both compute the same sums.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from medscore.operators.autograd import Map, linear_map, outside
from medscore.operators.ct.cone.geometry import ConeGeometry
from medscore.operators.ct.cone.symmetry import plan
from medscore.operators.ct.cone.tilted import Tilted
from medscore.operators.ct.cone.upright import Upright
from medscore.operators.ct.cone.voxel_rays import voxel_rays
from medscore.operators.grid import OperatorError
from medscore.types import AnyFloat

MEMORY = 2**28
"""Largest size in bytes of the temporary arrays, by default."""

Views = tuple[int, ...]


def project(
    x: AnyFloat, geometry: ConeGeometry, *, views: Views | None = None, memory: int = MEMORY
) -> AnyFloat:
    """Line integrals (..., views, rows, columns) of volumes; the gradient is :func:`backproject`.

    Args:
        x: volumes (..., Z, Y, X); the unit of the result is theirs times mm.
        geometry: the scan.
        views: indices of the views to compute, in this order; all by default.
        memory: largest size in bytes of the temporary arrays, besides some copies of the arguments.

    Raises:
        OperatorError: ``memory`` is not positive.
    """
    return linear_map(x, *_maps(geometry, views, memory))


def backproject(
    y: AnyFloat, geometry: ConeGeometry, *, views: Views | None = None, memory: int = MEMORY
) -> AnyFloat:
    """The exact adjoint of :func:`project`, (..., Z, Y, X).

    Args:
        y: projections (..., views, rows, columns).
        geometry: the scan.
        views: indices of the views in ``y``, in this order; all by default.
        memory: as in :func:`project`.

    Raises:
        OperatorError: ``memory`` is not positive.
    """
    forward, adjoint = _maps(geometry, views, memory)
    return linear_map(y, adjoint, forward)


def cost(geometry: ConeGeometry, views: Views | None = None) -> float:
    """The time of a projection in arbitrary units: of seed views with some images each.

    Args:
        geometry: the scan.
        views: indices of the views; all by default.
    """
    scan = outside(lambda: _projector(geometry, views, MEMORY))
    if isinstance(scan, Tilted):
        return 32.0 * len(scan.rays.source)
    return float(len(scan.plan.seeds) * (8 + scan.channels))


def _maps(geometry: ConeGeometry, views: Views | None, memory: int) -> tuple[Map, Map]:
    """The projection and its adjoint on arrays with any number of leading axes."""
    if memory < 1:
        raise OperatorError(f"`memory` is {memory} bytes", hint="use a positive number")
    scan = outside(lambda: _projector(geometry, views, memory))
    return lambda x: _flat(scan.project, x), lambda y: _flat(scan.backproject, y)


@lru_cache(maxsize=8)
def _projector(geometry: ConeGeometry, views: Views | None, memory: int) -> Upright | Tilted:
    rays = voxel_rays(geometry if views is None else geometry.select(list(views)))
    return Upright(rays, plan(rays), memory) if rays.upright else Tilted(rays, memory)


def _flat(run: Map, x: Tensor) -> Tensor:
    """``run`` with all leading axes of ``x`` as one batch."""
    result = run(x.reshape(-1, *x.shape[-3:]))
    return result.reshape(*x.shape[:-3], *result.shape[-3:])
