"""``medscore likelihood``: how likely images are under a prior, one line for each slice."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

import medscore
from medscore.cli import options
from medscore.cli.options import check_new
from medscore.cli.progress import console, counting_bar
from medscore.errors import MedscoreError
from medscore.evaluation.cells import key_of
from medscore.generation.given import Given, given
from medscore.io.files import atomic_folder, check_absent
from medscore.io.weights import weights_hash
from medscore.likelihood.assess import (
    DIVERGENCES,
    METHODS,
    SMALL,
    Asked,
    Kept,
    Row,
    assess,
    noise_of,
)
from medscore.likelihood.typicality import (
    Typical,
    beside,
    nats_per_dim,
    read_typical,
    warning,
    write_typical,
)
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.registry.checks import resolve_device
from medscore.white_noise import derive_seed


def likelihood(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, pictures, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: Annotated[
        str, typer.Option(help="Name of a shipped prior, or a path.")
    ] = DEFAULT_PRIORS["CT"],
    method: Annotated[
        str,
        typer.Option(
            help="flow (probability flow), bound (of the noised image), clean-bound (of the image)."
        ),
    ] = "flow",
    divergence: Annotated[
        str,
        typer.Option(help=f"{', '.join(DIVERGENCES)}: exact up to {SMALL} pixels, else signs."),
    ] = "auto",
    probes: Annotated[int, typer.Option(help="Of the divergence.")] = 1,
    draws: Annotated[int, typer.Option(help="Times and noises of a bound.")] = 128,
    bits: Annotated[
        int | None,
        typer.Option(help="Grey levels 2^BITS over the prior's range, uniform noise in them."),
    ] = None,
    dequantizer: Annotated[
        Path | None,
        typer.Option(help="Trained noise instead, with its own bits (`medscore train`)."),
    ] = None,
    rtol: Annotated[float, typer.Option(help="Of the flow's solver.")] = 1e-5,
    atol: Annotated[float, typer.Option(help="Of the flow's solver.")] = 1e-5,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    limit: Annotated[
        int | None, typer.Option(help="At most so many slices, equally spaced.")
    ] = None,
    spacing_mm: options.Spacing = None,
    typical: Annotated[
        bool,
        typer.Option(
            "--typical", help="These images are typical: keep their mean beside the prior."
        ),
    ] = False,
    device: options.Device = "auto",
) -> None:
    """Log-likelihood of images under a prior, and how typical they are of what it was trained on.

    Writes likelihood.csv, a line for each slice: log p / D in nats (D pixels, times three in
    colour, in the prior's range: its contract's low and high are 0 and 1), its standard error where
    there are several probes or draws, bits/dim with --bits, and z, deviations from the prior's
    validation images. likelihood.json says what was computed.

    Example: medscore likelihood scan.dcm --prior ct-128 -o out --bits 12

    Example: medscore likelihood t1.nii.gz --prior mri-128 --method bound -o out
    """
    asked = Asked(method, divergence, probes, draws, bits, rtol, atol, seed)
    asked.check()
    options.check_limit(limit)
    check_absent(output)
    file = prior_path(prior)
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract
    if typical:
        check_new(beside(file))
    known = None if typical else read_typical(file, checkpoint.sha256)
    noise = noise_of(asked, dequantizer, checkpoint.sha256)
    found = given(images, contract, spacing_mm=spacing_mm, limit=limit)
    if typical and len(found.x) < 2:
        raise MedscoreError(
            f"--typical: {len(found.x)} images say nothing of their deviation",
            hint="give many different slices",
        )
    chosen = resolve_device(device)
    network = load_prior(file, device=chosen)
    judged = typical or known is not None
    kept = Kept(
        output.parent / f".{output.name}.resume.json",
        key_of(medscore.__version__, asdict(asked), checkpoint.sha256, judged,
               None if noise is None else weights_hash(noise.state_dict()),
               found.digests),
    )  # fmt: skip
    rows = kept.load()
    with atomic_folder(output) as folder, counting_bar("slices", len(found.x)) as show:
        for number in range(len(rows), len(found.x)):
            x = found.x[number : number + 1].to(chosen)
            row = assess(network, x, asked, noise, derive_seed(seed, number))
            if judged:
                row = replace(row, typical=float(nats_per_dim(network, x)))
            rows.append(row)
            kept.save(rows)
            show(number + 1, "")
        plain = torch.tensor([row.typical or 0.0 for row in rows])
        its = _typical(plain, checkpoint.sha256) if typical else None
        z = None if known is None else known.z(plain)
        said = {
            **asked.__dict__,
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "density": METHODS[method],
            "nats": "log p over the image's numbers, whose range 0..1 is "
            f"{contract.low:g}..{contract.high:g} {contract.quantity}",
            "bits": None if noise is None else noise.levels.bits,
            "dequantization": None if noise is None else str(dequantizer or "uniform"),
            "seconds": sum(row.seconds for row in rows),
        }
        _write(folder, found, rows, z, said)
    kept.file.unlink(missing_ok=True)
    _tell(output, rows, z)
    if its is not None:
        console.print(f"{escape(str(write_typical(file, its)))}: typical of {its.count} slices")


def _typical(values: Tensor, sha256: str) -> Typical:
    try:
        return Typical.of(values, sha256)
    except ValueError as error:
        raise MedscoreError(f"--typical: {error}", hint="give many different slices") from error


def _write(
    folder: Path, found: Given, rows: list[Row], z: Tensor | None, said: dict[str, Any]
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["image", "patient", "nats_per_dim", "standard_error", "bits_per_dim", "z", "nfe"]
    )
    for i, row in enumerate(rows):
        writer.writerow([
            found.names[i], found.patients[i], f"{row.nats_per_dim:.6g}",
            "" if math.isnan(row.standard_error) else f"{row.standard_error:.3g}",
            "" if row.bits_per_dim is None else f"{row.bits_per_dim:.5g}",
            "" if z is None else f"{float(z[i]):.3g}", row.nfe,
        ])  # fmt: skip
    (folder / "likelihood.csv").write_text(out.getvalue())
    (folder / "likelihood.json").write_text(json.dumps(said, indent=1) + "\n")


def _tell(output: Path, rows: list[Row], z: Tensor | None) -> None:
    mean = sum(row.nats_per_dim for row in rows) / len(rows)
    text = f"{escape(str(output))}: {len(rows)} slice(s), log p / D {mean:.4f} nats"
    bits = [row.bits_per_dim for row in rows if row.bits_per_dim is not None]
    if bits:
        text += f", {sum(bits) / len(bits):.3f} bits/dim"
    console.print(text)
    if z is not None and (said := warning(z)):
        console.print(f"warning: {said}")
