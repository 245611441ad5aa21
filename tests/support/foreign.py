"""Tiny networks of other libraries with random weights, and a contract as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.priors.importers.score_sde_layout import layout


def rounded(network: nn.Module) -> nn.Module:
    """The network with its weights rounded as in a prior's file."""
    for value in network.state_dict().values():
        value.copy_(value.half().float() if value.ndim > 1 else value)
    return network


MONAI_2D: dict[str, Any] = {
    "spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": (8, 16),
    "attention_levels": (False, True), "num_res_blocks": (1, 2), "norm_num_groups": 4,
    "num_head_channels": (0, 4),
}  # fmt: skip
MONAI_3D: dict[str, Any] = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": (4, 8),
    "attention_levels": (False, False), "num_res_blocks": 1, "norm_num_groups": 2,
    "num_head_channels": 8,
}  # fmt: skip
DIFFUSERS: dict[str, Any] = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16),
    "layers_per_block": 1, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "norm_num_groups": 4,
    "attention_head_dim": 4,
}  # fmt: skip
DDPM = {"kind": "ddpm", "scales": 1000, "beta_min": 0.1, "beta_max": 20.0}
NOISE_LEVEL = {"target": "noise", "condition": "level", "levels": 1000}
CONTRACT: dict[str, Any] = {
    "name": "tiny", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1000,
    "network_range": [-1, 1], "size": 8, "spacing_mm": [1.0, 2.0],
    "provenance": {"data": "random numbers", "licence": "CC0"},
}  # fmt: skip


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with all weights random, including those initialised to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return network.eval().requires_grad_(False)


def monai_network(**arguments: Any) -> nn.Module:
    """MONAI's network with random weights."""
    from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

    return randomised(DiffusionModelUNet(**arguments))


def diffusers_network(**changes: Any) -> Any:
    """The network of diffusers with random weights."""
    from diffusers import UNet2DModel

    return randomised(UNet2DModel(**(DIFFUSERS | changes)))


def diffusers_folder(path: Path, **scheduler: Any) -> Any:
    """Save a network and a DDPMScheduler by save_pretrained, and return both."""
    from diffusers import DDPMScheduler

    network, schedule = diffusers_network(), DDPMScheduler(clip_sample=False, **scheduler)
    network.save_pretrained(path / "unet")
    schedule.save_pretrained(path / "scheduler")
    return network, schedule


def score_sde_content(spec: NCSNPPSpec, sigmas: Tensor) -> dict[str, Any]:
    """The content of a checkpoint of score_sde_pytorch, with the names of the layout."""
    generator = torch.Generator().manual_seed(0)
    drawn = {
        entry.theirs: 0.1 * torch.randn(entry.shape, generator=generator) for entry in layout(spec)
    }
    trained = [drawn[entry.theirs] for entry in layout(spec) if entry.trained]
    return {
        "model": {f"module.{k}": v for k, v in drawn.items()} | {"module.sigmas": sigmas},
        "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": [2 * p for p in trained]},
        "optimizer": {"state": {}, "param_groups": [{"lr": 2e-4}]},
        "step": 7,
    }


def contract_file(path: Path, **changes: Any) -> Path:
    """A contract file; keys changed to None are left out."""
    said = {key: value for key, value in (CONTRACT | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(said))
    return path
