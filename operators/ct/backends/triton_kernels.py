"""The GPU kernels of :mod:`~medscore.operators.ct.backends.triton`; imports triton."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

RAYS, PIXELS, COLUMNS = 64, 64, 16
"""Numbers of rays, pixels and images of one program."""


def project(x: Tensor, lines: Tensor, size: int) -> Tensor:
    """Line integrals (rays, batch) of images.

    Args:
        x: images (pixels, batch).
        lines: see :class:`~medscore.operators.ct.backends.triton.Scan`.
        size: number of pixels per side.
    """
    rays, batch = lines.shape[1], x.shape[1]
    out = torch.empty(rays, batch, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(rays, RAYS), triton.cdiv(batch, COLUMNS))
    _project[grid](x, lines, out, rays, batch, size, RAYS, COLUMNS)
    return out


def backproject(
    rays: Tensor, lines: Tensor, lookup: Tensor, near: int, size: int, detectors: int
) -> Tensor:
    """The adjoint of :func:`project`: images (pixels, batch).

    Args:
        rays: line integrals (rays, batch).
        lines: see :class:`~medscore.operators.ct.backends.triton.Scan`.
        lookup: see :class:`~medscore.operators.ct.backends.triton.Scan`.
        near: see :class:`~medscore.operators.ct.backends.triton.Scan`.
        size: number of pixels per side.
        detectors: number of detectors.
    """
    batch = rays.shape[1]
    out = torch.empty(size * size, batch, dtype=rays.dtype, device=rays.device)
    grid = (triton.cdiv(size * size, PIXELS), triton.cdiv(batch, COLUMNS))
    _backproject[grid](
        rays, lines, lookup, out, len(lookup), detectors, batch, size, near, PIXELS, COLUMNS
    )
    return out


@triton.jit
def _project(
    x: Any,
    lines: Any,
    out: Any,
    rays: Any,
    batch: Any,
    size: Any,
    block_rays: tl.constexpr,
    block_columns: tl.constexpr,
) -> None:
    ray = tl.program_id(0) * block_rays + tl.arange(0, block_rays)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    real, own = ray < rays, column < batch
    start_at = tl.load(lines + ray, mask=real, other=-2.0)
    rate = tl.load(lines + rays + ray, mask=real, other=0.0)
    length = tl.load(lines + 2 * rays + ray, mask=real, other=0.0)
    steep = tl.load(lines + 3 * rays + ray, mask=real, other=0.0) > 0.5
    total = tl.zeros((block_rays, block_columns), dtype=x.dtype.element_ty)
    for line in range(size):
        across = start_at + rate * line
        left = tl.floor(across)
        right_share = across - left
        # far outside the image the position may not fit an integer
        place = tl.minimum(tl.maximum(left, -2.0), size + 1.0).to(tl.int32)
        pixel = tl.where(steep, line * size + place, place * size + line)
        step = tl.where(steep, 1, size)
        left_in = (place >= 0) & (place < size) & real
        right_in = (place >= -1) & (place < size - 1) & real
        at = x + pixel[:, None] * batch + column[None, :]
        a = tl.load(at, mask=left_in[:, None] & own[None, :], other=0.0)
        b = tl.load(at + step[:, None] * batch, mask=right_in[:, None] & own[None, :], other=0.0)
        total += (1 - right_share)[:, None] * a + right_share[:, None] * b
    to = out + ray[:, None] * batch + column[None, :]
    tl.store(to, length[:, None] * total, mask=real[:, None] & own[None, :])


@triton.jit
def _detector(p: Any, x: Any, y: Any) -> Any:
    """The detector that the ray through (x, y) hits; see ``Scan.lookup``."""
    q = (tl.load(p) * x + tl.load(p + 1) * y) / (1 + tl.load(p + 2) * x + tl.load(p + 3) * y)
    # arc tangent to 1e-5 for |q| <= 1 (Abramowitz and Stegun 1964, 4.4.49)
    s = q * q
    even = 0.9998660 + s * (-0.3302995 + s * (0.1801410 + s * (-0.0851330 + s * 0.0208351)))
    angle = tl.where(tl.load(p + 5) > 0.5, q * even, q)
    return tl.load(p + 6) * angle + tl.load(p + 4)


@triton.jit
def _backproject(
    rays: Any,
    lines: Any,
    lookup: Any,
    out: Any,
    views: Any,
    detectors: Any,
    batch: Any,
    size: Any,
    near: Any,
    block_pixels: tl.constexpr,
    block_columns: tl.constexpr,
) -> None:
    pixel = tl.program_id(0) * block_pixels + tl.arange(0, block_pixels)
    column = tl.program_id(1) * block_columns + tl.arange(0, block_columns)
    real, own = pixel < size * size, column < batch
    row, place = pixel // size, pixel % size
    x = place - (size - 1) / 2
    y = (size - 1) / 2 - row
    count = views * detectors
    total = tl.zeros((block_pixels, block_columns), dtype=rays.dtype.element_ty)
    for view in range(views):
        p = lookup + view * 7
        low = tl.minimum(
            tl.minimum(_detector(p, x - 1, y), _detector(p, x + 1, y)),
            tl.minimum(_detector(p, x, y - 1), _detector(p, x, y + 1)),
        )
        first = tl.floor(low).to(tl.int32)
        for k in range(near):
            detector = first + k
            seen = (detector >= 0) & (detector < detectors) & real
            ray = view * detectors + detector
            start_at = tl.load(lines + ray, mask=seen, other=0.0)
            rate = tl.load(lines + count + ray, mask=seen, other=0.0)
            length = tl.load(lines + 2 * count + ray, mask=seen, other=0.0)
            steep = tl.load(lines + 3 * count + ray, mask=seen, other=0.0) > 0.5
            line = tl.where(steep, row, place)
            across = start_at + rate * line - tl.where(steep, place, row)
            weight = length * tl.maximum(1 - tl.abs(across), 0.0)
            value = tl.load(
                rays + ray[:, None] * batch + column[None, :],
                mask=(seen & (weight > 0))[:, None] & own[None, :],
                other=0.0,
            )
            total += weight[:, None] * value
    tl.store(
        out + pixel[:, None] * batch + column[None, :], total, mask=real[:, None] & own[None, :]
    )
