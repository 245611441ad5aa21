"""CT at its own matrix with the prior `ct`: quality, denoising, time and memory.

    python benchmarks/native_ct.py                # evaluates what is missing, prints the table
    python benchmarks/native_ct.py --part cost    # only time and memory: needs an idle machine
    python benchmarks/native_ct.py --prior ct.safetensors
    python benchmarks/native_ct.py --check --page FILE

Quality: the comparisons native-ct-128, native-ct-256 and native-ct-512 of the COVID-19-NY-SBU
validation patients (TCIA, CC BY 4.0). The weights of FISTA-TV are tuned on the reported slices
(``python benchmarks/tune_baselines.py configs/eval/native-ct-512.yaml``). Finished slices are kept
in --runs, finished parts in --json, so an interrupted run continues. About four hours of CPU time.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from development_data import DATA
from native_ct_cost import cost_numbers
from number import Number, exit_code, finished, machine, table
from prior_denoising import denoised
from prior_quality import distance_numbers
from torch import Tensor

from medscore.datasets.collections.crops import scaled_crop
from medscore.datasets.collections.native_slices import Reading, load_native_slices
from medscore.errors import MedscoreError
from medscore.evaluation.run import evaluate
from medscore.nets.context import POSITION_MM
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.training.native_recipe import NativeRecipe
from medscore.training.recipe import read_recipe
from medscore.training.validation import sample

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "eval"

TARGETS: dict[str, dict[str, dict[str, tuple[float | None, float | None]]]] = {
    "native-ct-256": {"45 views": {"FISTA-TV": (2.0, 0.012), "ct-128": (0.7, None)}},
    "native-ct-512": {
        "90 views": {"FISTA-TV": (1.5, 0.008), "ct-128": (1.0, None)},
        "60 views": {"FISTA-TV": (2.0, None), "ct-128": (1.0, None)},
        "360 views, low dose": {"FISTA-TV": (1.0, None), "ct-128": (0.5, None)},
    },
    "native-ct-128": {"23 views": {"ct-128": (-0.3, None)}},
}
"""Least gain in PSNR (dB) and SSIM of the mean of 4 samples, by comparison, task and peer."""

LEVELS = (0.05, 0.1, 0.25)
"""Standard deviations of the noise for denoising, in the prior's range."""

SLICES = 8
"""Number of slices that are denoised."""

MEMORY_SIDE, MEMORY_MM, MEMORY_COUNT = 128, 2.9, 32
"""Matrix size, pixel size in mm and number of samples that are compared with training slices."""

INTRO = """# CT at its own matrix

The prior `ct`, which serves every matrix size and pixels of 0.4 to 3 mm, on patients that no
network was trained on. The scans are simulated on a finer grid than they are reconstructed on,
with detectors of finite width and photon noise; only the row of 128 x 128 is in the dissertation's
noise-free protocol. FISTA-TV has the weight that is best on the reported slices, weighs every ray
by its noise, and runs for 500 iterations; medscore has its default settings, and the mean of 4
samples is compared. Prior for any matrix: [Priors](../priors.md).

Written by `python benchmarks/native_ct.py --page FILE`; do not edit by hand.

"""


def quality_numbers(prior: str, runs: Path, data: Path) -> list[Number]:
    """PSNR and SSIM of every method, and the gains over the peers.

    Args:
        prior: name or path of the prior.
        runs: folder of the comparisons' folders.
        data: folder of the development data.
    """
    found = []
    for name, tasks in TARGETS.items():
        chosen = [f"medscore:prior={prior}"] if prior != "ct" else []
        evaluate(
            CONFIGS / f"{name}.yaml", runs / name, train=_no_training, data=data, parameters=chosen
        )
        with (runs / name / "table.csv").open() as file:
            rows = {(row["task"], row["method"]): row for row in csv.DictReader(file)}
        side = name.rpartition("-")[2]
        for task, peers in tasks.items():
            title = f"{side} x {side}, {task}"
            for (of, method), row in rows.items():
                if of == task:
                    found += [
                        Number(f"{title}: {method}, PSNR", float(row["psnr_mean"]), "dB"),
                        Number(f"{title}: {method}, SSIM", float(row["ssim_mean"])),
                    ]
            ours = rows[task, "medscore"]
            for peer, (least_psnr, least_ssim) in peers.items():
                theirs = rows[task, peer]
                gain = {k: float(ours[k]) - float(theirs[k]) for k in ("psnr_mean", "ssim_mean")}
                found.append(
                    Number(
                        f"{title}: medscore minus {peer}, PSNR", gain["psnr_mean"], "dB",
                        at_least=least_psnr,
                    )
                )  # fmt: skip
                found.append(
                    Number(
                        f"{title}: medscore minus {peer}, SSIM", gain["ssim_mean"],
                        at_least=least_ssim,
                    )
                )  # fmt: skip
    return found


def _no_training(name: str, recipe: Path, folder: Path) -> None:
    raise MedscoreError(f"{name}: there is no supervised network", where=recipe)


def denoising_numbers(prior: str, data: Path) -> list[Number]:
    """Mean squared error against BM3D, and ct-128, on validation slices of 512 x 512.

    Args:
        prior: name or path of the prior.
        data: folder of the development data.
    """
    try:
        from bm3d import bm3d
    except ImportError as error:
        raise MedscoreError("bm3d is not installed", hint="pip install bm3d") from error
    archive = np.load(data / "ct512" / "validation" / "TCGA-lung-validation.npz")
    places = np.linspace(0, len(archive["hu"]) - 1, SLICES).round().astype(int)
    pixel = [float(archive["pixel_spacing_mm"][k][0]) for k in places]
    clean = torch.from_numpy((archive["hu"][places].astype(np.float32) + 1000) / 3000).clamp(0, 1)
    networks = {name: load_prior(prior_path(name)) for name in (prior, "ct-128")}
    generator, found = torch.Generator().manual_seed(0), []
    for sigma in LEVELS:
        errors: dict[str, list[float]] = {"BM3D": [], **{name: [] for name in networks}}
        for image, mm in zip(clean, pixel, strict=True):
            noisy = image + sigma * torch.randn(image.shape, generator=generator)
            estimates = {"BM3D": torch.from_numpy(bm3d(noisy.numpy(), sigma)).float()}
            for name, network in networks.items():
                chosen = network.on_grid((512, 512), mm, allow_mismatch=True)
                estimates[name] = denoised(chosen, noisy[None, None], sigma)[0, 0]
            for name, estimate in estimates.items():
                errors[name].append(float((estimate - image).square().mean()))
        psnr = {name: float(-10 * np.log10(e).mean()) for name, e in errors.items()}
        title = f"denoising at 512 x 512, sigma {sigma:g}"
        found += [Number(f"{title}: {name}, PSNR", value, "dB") for name, value in psnr.items()]
        found += [
            Number(
                f"{title}: {prior} minus {name}, PSNR", psnr[prior] - psnr[name], "dB",
                at_least=0 if name == "BM3D" else None,
            )
            for name in psnr if name != prior
        ]  # fmt: skip
    return found


def memory_numbers(prior: str, data: Path) -> list[Number]:
    """Distance of unconditional samples, and of held-out slices, to the nearest training slice.

    All are whole slices of 128 x 128 pixels.

    Args:
        prior: name or path of the prior.
        data: folder of the development data.
    """
    recipe = read_recipe(prior_path("ct").with_suffix(".yaml"), NativeRecipe)
    reading = Reading((recipe.low, recipe.high))

    def whole(patterns: Sequence[str]) -> Tensor:
        slices = load_native_slices(patterns, data, reading).slices
        made = [
            scaled_crop(s, s.image.shape[0] / MEMORY_SIDE, MEMORY_SIDE, (0.5, 0.5), POSITION_MM)
            for s in slices
        ]
        return torch.stack(made)[:, 0].float()

    seen = whole([pattern for source in recipe.sources for pattern in source.files])
    network = load_prior(prior_path(prior)).on_grid((MEMORY_SIDE, MEMORY_SIDE), MEMORY_MM)
    drawn = sample(network, (1, MEMORY_SIDE, MEMORY_SIDE), count=MEMORY_COUNT)[:, 0]
    return distance_numbers(prior, drawn, whole(recipe.validation), seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="ct", help="name or path of the prior")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="finished slices")
    parser.add_argument("--json", type=Path, help="finished parts; read if it exists")
    parser.add_argument("--part", action="append", help="only this part; repeatable")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    parts: dict[str, Callable[[], list[Number]]] = {
        "quality": lambda: quality_numbers(args.prior, args.runs, args.data),
        "denoising": lambda: denoising_numbers(args.prior, args.data),
        "memory": lambda: memory_numbers(args.prior, args.data),
        "cost": lambda: cost_numbers(args.prior),
    }
    found = finished(parts, args.json, args.part)
    if args.page:
        args.page.write_text(INTRO + machine() + "\n\n" + "\n".join(table(found)) + "\n")
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
