"""``medscore generate``: images of a prior without any measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
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
from medscore.cli.options import check_precision, check_ranges
from medscore.cli.progress import console, sampling_bar
from medscore.conditioners.base import Conditioner
from medscore.conditioners.guidance import ClassifierGuidance
from medscore.contract import DataContract
from medscore.engine import UNCONDITIONAL, Batch, Job, Samples, StepInfo, run
from medscore.errors import MedscoreError
from medscore.files import atomic_folder, check_absent
from medscore.generation.classifier import NoisyClassifier, load_classifier
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
    label: str | None = None
    strength: float = 1.0

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            MedscoreError: naming the option.
        """
        check_ranges(
            ("--count", self.count, 1, 1_000_000),
            ("--steps", self.steps, 1, 100_000),
            ("--snr", self.snr, 1e-6, 10),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--batch-size", self.batch_size, 1, 1_000_000),
            ("--strength", self.strength, 0, 1000),
        )
        check_precision(self.precision)


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
    classifier: Annotated[
        Path | None, typer.Option(help="Of noisy images (`medscore train`), for --label.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The class of all images, or several: 0,1,2.")
    ] = None,
    strength: Annotated[float, typer.Option(help="Of the classifier's pull; 1 is Bayes'.")] = 1.0,
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

    Example: medscore generate --prior p.safetensors --classifier c.safetensors --label 7 -o out

    Example: medscore generate --prior mri-128 -n 4 --sampler pc --grid uniform --steps 500 -o out
    """
    asked = Generation(prior, count, sampler, grid, steps, snr, seed, precision, batch_size,
                       label, strength)  # fmt: skip
    asked.check()
    check_absent(output)
    file = registry.prior_path(prior)
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract
    chosen = registry.device(device)
    network = load_prior(file, device=chosen)
    shape = (contract.channels, contract.size, contract.size)
    guide = _guide(classifier, asked, contract, chosen)
    files = [checkpoint.sha256, None if guide is None else guide.sha256]
    fingerprint = json.dumps([medscore.__version__, *files, asdict(asked)])
    state = output.parent / f".{output.name}.resume.safetensors"
    begin = time.perf_counter()
    with atomic_folder(output) as folder:
        try:
            with sampling_bar(output.name) as show:
                found = draw(network, asked, shape, chosen, guide, state, fingerprint, show)
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


@dataclass(frozen=True)
class Guide:
    """A classifier, and which class each image shall be of.

    Attributes:
        labels: one for all images, or several that take turns. sha256: of the classifier.
    """

    classifier: NoisyClassifier
    labels: Tensor
    strength: float
    sha256: str

    def conditioner(self, items: Sequence[int]) -> Conditioner:
        """For these images."""
        wanted = self.labels[torch.tensor(list(items)) % len(self.labels)]
        return ClassifierGuidance(self.classifier, wanted, self.strength)


def _guide(
    file: Path | None, asked: Generation, contract: DataContract, device: str
) -> Guide | None:
    if (file is None) != (asked.label is None):
        raise MedscoreError("--classifier and --label go together", mend="give both, or neither")
    if file is None or asked.label is None:
        return None
    model, sha256 = load_classifier(file)
    its = model.contract
    if (its.size, its.quantity, its.sde) != (contract.size, contract.quantity, contract.sde):
        raise MedscoreError(
            f"is of {its.quantity} images of side {its.size} on {its.sde}, prior {contract.name} "
            f"of {contract.quantity} ones of side {contract.size} on {contract.sde}",
            where=file, mend="train one with `classifies` naming that prior",
        )  # fmt: skip
    numbers = []
    for label in asked.label.split(","):
        if label not in its.classes:
            raise MedscoreError(
                f"--label {label!r}", where=file, mend=f"use one of: {', '.join(its.classes)}"
            )
        numbers.append(its.classes.index(label))
    labels = torch.tensor(numbers, device=device)
    return Guide(model.to(device), labels, asked.strength, sha256)


def draw(
    prior: NetworkPrior,
    asked: Generation,
    shape: tuple[int, ...],
    device: str,
    guide: Guide | None = None,
    state: Path | None = None,
    fingerprint: str = "",
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Samples:
    """Samples in the prior's range, of the classes that ``guide`` wants."""
    times = registry.grid(asked.grid)(prior.sde, asked.steps)
    options = registry.SamplerOptions(asked.snr, times, prior.sde)
    sampler = registry.sampler(asked.sampler, options)
    job = Job(
        seeds=[derive_seed(asked.seed, i) for i in range(asked.count)],
        shape=shape,
        times=times,
        batches=lambda items: Batch(
            prior, sampler, UNCONDITIONAL if guide is None else guide.conditioner(items)
        ),
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
