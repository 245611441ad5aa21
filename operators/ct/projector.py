r"""Line integrals of images, differentiable, by whichever backend suits.

The gradient of a linear map is its adjoint, so a projection and its back-projection are each
other's gradient; each backend provides the two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from torch import Tensor

from medscore.operators.autograd import Map, linear_map
from medscore.operators.ct.backends.astra import Astra
from medscore.operators.ct.backends.base import Backend, Views
from medscore.operators.ct.backends.matrix import Chunked, Stored, stored_bytes
from medscore.operators.ct.backends.torch_radon import TorchRadon
from medscore.operators.ct.backends.triton import Triton
from medscore.operators.ct.geometry import Geometry, ParallelBeam
from medscore.types import AnyFloat

__all__ = ["BACKENDS", "ParallelBeam", "backproject", "choose", "project"]

BACKENDS: dict[str, Callable[[], Backend]] = {
    "csr": Stored,
    "chunked": Chunked,
    "triton": Triton,
    "astra": Astra,
    "torch-radon": TorchRadon,
}

MEMORY = 2 * 2**30
"""Bytes that ``auto`` lets a stored matrix take."""

log = logging.getLogger(__name__)


def project(
    x: AnyFloat,
    geometry: Geometry,
    *,
    views: Views | None = None,
    backend: str = "auto",
    memory: int = MEMORY,
) -> AnyFloat:
    """Line integrals of images (..., size, size): a sinogram (..., views, detectors).

    The unit is the image's times mm. Differentiable; the gradient is :func:`backproject`.

    Args:
        views: compute these alone, in this order.
        backend: a name in ``BACKENDS``, or ``auto`` (:func:`choose`). memory: for ``auto``.
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
    """The exact adjoint of :func:`project`: (..., views, detectors) to (..., size, size)."""
    chosen = choose(geometry, sinogram.device.type, views, backend, memory)
    forward, adjoint = _maps(geometry, views, chosen)
    return linear_map(sinogram, adjoint, forward)


@lru_cache(maxsize=64)
def choose(
    geometry: Geometry, device: str, views: Views | None, backend: str, memory: int
) -> Backend:
    """The backend of that name; for ``auto`` the best that is at hand, and the log says which.

    ``auto`` is ``triton`` on a GPU that has it, else ``csr`` if its matrix takes no more than
    ``memory`` bytes, else ``chunked``.

    Raises:
        ValueError: no such backend.
        MedscoreError: it is not installed, or does not run on this device.
    """
    name = backend
    if name == "auto":
        fits = stored_bytes(geometry, views) <= memory
        name = "triton" if device == "cuda" and Triton.is_at_hand() else "csr"
        name = "chunked" if name == "csr" and not fits else name
        log.info("projector backend %s on %s for %s", name, device, geometry)
    if name not in BACKENDS:
        raise ValueError(f"no projector backend {name!r}, use auto or one of {', '.join(BACKENDS)}")
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
