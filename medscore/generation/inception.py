"""Features for the Frechet inception distance, from a network that the user provides.

medscore ships no network and downloads none. It needs a TorchScript file that maps images
(n, 3, H, W) uint8, 0 to 255, to features (n, d). The usual one is ``inception-2015-12-05.pt``,
published with StyleGAN2-ADA (Karras et al. 2020), which resizes the images itself. Distances under
different networks cannot be compared.

TorchScript is a program: it can write files and use up memory and time. It is only run if the
caller trusts it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.errors import MedscoreError, reason
from medscore.generation.quality import Features
from medscore.io.opening import regular_file
from medscore.types import Images

FEATURES = "return_features"
"""Argument of the usual network that selects features instead of class probabilities."""


@torch.no_grad()
def inception_features(file: Path, x: Images, *, trust: bool = False, batch: int = 32) -> Features:
    """Features (n, d) of images.

    Args:
        file: the TorchScript network.
        x: images (n, 1 or 3, H, W) from 0 to 1; a single channel is repeated three times.
        trust: whether the file may be run; it is a program, which can write files.
        batch: images evaluated together.

    Raises:
        MedscoreError: the file is not trusted, or is not such a network.
    """
    check_trusted(file, trust)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript, since torch 2.13
            network = torch.jit.load(str(regular_file(file)), map_location=x.device).eval()
        switch = {FEATURES: True} if FEATURES in _arguments(network) else {}
        parts = [network(_bytes(part), **switch) for part in x.split(batch)]
        features = torch.cat(parts)
        if features.ndim != 2 or len(features) != len(x):
            raise ValueError(f"it returns an array of shape {tuple(features.shape)}")
    except (RuntimeError, ValueError, TypeError) as error:
        raise MedscoreError(
            f"is not a feature network ({reason(error)})", where=file,
            hint="give a TorchScript file that maps images (n, 3, H, W) uint8 to (n, d)",
        ) from error  # fmt: skip
    return features.float()


def check_trusted(file: Path, trust: bool) -> None:
    """Reject a network that does not exist or must not be run.

    Args:
        file: the TorchScript network.
        trust: whether the file may be run.

    Raises:
        MedscoreError: there is no such file, or it is not trusted.
    """
    if not file.is_file():
        raise MedscoreError("no such file", where=file, hint="give a TorchScript file")
    if trust is not True:
        raise MedscoreError(
            "is TorchScript, a program that can write files, and was not run", where=file,
            hint="if you made it, or have checked the hash that its publisher states, set `trust`",
        )  # fmt: skip


def _arguments(network: torch.jit.ScriptModule) -> list[str]:
    method: Any = network.forward
    return [argument.name for argument in method.schema.arguments]


def _bytes(x: Tensor) -> Tensor:
    return x.clamp(0, 1).mul(255).round().byte().expand(-1, 3, -1, -1)
