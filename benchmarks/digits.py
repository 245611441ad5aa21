"""Generation on scikit-learn's digits, from the data set to figures and metrics.

    python benchmarks/digits.py runs                          # about 12 minutes on 2 cores
    python benchmarks/digits.py runs --check                  # exit 1 if a target is missed
    python benchmarks/digits.py runs --pictures docs/generation

Writes the digits as archives into RUNS, trains a prior and a classifier, draws and completes
digits, and encodes, decodes and interpolates them, as docs/generation.md shows. A second network
with other sizes and another seed shows that codes do not depend on the network. The baseline of
the samples is an equally large set of training digits. The judge is a nearest-neighbour classifier
of the training digits. The results are in docs/benchmarks/generation.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from number import Number, table
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from medscore.cli.train import train
from medscore.generation.coding import decode_codes, encode_images
from medscore.generation.latent import compare_codes, encode
from medscore.generation.quality import frechet, mmd, precision_recall
from medscore.generation.sampling import generate
from medscore.generation.sheet import contact_sheet
from medscore.io.configs import config_path
from medscore.metrics.memorisation import nearest
from medscore.operators.images.super_resolution import SuperResolution
from medscore.priors.checkpoint import load_prior

WHITE = 16.0
"""Value of a white pixel in the data set."""

STRENGTH = 3.0
"""Factor on the classifier's gradient."""

OTHER = {"name: digits": "name: digits-other", "[32, 64]": "[48, 96]", "seed: 0": "seed: 1"}
"""Replacements that turn the recipe of the prior into that of the second network."""


def write(folder: Path) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """Write the digits as archives, two thirds for training; return images (0 to 1) and labels."""
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


def recipe(runs: Path, name: str, changes: dict[str, str]) -> Path:
    """Write a shipped recipe into RUNS, with paths there and some of its text replaced."""
    text = config_path(Path(name.removesuffix("-other")), "train").read_text()
    for old, new in {"runs/digits/": f"{runs.resolve()}/digits/", **changes}.items():
        text = text.replace(old, new)
    own = runs / f"{name}.yaml"
    own.write_text(text)
    return own


def trained(runs: Path, name: str, changes: dict[str, str] | None = None) -> float:
    """Train a network if it is missing; return the seconds this took."""
    begin = time.perf_counter()
    if not (runs / name / f"{name}.safetensors").is_file():
        train(recipe(runs, name, changes or {}), runs, runs / name)
    return time.perf_counter() - begin


def prior_file(runs: Path, name: str = "digits") -> str:
    """The checkpoint of a trained prior."""
    return str(runs / name / f"{name}.safetensors")


def samples(folder: Path, draw: Callable[[Path], object]) -> Tensor:
    """Images (n, 1, H, W) from 0 to 1 in a folder, which is written if it is missing."""
    if not folder.exists():
        draw(folder)
    with np.load(folder / "samples.npz", allow_pickle=False) as archive:
        return torch.from_numpy(archive["image"])[:, None] / WHITE


def drawn(
    runs: Path, name: str, count: int, label: str | None, strength: float = STRENGTH
) -> Tensor:
    """Samples of the prior, of chosen classes or of any."""
    classes = None if label is None else runs / "digits-classes" / "digits-classes.safetensors"
    return samples(runs / name, lambda folder: generate(
        prior_file(runs), count=count, batch_size=100, classifier=classes, label=label,
        strength=1.0 if label is None else strength, output=folder,
    ))  # fmt: skip


def decoding(
    runs: Path, *, tolerance: float = 1e-8, between: int = 0, temperature: float = 1.0
) -> Callable[[Path], None]:
    """A function that decodes the codes of the held-out digits into a folder."""

    def decode(folder: Path) -> None:
        decode_codes(
            runs / "codes.npz", prior_file(runs), tolerance=tolerance, between=between,
            temperature=temperature, output=folder,
        )  # fmt: skip

    return decode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for data, networks and samples")
    parser.add_argument("--pictures", type=Path, help="folder for the figures of the documentation")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    runs = args.runs
    runs.mkdir(parents=True, exist_ok=True)
    images, labels = write(runs)
    seconds = trained(runs, "digits") + trained(runs, "digits-classes")
    judge = KNeighborsClassifier(3).fit(images["train"].flatten(1), labels["train"])
    held_out = images["validation"]

    turns = ",".join(str(i) for i in range(10))
    wanted = np.array([str(i % 10) for i in range(500)])
    of_class = drawn(runs, "classes", 500, turns)
    right = judge.predict(of_class.flatten(1)) == wanted
    bayes = judge.predict(drawn(runs, "bayes", 500, turns, 1.0).flatten(1)) == wanted
    free = drawn(runs, "free", 500, None)
    flat, real, train_flat = free.flatten(1), held_out[:500].flatten(1), images["train"].flatten(1)
    peer = images["train"][:500].flatten(1)
    precision, recall = precision_recall(flat, real)
    distance, usual = (
        nearest(x.double(), train_flat.double(), mirror=False, relative=False)[0]
        for x in (flat, real)
    )

    known, x = runs / "digits-known.npz", held_out[:8]
    np.savez(known, image=x[:, 0].numpy() * WHITE)
    box = torch.ones(8, 8, dtype=torch.bool)
    box[2:6, 2:6] = False
    filled = samples(runs / "inpainting", lambda folder: generate(
        prior_file(runs), count=3, known=known, output=folder
    )).unflatten(0, (8, 3))  # fmt: skip
    sharp = samples(runs / "super-resolution", lambda folder: generate(
        prior_file(runs), count=3, known=known, task="sr", output=folder
    )).unflatten(0, (8, 3))  # fmt: skip
    kept = float((filled - x[:, None])[..., box].abs().max())
    blocks = SuperResolution(8, 8, 2)
    means = float((blocks.forward(sharp) - blocks.forward(x)[:, None]).abs().max())
    codes = runs / "codes.npz"
    if not codes.exists():
        encode_images(known, prior_file(runs), output=codes)
    trip = float((samples(runs / "decoded", decoding(runs)) - x).abs().max())
    trained(runs, "digits-other", OTHER)
    with np.load(codes, allow_pickle=False) as archive:
        ours = torch.from_numpy(archive["code"])
    other = load_prior(Path(prior_file(runs, "digits-other"))).double()
    alike = compare_codes(ours, encode(other, x.double()))
    numbers = [
        Number("training of prior and classifier, unless present (s)", seconds, at_most=180),
        Number("held-out digits that the judge recognises",
               judge.score(held_out.flatten(1), labels["validation"])),
        Number("samples of the requested class, according to the judge (strength 3)",
               float(right.mean()), at_least=0.9),
        Number("samples of the requested class, according to the judge (strength 1)",
               float(bayes.mean())),
        Number("inpainting: largest change of an observed pixel", kept, at_most=0),
        Number("super-resolution: largest change of a block mean, times 2", means, at_most=1e-5),
        Number("encode, then decode: largest difference", trip, at_most=1e-3),
        Number("codes of another network: mean difference over the standard deviation",
               alike.difference),
        Number("codes of other digits: mean difference over the standard deviation",
               alike.shuffled),
        Number("codes of another network: correlation", alike.correlation),
        Number("MMD of 500 samples to held-out digits", mmd(flat, real)),
        Number("MMD of 500 training digits to held-out digits", mmd(peer, real)),
        Number("Frechet distance of pixels, 500 samples", frechet(flat, real)),
        Number("Frechet distance of pixels, 500 training digits", frechet(peer, real)),
        Number("precision of the samples", precision),
        Number("recall of the samples", recall),
        Number("median distance to the nearest training digit, samples over held-out digits",
               float(distance.median() / usual.median())),
    ]  # fmt: skip
    print("\n".join(table(numbers)))
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        contact_sheet(free[:40], 10).save(args.pictures / "samples.png")
        contact_sheet(of_class[:40], 10).save(args.pictures / "classes.png")
        seen = torch.where(box, x, torch.full_like(x, 0.5))
        rows = [seen, *filled.unbind(1), x]
        contact_sheet(torch.cat(rows), 8).save(args.pictures / "inpainting.png")
        rows = [blocks.zero_filled(blocks.forward(x)), *sharp.unbind(1), x]
        contact_sheet(torch.cat(rows), 8).save(args.pictures / "super-resolution.png")
        way = samples(runs / "interpolation", decoding(runs, tolerance=1e-5, between=8))
        contact_sheet(way, 8).save(args.pictures / "interpolation.png")
        warm = [samples(runs / f"temperature-{t:g}",
                        decoding(runs, tolerance=1e-5, temperature=t))
                for t in (0.7, 0.85, 1.0, 1.15)]  # fmt: skip
        contact_sheet(torch.cat(warm), 8).save(args.pictures / "temperature.png")
    return int(args.check and not all(n.met for n in numbers))


if __name__ == "__main__":
    sys.exit(main())
