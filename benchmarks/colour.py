"""Completion of colour images: patches of two photographs, from files to figures and metrics.

    python benchmarks/colour.py runs                          # about 8 minutes on 2 cores
    python benchmarks/colour.py runs --check                  # exit 1 if a target is missed
    python benchmarks/colour.py runs --pictures docs/generation

Cuts scikit-learn's two photographs into patches of 32 x 32 pixels, reduced to 16 x 16; the right
quarter of each photograph is held out. Trains a prior, and colorizes, super-resolves and inpaints
held-out patches. The baselines use no prior: the grayscale image, block means, and the mean of
the observed pixels. The results are in docs/benchmarks/generation.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from number import Number, table
from skimage.metrics import peak_signal_noise_ratio
from sklearn.datasets import load_sample_images
from torch import Tensor

from medscore.cli.train import train
from medscore.generation.sampling import generate
from medscore.generation.sheet import contact_sheet
from medscore.io.configs import config_path

SIDE = 32
"""Side of a patch in the photographs, in pixels."""

COUNT, SAMPLES = 12, 4
"""Held-out patches, and samples of each."""

FACTOR = {"sr": {"factor": 4}}
"""Parameters of the tasks, where they are not the defaults."""


def cut(photo: np.ndarray, left: int, right: int, step: int) -> list[np.ndarray]:
    """Patches from the columns ``left`` to ``right``."""
    return [photo[i : i + SIDE, j : j + SIDE]
            for i in range(0, photo.shape[0] - SIDE + 1, step)
            for j in range(left, right - SIDE + 1, step)]  # fmt: skip


def write(runs: Path) -> Tensor:
    """Write the archives; return held-out patches with contrast (n, 3, 16, 16) from 0 to 1."""
    training, held_out = [], []
    for photo in load_sample_images().images:
        edge = photo.shape[1] * 3 // 4
        training += cut(photo, 0, edge, 8)
        held_out += cut(photo, edge, photo.shape[1], SIDE)
    held_out = [piece for piece in held_out if piece.std((0, 1)).max() > 20]
    np.savez_compressed(runs / "photos-train.npz", image=np.stack(training))
    np.savez_compressed(runs / "photos-validation.npz", image=np.stack(held_out))
    chosen = np.linspace(0, len(held_out) - 1, COUNT).round().astype(int)
    pieces = np.stack([held_out[i] for i in chosen])
    np.savez_compressed(runs / "photos-known.npz", image=pieces)
    x = torch.from_numpy(pieces).permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.avg_pool2d(x, 2)


def completed(runs: Path, task: str) -> Tensor:
    """Samples (COUNT, SAMPLES, 3, 16, 16) given the observed part of the patches."""
    folder = runs / f"photos-{task}"
    if not folder.exists():
        generate(
            runs / "photos" / "photos.safetensors", count=SAMPLES, batch_size=48,
            known=runs / "photos-known.npz", task=task, output=folder, **FACTOR.get(task, {}),
        )  # fmt: skip
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        x = torch.from_numpy(archive["image"]).permute(0, 3, 1, 2)
    return x.unflatten(0, (COUNT, SAMPLES))


def psnr(found: Tensor, true: Tensor) -> float:
    """The mean PSNR over the patches, in dB."""
    pairs = zip(true.numpy(), found.numpy(), strict=True)
    return float(np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]))


def blocks(x: Tensor) -> Tensor:
    """Means over 4 x 4 pixels."""
    return torch.nn.functional.avg_pool2d(x, 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for data, network and samples")
    parser.add_argument("--pictures", type=Path, help="folder for the figure of the documentation")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    x, begin = write(args.runs), time.perf_counter()
    if not (args.runs / "photos" / "photos.safetensors").is_file():
        train(config_path(Path("photos"), "train"), args.runs, args.runs / "photos")
    seconds = time.perf_counter() - begin

    box = torch.ones(16, 16, dtype=torch.bool)
    box[4:12, 4:12] = False
    grey = x.mean(1, keepdim=True)
    around = (x * box).sum((2, 3), keepdim=True) / box.sum()
    peers = {
        "colorize": grey.expand(-1, 3, -1, -1),
        "sr": blocks(x).repeat_interleave(4, 2).repeat_interleave(4, 3),
        "inpaint": torch.where(box, x, around),
    }
    found = {task: completed(args.runs, task) for task in peers}
    moved = {
        "colorize": (found["colorize"].mean(2) - grey).abs().max(),
        "sr": (blocks(found["sr"].flatten(0, 1)).unflatten(0, (COUNT, SAMPLES))
               - blocks(x)[:, None]).abs().max(),
        "inpaint": (found["inpaint"] - x[:, None])[..., box].abs().max(),
    }  # fmt: skip
    numbers = [Number("training, unless present (s)", seconds)]
    for task, peer in peers.items():
        numbers += [
            Number(
                f"{task}: largest change of the observed part", float(moved[task]), at_most=1e-5
            ),
            Number(
                f"{task}: PSNR of the mean of {SAMPLES} samples (dB)", psnr(found[task].mean(1), x)
            ),
            Number(f"{task}: PSNR of the baseline (dB)", psnr(peer, x)),
        ]
    print("\n".join(table(numbers)))
    if args.pictures:
        seen = peers | {"inpaint": torch.where(box, x, torch.full_like(x, 0.5))}
        rows = [row for task in peers for row in (seen[task], *found[task].unbind(1)[:2])]
        contact_sheet(torch.cat([*rows, x]), COUNT).save(args.pictures / "colour.png")
    return int(args.check and not all(n.met for n in numbers))


if __name__ == "__main__":
    sys.exit(main())
