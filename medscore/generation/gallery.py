"""A folder of images without measurements: a sheet, a picture each, the values, their origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import medscore
from medscore.generation.given import SAMPLES
from medscore.generation.sheet import pixels, sheet
from medscore.priors.contract import DataContract


def write_gallery(
    folder: Path,
    x: Tensor,
    contract: DataContract,
    origin: dict[str, Any],
    *,
    shown: Tensor | None = None,
    columns: int | None = None,
) -> None:
    """Write sheet.png, images/00000.png and so on, samples.npz and provenance.json.

    Args:
        x: (n, channel, H, W) in the prior's range, which the pictures show from black to white; of
            complex images the magnitude. origin: for provenance.json. shown: what the sheet shows;
            ``x`` by default. columns: of the sheet.
    """
    (folder / "images").mkdir()
    for i, image in enumerate(pixels(_visible(x, contract))):
        Image.fromarray(image).save(folder / "images" / f"{i:05d}.png")
    sheet(_visible(x if shown is None else shown, contract), columns).save(folder / "sheet.png")
    values = (contract.low + contract.scale * x).cpu().numpy().astype(np.float32)
    name = "hu" if contract.quantity == "HU" else "image"
    arrays = {name: values[:, 0] if contract.channels == 1 else values.transpose(0, 2, 3, 1)}
    np.savez_compressed(folder / SAMPLES, allow_pickle=False, **arrays)
    record = {"medscore": medscore.__version__, "torch": torch.__version__, **origin}
    (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")


def _visible(x: Tensor, contract: DataContract) -> Tensor:
    return x.norm(dim=1, keepdim=True) if contract.quantity == "complex" else x
