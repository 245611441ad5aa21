"""The nearest training slice of an image: a check that a prior does not replay what it has seen."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(images: Tensor, slices: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to, and number of, the nearest of ``slices``, each as it is or mirrored.

    Args:
        images: (n, H, W). slices: (m, H, W).

    Returns:
        (n,) root mean square of the difference over that of the slice about its mean, so that an
        image of the slice's mean alone has distance 1; and (n,) indices.
    """
    target = slices.flatten(1).float()
    spread = (target - target.mean(1, keepdim=True)).square().sum(1).sqrt()
    both = torch.stack([images.float(), images.float().flip(-1)])
    gaps = torch.cdist(both.flatten(2), target.expand(2, -1, -1)).amin(0) / spread
    distance, index = gaps.min(dim=1)
    return distance, index
