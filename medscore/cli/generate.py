"""``medscore generate``: images of a prior, any or such as agree with a part of one, of a class."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import medscore
from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.engine.resume import resumable
from medscore.errors import MedscoreError
from medscore.generation.draw import Generation, draw
from medscore.generation.gallery import write_gallery
from medscore.generation.known import TASKS, Part, known
from medscore.generation.wanted import agreeing, classes, free
from medscore.io.files import atomic_folder, check_absent
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.registry import methods as registry
from medscore.registry.checks import resolve_device

CONDITIONER = "diffpir"


def generate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: Annotated[
        str, typer.Option(help="Name of a shipped prior, or a path.")
    ] = DEFAULT_PRIORS["CT"],
    count: Annotated[
        int, typer.Option("-n", "--count", help="Images; for each one of --known.")
    ] = 16,
    sampler: Annotated[
        str | None,
        typer.Option(
            help=f"One of: {', '.join(registry.SAMPLERS)}. dpm-solver++ by default, ddim with "
            "--known."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the time grid.")] = 50,
    grid: Annotated[
        str | None,
        typer.Option(
            help=f"Their spacing, one of: {', '.join(registry.GRIDS)}. angular by default, focused "
            "with --known."
        ),
    ] = None,
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
    known_files: Annotated[
        list[Path] | None, typer.Option("--known", help="Images to complete; repeatable.")
    ] = None,
    task: Annotated[
        str, typer.Option(help=f"What of them is known: {', '.join(TASKS)}.")
    ] = "inpaint",
    mask: Annotated[
        Path | None, typer.Option(help="Of inpaint: a picture, white where pixels are known.")
    ] = None,
    hidden: Annotated[
        float, typer.Option(help="Of inpaint without a mask: share of the sides that is hidden.")
    ] = 0.5,
    factor: Annotated[int, typer.Option(help="Of sr: pixels of a block.")] = 2,
    conditioner: Annotated[
        str, typer.Option(help=f"With --known, one of: {', '.join(registry.CONDITIONERS)}.")
    ] = CONDITIONER,
    spacing_mm: Annotated[
        float | None, typer.Option(help="Of known pixels, where an archive does not say.")
    ] = None,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bf16 autocast where the hardware has it.")
    ] = "float32",
) -> None:
    """Draw images from a prior: any, or such as agree exactly with a known part; of a class.

    Writes sheet.png (with --known a row for each image, what was known first), images/00000.png and
    so on (the prior's range, black to white), samples.npz (`hu` or `image`, float32) and
    provenance.json. After Ctrl-C the same command goes on where it stopped; image i is the same
    however many are drawn.

    Example: medscore generate --prior ct-128 -n 16 -o out

    Example: medscore generate --prior p.safetensors --classifier c.safetensors --label 7 -o out

    Example: medscore generate --prior p.safetensors --known face.png --task colorize -n 4 -o out

    Example: medscore generate --prior mri-128 -n 4 --sampler pc --grid uniform --steps 500 -o out
    """
    usual = ("dpm-solver++", "angular") if known_files is None else ("ddim", "focused")
    asked = Generation(
        prior, count, sampler or usual[0], grid or usual[1], steps, snr, seed, precision,
        batch_size, label, strength, None if known_files is None else conditioner,
    )  # fmt: skip
    asked.check()
    check_absent(output)
    if (classifier is None) != (label is None):
        raise MedscoreError("--classifier and --label go together", hint="give both, or neither")
    if classifier is None and strength != 1.0:
        raise MedscoreError("--strength without --classifier", hint="give both, or neither")
    part = Part(tuple(known_files or ()), task, mask, hidden, factor, spacing_mm)
    if known_files is None and (part != Part(()) or conditioner != CONDITIONER):
        raise MedscoreError(
            "--task, --mask, --hidden, --factor, --conditioner and --spacing-mm are of --known",
            hint="give --known, or leave them out",
        )
    file = prior_path(prior)
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract
    chosen = resolve_device(device)
    wanted = free(count, seed)
    if known_files is not None:
        wanted = agreeing(count, seed, part, known(part, contract), conditioner, chosen)
    if classifier is not None and label is not None:
        wanted = wanted.of(classes(classifier, label, strength, contract, chosen))
    network = load_prior(file, device=chosen)
    identity = [medscore.__version__, checkpoint.sha256, wanted.origin, asdict(asked)]
    state = output.parent / f".{output.name}.resume.safetensors"
    begin = time.perf_counter()
    with atomic_folder(output) as folder:
        with resumable(state), sampling_bar(output.name) as show:
            found = draw(
                network, contract, asked, wanted, chosen, state, json.dumps(identity), show
            )
        origin = {
            "settings": {**asdict(asked), "device": chosen},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            **wanted.origin,
            "nfe_per_sample": found.nfe,
            "seconds": round(time.perf_counter() - begin, 2),
        }
        shown, columns = wanted.sheet(found.x)
        write_gallery(folder, found.x, contract, origin, shown=shown, columns=columns)
    console.print(f"{escape(str(output))}: {len(found.x)} image(s), NFE {found.nfe}")
