"""Generation on scikit-learn's digits: from the data set to pictures and numbers.

    python benchmarks/digits.py runs                          # about 5 minutes on 2 cores
    python benchmarks/digits.py runs --check                  # exit 1 when a number is missed
    python benchmarks/digits.py runs --pictures docs/generation

Writes the digits as archives into RUNS, trains the prior and the classifier with `medscore train`
and draws with `medscore generate`, as docs/generation.md shows; then completes, encodes and
interpolates in Python. A peer of the samples is an equally large set of real digits. What a
digit is, a nearest-neighbour classifier of the real training digits says.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from number import Number, table
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from medscore.checkpoint import load_prior
from medscore.cli.generate import generate
from medscore.cli.options import config_path
from medscore.cli.train import train
from medscore.generation.complete import complete
from medscore.generation.latent import decode, encode, slerp
from medscore.generation.quality import mmd, nearest, precision_recall
from medscore.generation.sheet import sheet
from medscore.operators.inpainting import Inpainting
from medscore.operators.super_resolution import SuperResolution

WHITE = 16.0
STRENGTH = 3.0
"""Of the classifier's pull."""


def write(folder: Path) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """The digits as archives, two in three to train on; images from 0 to 1, and labels."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))
    parts = {"train": order[:1200], "validation": order[1200:]}
    images, labels = {}, {}
    for name, index in parts.items():
        values = found.images[index].astype(np.float32)
        labels[name] = found.target[index].astype(str)
        np.savez(folder / f"digits-{name}.npz", image=values, label=labels[name])
        images[name] = torch.from_numpy(values)[:, None] / WHITE
    return images, labels


def trained(runs: Path) -> float:
    """Train both networks where they are missing; the seconds it took."""
    begin = time.perf_counter()
    for name in ("digits", "digits-classes"):
        if not (runs / name / f"{name}.safetensors").is_file():
            recipe = config_path(Path(name), "train")
            own = runs / f"{name}.yaml"
            text = recipe.read_text().replace("runs/digits/", f"{runs.resolve()}/digits/")
            own.write_text(text)
            train(own, runs, runs / name)
    return time.perf_counter() - begin


def drawn(
    runs: Path, name: str, count: int, label: str | None, strength: float = STRENGTH
) -> Tensor:
    """Samples of `medscore generate`, from 0 to 1; new ones if the folder is not there."""
    folder = runs / name
    if not folder.exists():
        classes = None if label is None else runs / "digits-classes" / "digits-classes.safetensors"
        generate(
            folder, str(runs / "digits" / "digits.safetensors"), count, batch_size=100,
            classifier=classes, label=label, strength=strength,
        )  # fmt: skip
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        return torch.from_numpy(archive["image"])[:, None] / WHITE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for data, networks and samples")
    parser.add_argument("--pictures", type=Path, help="write the docs' pictures into this folder")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)
    images, labels = write(args.runs)
    seconds = trained(args.runs)
    prior = load_prior(args.runs / "digits" / "digits.safetensors")
    judge = KNeighborsClassifier(3).fit(images["train"].flatten(1), labels["train"])
    held_out = images["validation"]

    turns = ",".join(str(i) for i in range(10))
    wanted = np.array([str(i % 10) for i in range(500)])
    of_class = drawn(args.runs, "classes", 500, turns)
    right = judge.predict(of_class.flatten(1)) == wanted
    bayes = judge.predict(drawn(args.runs, "bayes", 500, turns, 1.0).flatten(1)) == wanted
    free = drawn(args.runs, "free", 500, None)
    flat, real, train_flat = free.flatten(1), held_out[:500].flatten(1), images["train"].flatten(1)
    peer = images["train"][:500].flatten(1)
    precision, recall = precision_recall(flat, real)
    _, distance = nearest(flat, train_flat)
    _, usual = nearest(real, train_flat)

    box = torch.ones(8, 8, dtype=torch.bool)
    box[2:6, 2:6] = False
    hidden, blocks = Inpainting(box), SuperResolution(8, 8, 2)
    x = held_out[:8]
    filled, sharp = [], []
    for i in range(len(x)):
        one = x[i : i + 1]
        filled.append(complete(prior, hidden, hidden.forward(one), range(4), (1, 8, 8)).x)
        sharp.append(complete(prior, blocks, blocks.forward(one), range(4), (1, 8, 8)).x)
    kept = max(float((f - x[i])[:, :, box].abs().max()) for i, f in enumerate(filled))
    means = max(float((blocks.forward(s) - blocks.forward(x[i : i + 1])).abs().max())
                for i, s in enumerate(sharp))  # fmt: skip
    exact = load_prior(args.runs / "digits" / "digits.safetensors").double()
    codes = encode(exact, x.double())
    trip = float((decode(exact, codes) - x).abs().max())
    numbers = [
        Number("training of prior and classifier, where not yet there (s)", seconds, at_most=180),
        Number("real digits that the judge knows",
               judge.score(held_out.flatten(1), labels["validation"])),
        Number("class-conditional samples that the judge knows", float(right.mean()), at_least=0.9),
        Number("the same with strength 1", float(bayes.mean())),
        Number("inpainting: largest change of a known pixel", kept, at_most=0),
        Number("super-resolution: largest change of a block's mean times 2", means, at_most=1e-5),
        Number("encode, then decode: largest difference", trip, at_most=1e-3),
        Number("MMD of 500 samples to held-out digits", mmd(flat, real)),
        Number("MMD of 500 training digits to them", mmd(peer, real)),
        Number("precision", precision),
        Number("recall", recall),
        Number("distance to the nearest training digit, samples over held-out ones",
               float(distance.median() / usual.median())),
    ]  # fmt: skip
    print("\n".join(table(numbers)))
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        pictures(args.pictures, free, of_class, x, box, filled, sharp, blocks)
        rows = []
        for a in range(4):
            path = [slerp(codes[2 * a : 2 * a + 1], codes[2 * a + 1 : 2 * a + 2], w / 7)
                    for w in range(8)]  # fmt: skip
            rows.append(decode(prior, torch.cat(path).float(), rtol=1e-5, atol=1e-5))
        sheet(torch.cat(rows), 8).save(args.pictures / "interpolation.png")
        warm = [decode(prior, codes.float() * temperature, rtol=1e-5, atol=1e-5)
                for temperature in (0.7, 0.85, 1.0, 1.15)]  # fmt: skip
        sheet(torch.cat(warm), 8).save(args.pictures / "temperature.png")
    return int(args.check and not all(n.met for n in numbers))


def pictures(
    folder: Path, free: Tensor, of_class: Tensor, x: Tensor, box: Tensor, filled: list[Tensor],
    sharp: list[Tensor], blocks: SuperResolution,
) -> None:  # fmt: skip
    """Samples, one class a column, and completions below what was known."""
    sheet(free[:40], 10).save(folder / "samples.png")
    sheet(of_class[:40], 10).save(folder / "classes.png")
    seen = torch.where(box, x, torch.full_like(x, 0.5))
    rows = [seen, *(torch.stack([f[k] for f in filled]) for k in range(3)), x]
    sheet(torch.cat(rows), 8).save(folder / "inpainting.png")
    coarse = blocks.zero_filled(blocks.forward(x))
    rows = [coarse, *(torch.stack([s[k] for s in sharp]) for k in range(3)), x]
    sheet(torch.cat(rows), 8).save(folder / "super-resolution.png")


if __name__ == "__main__":
    sys.exit(main())
