"""The projector at 512 x 512 against svmbir, scikit-image and the speed of the memory.

Parts of benchmarks/projectors.py. svmbir (the extra ``bench``) is optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from number import Number
from timing import medians

from medscore.operators.ct.backends.storage import stored
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, rasterize
from medscore.operators.ct.projector import backproject, project
from medscore.operators.ct.symmetry import symmetries

BATCH = 16

FLOATS = 2**26
"""Size of the array whose copy is timed: 256 MB, more than any cache holds."""

BODY = (
    Ellipse(0.02, 0.0, 0.0, 200.0, 140.0),
    Ellipse(0.01, -60.0, 30.0, 40.0, 30.0, 0.6),
    Ellipse(-0.02, 70.0, -20.0, 50.0, 60.0),
)
"""The image that the peers project: smooth but for its edges, in 512 pixels of 1 mm."""


def floor(size: int, views: int) -> list[Number]:
    """Time per image against the time to read the matrix once, as fast as memory is copied.

    Args:
        size: pixels per side.
        views: the number of views.
    """
    geometry = ParallelBeam(size, 1.0, views)
    label = f"{size}x{size}, {views} views"
    x = torch.rand(BATCH, size, size, generator=torch.Generator().manual_seed(0))
    y = project(x, geometry, backend="csr")
    block = torch.rand(FLOATS)
    copy = torch.empty_like(block)
    found = {}
    for backend in ("csr", "csr-half"):  # one after the other, as a program uses only one of them
        calls: dict[str, Callable[[], object]] = {"copy": lambda: copy.copy_(block)}
        for way, f, a in (("forward", project, x), ("back", backproject, y)):
            for images in (1, BATCH):
                calls[f"{backend} {way} {images}"] = lambda f=f, a=a, n=images, b=backend: f(
                    a[:n], geometry, backend=b
                )
        found = {**medians(calls, rounds=5, burst=5), **found}
    error = float((project(x, geometry, backend="csr-half") - y).norm() / y.norm())
    speed = 2 * block.nbytes / found["copy"]
    pair = stored(geometry, None, torch.float32, torch.device("cpu"))
    matrix = pair.nbytes / 2
    entries = sum(len(block.values) for block in pair.forward)
    gathered = 4 * symmetries(geometry) * entries / speed
    rows = [
        Number(f"{label}: copy speed of the memory", speed / 1e9, "GB/s"),
        Number(f"{label}: bytes of the matrix", matrix / 1e6, "MB"),
        Number(f"{label}: floor, bytes of the matrix over copy speed", 1e3 * matrix / speed, "ms"),
        Number(f"{label}: gathered pixels of an image over copy speed", 1e3 * gathered, "ms"),
    ]
    for backend in ("csr", "csr-half"):
        for way in ("forward", "back"):
            each = found[f"{backend} {way} {BATCH}"] / BATCH
            one = f"{label}: {backend} {way}"
            rows += [
                Number(f"{one}, one image", 1e3 * found[f"{backend} {way} 1"], "ms"),
                Number(f"{one} of {BATCH}, per image", 1e3 * each, "ms"),
            ]
            if backend == "csr":
                ratio = each * speed / matrix
                whole = each * BATCH * speed / (matrix + x.nbytes + y.nbytes)
                rows += [
                    Number(f"{one} of {BATCH}: time per image over the floor", ratio, "x",
                           at_most=2),
                    Number(f"{one} of {BATCH}: time of the batch over the floor of the batch",
                           whole, "x"),
                ]  # fmt: skip
    return [
        *rows,
        Number(f"{label}: relative change of the sinogram by csr-half", error, "", at_most=1e-4),
    ]


def peers(size: int, views: int) -> list[Number]:
    """Projection and back-projection by svmbir and scikit-image, with ours in the same rounds.

    They interpolate differently, so their sinograms differ from ours by a few tenths of a percent.
    svmbir reads its matrix from its cache on disk in every call.

    Args:
        size: pixels per side.
        views: the number of views.
    """
    geometry = ParallelBeam(size, 1.0, views)
    label = f"{size}x{size}, {views} views"
    image = rasterize(BODY, size, 1.0).float().reshape(1, size, size)
    ours = project(image, geometry)
    rows = []
    for name, pair in (("svmbir", _svmbir(geometry)), ("scikit-image", _skimage(geometry))):
        if pair is None:
            continue
        forward, back = pair
        theirs = forward(image.numpy())
        found = medians(
            {
                "forward": lambda f=forward: f(image.numpy()),
                "back": lambda f=back, y=theirs: f(y),
                "our forward": lambda: project(image, geometry),
                "our back": lambda: backproject(ours, geometry),
            },
            rounds=3,
            burst=3,
        )
        gap = np.linalg.norm(_sinogram(theirs, geometry) - ours[0].numpy()) / float(ours.norm())
        total = found["forward"] + found["back"]
        rows += [
            Number(f"{label}: {name} forward", 1e3 * found["forward"], "ms"),
            Number(f"{label}: {name} back", 1e3 * found["back"], "ms"),
            Number(f"{label}: relative distance from {name}'s sinogram", float(gap)),
            Number(f"{label}: speed-up over {name}, one image",
                   total / (found["our forward"] + found["our back"]), "x", 1.0),
        ]  # fmt: skip
    return rows


Peer = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]


def _svmbir(geometry: ParallelBeam) -> Peer | None:
    if find_spec("svmbir") is None:
        print("svmbir is not installed")
        return None
    import svmbir

    angles = -geometry.angles.numpy() - math.pi / 2
    settings = {"delta_pixel": 1.0, "roi_radius": float(geometry.size), "verbose": 0,
                "num_threads": torch.get_num_threads()}  # fmt: skip
    side = {"num_rows": geometry.size, "num_cols": geometry.size}
    return (
        lambda x: svmbir.project(x, angles, geometry.detectors, **settings),
        lambda y: svmbir.backproject(y, angles, **side, **settings),
    )


def _skimage(geometry: ParallelBeam) -> Peer:
    from skimage.transform import iradon, radon

    degrees = np.degrees(geometry.angles.numpy())
    return (
        lambda x: radon(x[0], degrees, circle=False),
        lambda y: iradon(y, degrees, filter_name=None, circle=False, output_size=geometry.size),
    )


def _sinogram(y: np.ndarray, geometry: ParallelBeam) -> np.ndarray:
    """A peer's sinogram as (views, detectors)."""
    found = y[:, 0] if y.ndim == 3 else y.T
    missing = geometry.detectors - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing))) if missing > 0 else found[:, : geometry.detectors]
