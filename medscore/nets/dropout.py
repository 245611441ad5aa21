"""Dropout in the residual blocks of MONAI's U-Net, which has none of its own.

As in the U-Net of DDPM (Ho et al. 2020, appendix B), features are dropped before the second
convolution of each block. A network that is trained with dropout and keeps it in use gives random
outputs, whose spread is an approximate posterior of its weights (Gal and Ghahramani 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def with_dropout(network: nn.Module, probability: float) -> nn.Module:
    """The network with dropout in all its residual blocks; itself if the probability is 0.

    Args:
        network: a network with blocks of MONAI's DiffusionModelUNet; it is changed.
        probability: probability that a feature is set to zero in training.
    """
    from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock

    for block in network.modules() if probability else ():
        if isinstance(block, DiffusionUNetResnetBlock):
            block.conv2 = nn.Sequential(nn.Dropout(probability), block.conv2)
    return network


@contextmanager
def dropping(network: nn.Module, seed: int) -> Iterator[None]:
    """Keep dropout in use, with masks that follow from a seed.

    Args:
        network: a network in evaluation mode.
        seed: seed of the masks.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout takes no generator
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()
