"""Generated images with their provenance, and the folder they are written to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import medscore
from medscore.generation.sheet import contact_sheet, pixels
from medscore.likelihood.inputs import SAMPLES
from medscore.priors.contract import DataContract


@dataclass(frozen=True)
class GeneratedImages:
    """Images drawn from a prior or decoded from latent codes.

    Attributes:
        images: (n, channel, H, W) on the CPU, in the prior's range.
        nfe: network evaluations per image; the mean, rounded up, where images differ.
        provenance: settings, versions and hashes that the images depend on, as JSON values.
        contract: data contract of the prior.
        shown: images (m, channel, H, W) of the contact sheet, row by row; beside the generated ones
            it may show what they are conditioned on.
        columns: columns of the contact sheet; about square if None.
    """

    images: Tensor
    nfe: int
    provenance: dict[str, Any]
    contract: DataContract
    shown: Tensor
    columns: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, which are the stems of their file names."""
        return tuple(f"{i:05d}" for i in range(len(self.images)))

    @property
    def values(self) -> NDArray[np.float32]:
        """Values in the unit of the data (HU, for example), (n, H, W) or (n, H, W, channel)."""
        scaled = self.contract.low + self.contract.scale * self.images
        values = scaled.cpu().numpy().astype(np.float32)
        return values[:, 0] if self.contract.channels == 1 else values.transpose(0, 2, 3, 1)


def with_versions(record: dict[str, Any]) -> dict[str, Any]:
    """A provenance record that begins with the versions of medscore and torch.

    Args:
        record: the other entries, as JSON values.
    """
    return {"medscore": medscore.__version__, "torch": torch.__version__, **record}


def write_gallery(result: GeneratedImages, folder: Path) -> None:
    """Write sheet.png, images/00000.png and so on, samples.npz and provenance.json.

    Image files show the prior's range from black to white, and the magnitude of complex images.

    Args:
        result: the images.
        folder: an existing, empty folder.
    """
    (folder / "images").mkdir()
    shown = pixels(_visible(result.images, result.contract))
    for name, image in zip(result.names, shown, strict=True):
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    sheet = contact_sheet(_visible(result.shown, result.contract), result.columns)
    sheet.save(folder / "sheet.png")
    key = "hu" if result.contract.quantity == "HU" else "image"
    arrays = {key: result.values}
    low, high = result.contract.spacing_mm
    if low == high and result.contract.modality != "picture":
        arrays["pixel_spacing_mm"] = np.full(len(result.values), low)
    np.savez_compressed(folder / SAMPLES, allow_pickle=False, **arrays)
    (folder / "provenance.json").write_text(json.dumps(result.provenance, indent=2) + "\n")


def _visible(x: Tensor, contract: DataContract) -> Tensor:
    return x.norm(dim=1, keepdim=True) if contract.quantity == "complex" else x
