"""Small networks for any matrix whose weights are all random, and priors with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medscore.nets.context import context_maps
from medscore.nets.local_unet import LocalUNet, LocalUNetSpec
from medscore.priors.checkpoint import build_prior, save_prior
from medscore.priors.contract import DataContract, Provenance, VESpec
from medscore.priors.network import NetworkPrior

SMALL = LocalUNetSpec(channels=(8, 8), blocks=(1, 1), fold=2)
"""Stride 4 and a receptive field of 60 pixels."""


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with random weights where they are initialised with zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


def local_unet(spec: LocalUNetSpec = SMALL, dtype: torch.dtype = torch.float64) -> LocalUNet:
    """A network with random weights."""
    torch.manual_seed(0)
    network = LocalUNet(spec).to(dtype)
    randomised(network)
    return network.eval().requires_grad_(False)


def images(
    *shape: int, pixel_mm: float = 0.8, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Tensor:
    """Random images (batch, 1, H, W) with their context maps behind."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    maps = context_maps((shape[-2], shape[-1]), pixel_mm).to(dtype)
    return torch.cat([x, maps.expand(shape[0], -1, -1, -1)], dim=1)


def contract(**changes: Any) -> DataContract:
    """The contract of a prior for any matrix and pixels of 0.5 to 3 mm."""
    fields: dict[str, Any] = {
        "name": "any", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
        "size": None, "spacing_mm": (0.5, 3.0), "data_mean": 0.3, "data_std": 0.3,
        "sde": VESpec(sigma_min=0.01, sigma_max=20.0), "network": SMALL,
        "provenance": Provenance(
            data="none", patients=1, slices=1, steps=0, seed=0, licence="CC0"
        ),
    }  # fmt: skip
    return DataContract(**fields | changes)


def local_prior(**changes: Any) -> NetworkPrior:
    """A prior for any matrix with random weights."""
    torch.manual_seed(0)
    prior = build_prior(contract(**changes))
    randomised(prior.network)
    prior.requires_grad_(False)
    return prior


def write_prior(path: Path, **changes: Any) -> Path:
    """Write such a prior to a file."""
    save_prior(path, contract(**changes), local_prior(**changes).network.state_dict())
    return path
