r"""The root sum of squares over coils, :math:`\sqrt{\sum_c |x_c|^2}`, of images of any scale."""

from __future__ import annotations

import torch
from torch import Tensor


def root_sum_of_squares(images: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
    """Root sum of squares over one axis.

    The images are divided by a power of two near their largest value first, which rounds nothing,
    so that no square leaves the range of float32, whatever unit the scanner uses.

    Args:
        images: real or complex images of any shape.
        dim: axis of the coils.
        keepdim: keep that axis, with one entry.
    """
    size = images.abs()
    largest = size.amax().double()
    if not 0 < float(largest) < torch.inf:
        return size.square().sum(dim, keepdim=keepdim).sqrt()
    scale = torch.exp2(torch.log2(largest).floor().clamp(-126, 127)).to(size.dtype)
    return (size / scale).square().sum(dim, keepdim=keepdim).sqrt() * scale
