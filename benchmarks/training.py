"""Training and the shipped priors in numbers.

    python benchmarks/training.py                    # everything
    python benchmarks/training.py --only speed       # speed, denoising, ct, mri or memory
    python benchmarks/training.py --check            # exit code 1 when a number is missed
    python benchmarks/training.py --json out.json --page docs/benchmarks/priors.md

Speed is measured on made-up images, against the plain float32 loop in the same run. The rest needs
the development data (--data) and is left out, with a word, without them: denoising against
scikit-image's non-local means and wavelets on held-out slices; 23-view CT and 4-fold MRI of the
validation patients, both in the noise-free thesis protocol; the distance of samples to the training
slices.
Takes about 45 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from development_data import DATA, MRI, held_out_ct, held_out_mri
from number import Number, table
from prior_denoising import denoising_numbers
from prior_quality import MRI_METRIC, ct_numbers, memory_numbers, mri_numbers
from training_speed import speed_numbers

from medscore.datasets.collections.slices import FULL
from medscore.metrics.image_quality import CT_CONVENTION


def normalised_mri(data: Path) -> torch.Tensor:
    """The MRI validation slices in units of their own 99.5th percentile."""
    images = held_out_mri(data)
    return images / torch.quantile(images.flatten(1), FULL, dim=1)[:, None, None, None]


def sections(data: Path, samples: int) -> dict[str, Callable[[], list[Number]]]:
    """The sections for which data are available."""
    found: dict[str, Callable[[], list[Number]]] = {"speed": speed_numbers}
    if not (data / MRI).exists():
        print(f"{data} has no {MRI}: only the speed is measured", flush=True)
        return found
    ct = ("ct-128", "ct-128-vp")
    found["denoising"] = lambda: [
        *denoising_numbers(ct, held_out_ct(data)),
        *denoising_numbers(("mri-128",), normalised_mri(data)),
    ]
    found["ct"] = lambda: [
        *ct_numbers("ct-128", data, samples, targets=(34.6, 33.4)),
        *ct_numbers("ct-128-vp", data, 2, every=3),
    ]
    found["mri"] = lambda: mri_numbers(data, samples, targets=True)
    found["memory"] = lambda: [
        *(n for name in ct for n in memory_numbers(name, data, held_out_ct(data))),
        *memory_numbers("mri-128", data, normalised_mri(data)),
    ]
    return found


def page(measured: dict[str, list[Number]]) -> str:
    """The page of the docs."""
    intro = (Path(__file__).with_name("training_intro.md")).read_text().rstrip()
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    lines = [
        intro,
        "",
        f"Machine: {machine}. CT metric: {CT_CONVENTION}. MRI metric: {MRI_METRIC}.",
    ]
    titles = {
        "speed": "Training speed", "denoising": "Denoising",
        "ct": "Sparse-view CT, thesis protocol", "mri": "Undersampled MRI, thesis protocol",
        "memory": "Memorisation",
    }  # fmt: skip
    for key, numbers in measured.items():
        lines += ["", f"## {titles[key]}", "", *table(numbers)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of development data")
    parser.add_argument("--only", action="append", help="a section; may be repeated")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write (or, section by section, add) as JSON")
    parser.add_argument("--page", type=Path, help="write a Markdown page of all that --json holds")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    args = parser.parse_args()
    possible = sections(args.data, args.samples)
    chosen = args.only or list(possible)
    if unknown := set(chosen) - set(possible):
        parser.error(f"cannot measure {', '.join(sorted(unknown))} here")
    measured: dict[str, list[Number]] = {}
    if args.json and args.json.exists():
        kept = json.loads(args.json.read_text())
        measured = {key: [Number(**n) for n in kept[key]] for key in possible if key in kept}
    for key in chosen:
        measured[key] = possible[key]()
        for number in measured[key]:
            print(number, flush=True)
        if args.json:
            content = {k: [n.__dict__ for n in v] for k, v in measured.items()}
            args.json.write_text(json.dumps(content, indent=2) + "\n")
    if args.page:
        args.page.write_text(page({k: measured[k] for k in possible if k in measured}))
    missed = [n for key in chosen for n in measured[key] if not n.met]
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
