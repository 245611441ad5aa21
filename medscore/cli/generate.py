"""``medscore generate``: images of a prior without any measurement."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.markup import escape
from torch import Tensor

import medscore
from medscore.checkpoint import load_prior, read_checkpoint
from medscore.cli import registry
from medscore.cli.progress import console, sampling_bar
from medscore.engine import Batch, Job, Samples, StepInfo, run
from medscore.errors import MedscoreError
from medscore.files import atomic_folder
from medscore.generation.sheet import pixels, sheet
from medscore.noise import derive_seed
from medscore.prior import NetworkPrior


@dataclass(frozen=True)
class Generation:
    """How images are drawn; what identifies an interrupted run."""

    prior: str
    count: int
    sampler: str
    grid: str
    steps: int
    snr: float
    seed: int
    precision: str
    batch_size: int

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            MedscoreError: naming the option.
        """
        for name, value, low, high in (
            ("--count", self.count, 1, 1_000_000),
            ("--steps", self.steps, 1, 100_000),
            ("--snr", self.snr, 1e-6, 10),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--batch-size", self.batch_size, 1, 1_000_000),
        ):
            if not low <= value <= high:
                raise MedscoreError(f"{name} is {value}", mend=f"use {low} to {high}")
        if self.precision not in ("float32", "bf16"):
            raise MedscoreError(f"--precision {self.precision}", mend="use float32 or bf16")


def generate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: Annotated[
        str, typer.Option(help="Name of a shipped prior, or a path.")
    ] = registry.DEFAULT_PRIORS["CT"],
    count: Annotated[int, typer.Option("-n", "--count", help="Images.")] = 16,
    sampler: Annotated[
        str, typer.Option(help=f"One of: {', '.join(registry.SAMPLERS)}.")
    ] = "dpm-solver++",
    steps: Annotated[int, typer.Option(help="Steps of the time grid.")] = 50,
    grid: Annotated[
        str, typer.Option(help=f"Their spacing, one of: {', '.join(registry.GRIDS)}.")
    ] = "angular",
    snr: Annotated[float, typer.Option(help="A corrector's signal-to-noise ratio.")] = 0.16,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Images walked together.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bf16 autocast where the hardware has it.")
    ] = "float32",
) -> None:
    """Draw images from a prior.

    Writes sheet.png, images/00000.png and so on (the prior's range, black to white), samples.npz
    (`hu` or `image`, float32) and provenance.json. After Ctrl-C the same command goes on where it
    stopped; image i is the same however many are drawn.

    Example: medscore generate --prior ct-128 -n 16 -o out

    Example: medscore generate --prior mri-128 -n 4 --sampler pc --grid uniform --steps 500 -o out
    """
    asked = Generation(prior, count, sampler, grid, steps, snr, seed, precision, batch_size)
    asked.check()
    if os.path.lexists(output):
        raise MedscoreError(
            "the output folder exists already", where=output, mend="choose a new one or remove it"
        )
    file = registry.prior_path(prior)
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract
    chosen = registry.device(device)
    network = load_prior(file, device=chosen)
    shape = (contract.channels, contract.size, contract.size)
    fingerprint = json.dumps([medscore.__version__, checkpoint.sha256, asdict(asked)])
    state = output.parent / f".{output.name}.resume.safetensors"
    begin = time.perf_counter()
    with atomic_folder(output) as folder:
        try:
            with sampling_bar(output.name) as show:
                found = draw(network, asked, shape, chosen, state, fingerprint, show)
        except KeyboardInterrupt:
            console.print("interrupted: repeat the same command to go on where it stopped")
            raise
        complex_image = contract.quantity == "complex"
        _pictures(folder, found.x.norm(dim=1, keepdim=True) if complex_image else found.x)
        values = (contract.low + contract.scale * found.x).cpu().numpy().astype(np.float32)
        name = "hu" if contract.quantity == "HU" else "image"
        arrays = {name: values[:, 0] if contract.channels == 1 else values.transpose(0, 2, 3, 1)}
        np.savez_compressed(folder / "samples.npz", allow_pickle=False, **arrays)
        record = {
            "medscore": medscore.__version__,
            "torch": torch.__version__,
            "settings": {**asdict(asked), "device": chosen},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "nfe_per_sample": found.nfe,
            "seconds": round(time.perf_counter() - begin, 2),
        }
        (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"{escape(str(output))}: {count} image(s), NFE {found.nfe}")


def draw(
    prior: NetworkPrior,
    asked: Generation,
    shape: tuple[int, ...],
    device: str,
    state: Path | None = None,
    fingerprint: str = "",
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Samples:
    """Unconditional samples in the prior's range."""
    times = registry.grid(asked.grid)(prior.sde, asked.steps)
    options = registry.SamplerOptions(asked.snr, times, prior.sde)
    sampler = registry.sampler(asked.sampler, options)
    job = Job(
        seeds=[derive_seed(asked.seed, i) for i in range(asked.count)],
        shape=shape,
        times=times,
        batches=lambda items: Batch(prior, sampler),
        batch_size=asked.batch_size,
        device=device,
        bf16=asked.precision == "bf16",
        state=state,
        fingerprint=fingerprint,
    )
    return run(job, on_step)


def _pictures(folder: Path, x: Tensor) -> None:
    (folder / "images").mkdir()
    for i, image in enumerate(pixels(x)):
        Image.fromarray(image).save(folder / "images" / f"{i:05d}.png")
    sheet(x).save(folder / "sheet.png")
