"""``medscore quality``: how samples compare with real images, and whether they are copies."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from medscore.cli import options
from medscore.cli.options import check_new
from medscore.datasets.collections.cohort import equally_spaced
from medscore.errors import MedscoreError
from medscore.generation.given import given
from medscore.generation.inception import inception_features
from medscore.generation.quality import (
    NEIGHBOURS,
    Copies,
    Distances,
    Features,
    distances_from,
    read_features,
)
from medscore.io.files import atomic_write
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.registry.checks import check_ranges


def quality(
    samples: Annotated[Path, typer.Argument(help="Folder of `medscore generate`, or images.")],
    real: Annotated[Path, typer.Argument(help="Real images that the prior has not seen.")],
    prior: Annotated[
        str, typer.Option(help="Whose images they are: name of a shipped prior, or a path.")
    ] = DEFAULT_PRIORS["CT"],
    training: Annotated[
        Path | None, typer.Option(help="Training images: a peer, and what could be copied.")
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="All files are .npy arrays of features (n, d).")
    ] = False,
    inception: Annotated[
        Path | None, typer.Option(help="TorchScript network of features, for FID and the others.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON file to write it all to.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many images of each, equally spaced.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random directions.")] = 0,
    spacing_mm: options.Spacing = None,
) -> None:
    """Distances between samples and real images; with --training also those of as many training
    images, which is what good samples can reach, and the nearest training image of each sample.

    Images are compared pixel by pixel, as your own features, or with --inception as features of a
    network, which makes the Frechet distance FID. Distances depend on how many images there are,
    so equally many of each set are compared.

    Example: medscore generate --prior ct-128 -n 100 -o out

    Example: medscore quality out validation.npz --prior ct-128 --training train.npz -o quality.json
    """
    check_ranges(("--seed", seed, 0, 2**63 - 1))
    options.check_limit(limit)
    if output is not None:
        check_new(output)
    if features and inception is not None:
        raise MedscoreError("--inception beside --features", hint="leave one of them out")
    files = {"samples": samples, "real": real}
    if training is not None:
        files["training"] = training
    sets, names = {}, {}
    if features:
        for name, file in files.items():
            rows = read_features(file)
            chosen = equally_spaced(len(rows), limit)
            sets[name], names[name] = rows[chosen], [f"{file.name}#{i}" for i in chosen]
    else:
        contract = read_checkpoint(prior_path(prior)).contract
        found = {name: given([file], contract, spacing_mm=spacing_mm, limit=limit)
                 for name, file in files.items()}  # fmt: skip
        x = torch.cat([its.x for its in found.values()])
        rows = x.flatten(1) if inception is None else inception_features(inception, x)
        sets = dict(zip(found, rows.split([len(its.x) for its in found.values()]), strict=True))
        names = {name: list(its.names) for name, its in found.items()}
    _check(sets, files)
    about = {
        "of": "features" if features or inception is not None else "pixels",
        "compared": min(len(x) for x in sets.values()),
    }
    judged = [name for name in sets if name != "real"]
    try:
        result = {name: distances_from(sets[name], sets, seed) for name in judged}
    except ValueError as error:  # of the kernel's width
        raise MedscoreError(
            f"most of them are alike ({error})", where=real, hint="give real images that differ"
        ) from error
    copies = None if training is None else Copies.of(sets, names["training"])
    _tell(result, copies)
    if output is not None:
        whole = {**about, **{k: asdict(v) for k, v in result.items()}}
        whole |= {} if copies is None else {"nearest": asdict(copies)}
        atomic_write(output, (json.dumps(whole, indent=1) + "\n").encode())


def _check(sets: dict[str, Features], files: dict[str, Path]) -> None:
    for name, x in sets.items():
        if len(x) <= NEIGHBOURS:
            raise MedscoreError(
                f"{len(x)} image(s)", where=files[name], hint=f"give more than {NEIGHBOURS}"
            )
        if x.shape[1] != sets["real"].shape[1]:
            raise MedscoreError(
                f"{x.shape[1]} features of an image, {files['real']} has "
                f"{sets['real'].shape[1]}", where=files[name], hint="use the same features",
            )  # fmt: skip


def _tell(result: dict[str, Distances], copies: Copies | None) -> None:
    table = Table("from the real images", *result)
    rows: dict[str, list[Any]] = {}
    for found in result.values():
        for name, value in asdict(found).items():
            rows.setdefault(name, []).append(f"{value:.4g}")
    for name, values in rows.items():
        table.add_row(name, *values)
    if copies is not None:
        table.add_row("distance to the nearest training image, median", f"{copies.samples:.4g}", "")
        table.add_row("the same of real images", f"{copies.real:.4g}", "")
        closest = "none: some are in both" if copies.closest is None else f"{copies.closest:.4g}"
        table.add_row("smallest distance, over that of real images", closest, "")
    Console().print(table)
