"""The nearest training slice of an image: a check that a prior does not reproduce its data."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(images: Tensor, slices: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest slice to each image, where the image may be mirrored.

    Args:
        images: (n, H, W) images.
        slices: (m, H, W) training slices.

    Returns:
        Distances (n,) and indices (n,) of the nearest slices. The distance is the root mean square
        of the difference over the standard deviation of the slice, so that a constant image at the
        mean of the slice has distance 1.
    """
    target = slices.flatten(1).float()
    spread = (target - target.mean(1, keepdim=True)).square().sum(1).sqrt()
    both = torch.stack([images.float(), images.float().flip(-1)])
    gaps = torch.cdist(both.flatten(2), target.expand(2, -1, -1)).amin(0) / spread
    distance, index = gaps.min(dim=1)
    return distance, index
