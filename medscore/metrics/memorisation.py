"""The nearest training image of an image, which shows whether a prior reproduces training data."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(
    images: Tensor, training: Tensor, *, mirror: bool = True, relative: bool = True
) -> tuple[Tensor, Tensor]:
    """The distance from each image to its nearest training image, and the index of the latter.

    Distances are Euclidean, computed in the images' precision but at least in float32.

    Args:
        images: (n, ...), for example (n, H, W), or feature vectors (n, d).
        training: (m, ...), training images or their features in the same shape.
        mirror: also compare each image mirrored along its last axis.
        relative: divide each distance by the norm of the training image minus its mean, so that a
            constant image of the training image's mean has distance 1.

    Returns:
        Distances (n,) and indices into ``training`` (n,).
    """
    dtype = torch.promote_types(torch.promote_types(images.dtype, training.dtype), torch.float32)
    x, target = images.to(dtype), training.to(dtype)
    flips = torch.stack([x, x.flip(-1)] if mirror else [x]).flatten(2)
    target = target.flatten(1)
    gaps = torch.cdist(flips, target.expand(len(flips), -1, -1)).amin(0)
    if relative:
        gaps = gaps / (target - target.mean(1, keepdim=True)).square().sum(1).sqrt()
    distance, index = gaps.min(dim=1)
    return distance, index
