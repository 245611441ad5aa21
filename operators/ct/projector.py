r"""Differentiable line integrals of images, computed by one of several backends.

The gradient of a linear map is its adjoint, so projection and back-projection are the gradients of
each other; every backend provides both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from torch import Tensor

from medscore.operators.autograd import Map, linear_map
from medscore.operators.ct.backends.astra import Astra
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.backends.matrix import Chunked, Stored
from medscore.operators.ct.backends.storage import stored_bytes
from medscore.operators.ct.backends.torch_radon import TorchRadon
from medscore.operators.ct.backends.triton import Triton
from medscore.operators.ct.geometry import Geometry, ParallelBeam
from medscore.operators.grid import OperatorError
from medscore.types import AnyFloat

__all__ = ["BACKENDS", "ParallelBeam", "backproject", "choose", "project"]

BACKENDS: dict[str, Callable[[], Backend]] = {
    "csr": Stored,
    "csr-half": lambda: Stored(half=True),
    "chunked": Chunked,
    "triton": Triton,
    "astra": Astra,
    "torch-radon": TorchRadon,
}

MEMORY = 2 * 2**30
"""Largest size in bytes of a stored matrix that ``auto`` chooses."""

log = logging.getLogger(__name__)


def project(
    x: AnyFloat,
    geometry: Geometry,
    *,
    views: Views | None = None,
    backend: str = "auto",
    memory: int = MEMORY,
) -> AnyFloat:
    """Line integrals of images, (..., views, detectors); the gradient is :func:`backproject`.

    Args:
        x: images (..., size, size); the unit of the result is theirs times mm.
        geometry: the scan.
        views: indices of the views to compute, in this order; all by default.
        backend: a name in ``BACKENDS``, or ``auto`` (see :func:`choose`).
        memory: largest size in bytes of a matrix that ``auto`` stores.

    Raises:
        OperatorError: there is no such backend.
        MedscoreError: the backend is not installed, or does not support the geometry or device.
    """
    chosen = choose(geometry, x.device.type, views, backend, memory)
    return linear_map(x, *_maps(geometry, views, chosen))


def backproject(
    sinogram: AnyFloat,
    geometry: Geometry,
    *,
    views: Views | None = None,
    backend: str = "auto",
    memory: int = MEMORY,
) -> AnyFloat:
    """The exact adjoint of :func:`project`, (..., size, size).

    Args:
        sinogram: (..., views, detectors).
        geometry: the scan.
        views: indices of the views in ``sinogram``, in this order; all by default.
        backend: a name in ``BACKENDS``, or ``auto`` (see :func:`choose`).
        memory: largest size in bytes of a matrix that ``auto`` stores.

    Raises:
        OperatorError: as in :func:`project`.
        MedscoreError: as in :func:`project`.
    """
    chosen = choose(geometry, sinogram.device.type, views, backend, memory)
    forward, adjoint = _maps(geometry, views, chosen)
    return linear_map(sinogram, adjoint, forward)


@lru_cache(maxsize=64)
def choose(
    geometry: Geometry, device: str, views: Views | None, backend: str, memory: int
) -> Backend:
    """The backend of a name; for ``auto`` the best one available, which is logged.

    ``auto`` is ``triton`` on a GPU if it is installed, otherwise the first of ``csr`` and
    ``csr-half`` whose matrix takes no more than ``memory`` bytes, otherwise ``chunked``.

    Args:
        geometry: the scan.
        device: type of the device, ``cpu`` or ``cuda``.
        views: indices of the views, or ``None`` for all.
        backend: a name in ``BACKENDS``, or ``auto``.
        memory: largest size in bytes of a matrix that ``auto`` stores.

    Raises:
        OperatorError: there is no such backend.
        MedscoreError: the backend is not installed, or does not run on this device.
    """
    name = backend
    if name == "auto":
        if device == "cuda" and Triton.is_at_hand():
            name = "triton"
        elif stored_bytes(geometry, views) <= memory:
            name = "csr"
        else:
            fits = stored_bytes(geometry, views, half=True) <= memory
            name = "csr-half" if fits else "chunked"
        log.info("projector backend %s on %s for %s", name, device, geometry)
    if name not in BACKENDS:
        raise OperatorError(f"`backend` is {name!r}, expected auto or one of {', '.join(BACKENDS)}")
    return BACKENDS[name]()


def _maps(geometry: Geometry, views: Views | None, backend: Backend) -> tuple[Map, Map]:
    """The projection and its adjoint on arrays with any number of leading axes."""
    return (
        lambda x: _flat(lambda images: backend.project(images, geometry, views), x),
        lambda z: _flat(lambda rays: backend.backproject(rays, geometry, views), z),
    )


def _flat(run: Map, x: Tensor) -> Tensor:
    """``run`` with all leading axes of ``x`` (..., rows, columns) as one batch."""
    result = run(x.reshape(-1, *x.shape[-2:]))
    return result.reshape(*x.shape[:-2], *result.shape[-2:])
