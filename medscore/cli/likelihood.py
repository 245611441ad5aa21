"""``medscore likelihood``: how likely images are under a prior, one line for each slice."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.markup import escape
from torch import Tensor

from medscore.checkpoint import load_prior, read_checkpoint
from medscore.cli import registry
from medscore.cli.progress import console, counting_bar
from medscore.datasets.cohort import Case, read_cohort
from medscore.errors import MedscoreError
from medscore.files import atomic_folder
from medscore.likelihood.bits import Levels, uniform
from medscore.likelihood.bound import correction, denoising_bound
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.dequantizer import load_dequantizer
from medscore.likelihood.divergence import exact, gaussian, rademacher
from medscore.likelihood.flow import log_likelihood
from medscore.likelihood.typicality import (
    Typical,
    nats_per_dim,
    network_range,
    read_typical,
    warning,
    write_typical,
)
from medscore.noise import derive_seed
from medscore.prior import NetworkPrior

SMALL = 256
"""Numbers in an image up to which the divergence is exact by default."""

DIVERGENCES = ("auto", "exact", "rademacher", "gaussian")
METHODS = ("flow", "bound", "clean-bound")


@dataclass(frozen=True)
class Asked:
    """What is computed of each image, as the options of the command."""

    method: str
    divergence: str
    probes: int
    draws: int
    bits: int | None
    rtol: float
    atol: float
    seed: int

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            MedscoreError: naming the option.
        """
        for name, value, known in (
            ("--method", self.method, METHODS),
            ("--divergence", self.divergence, DIVERGENCES),
        ):
            if value not in known:
                raise MedscoreError(f"{name} {value!r}", mend=f"use one of: {', '.join(known)}")
        for name, number, low, high in (
            ("--probes", self.probes, 1, 10_000),
            ("--draws", self.draws, 1, 1_000_000),
            ("--bits", 8 if self.bits is None else self.bits, 1, 16),
            ("--rtol", self.rtol, 1e-12, 1),
            ("--atol", self.atol, 1e-12, 1),
            ("--seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= number <= high:
                raise MedscoreError(f"{name} is {number}", mend=f"use {low} to {high}")


@dataclass(frozen=True)
class Row:
    """One slice: log p(x) / D in nats of the prior's range, and what follows from it."""

    nats_per_dim: float
    standard_error: float
    bits_per_dim: float | None
    nfe: int
    seconds: float


def likelihood(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: Annotated[
        str, typer.Option(help="Name of a shipped prior, or a path.")
    ] = registry.DEFAULT_PRIORS["CT"],
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
    spacing_mm: Annotated[
        float | None, typer.Option(help="Of pixels, where an archive does not say.")
    ] = None,
    typical: Annotated[
        bool,
        typer.Option(
            "--typical", help="These images are typical: keep their mean beside the prior."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Log-likelihood of images under a prior, and how typical they are of what it was trained on.

    Writes likelihood.csv, a line for each slice: log p / D in nats (D pixels in the prior's range,
    in which its contract's low and high are 0 and 1), its standard error where there are several
    probes or draws, bits per pixel with
    --bits, and z, deviations from the prior's validation images. likelihood.json says what was
    computed.

    Example: medscore likelihood scan.dcm --prior ct-128 -o out --bits 12

    Example: medscore likelihood t1.nii.gz --prior mri-128 --method bound -o out
    """
    asked = Asked(method, divergence, probes, draws, bits, rtol, atol, seed)
    asked.check()
    if limit is not None and limit < 1:
        raise MedscoreError(f"--limit is {limit}", mend="use 1 or more")
    if os.path.lexists(output):
        raise MedscoreError(
            "the output folder exists already", where=output, mend="choose a new one or remove it"
        )
    file = registry.prior_path(prior)
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract
    if contract.quantity not in ("HU", "magnitude"):
        raise MedscoreError(
            f"prior {contract.name} is of {contract.quantity} images", where=file,
            mend="use one of HU or magnitudes",
        )  # fmt: skip
    known = None if typical else read_typical(file, checkpoint.sha256)
    noise = _noise(asked, dequantizer, checkpoint.sha256)
    cases = read_cohort(
        [str(path.resolve()) for path in images], root=Path.cwd(), modality=contract.modality,
        size=contract.size, spacing_mm=spacing_mm, limit=limit,
    )  # fmt: skip
    if typical and len(cases) < 2:
        raise MedscoreError(
            f"--typical: {len(cases)} images say nothing of their deviation",
            mend="give many different slices",
        )
    chosen = registry.device(device)
    network = load_prior(file, device=chosen)
    ranged = [network_range(case.volume.values, contract) for case in cases]
    with atomic_folder(output) as folder, counting_bar("slices", len(cases)) as show:
        rows, plain = [], []
        for number, x in enumerate(ranged):
            x = x.to(next(network.parameters()).device)
            rows.append(assess(network, x, asked, noise, derive_seed(seed, number)))
            if typical or known is not None:
                plain.append(nats_per_dim(network, x).cpu())
            show(number + 1, "")
        z = None if known is None else known.z(torch.cat(plain))
        said = {
            **asked.__dict__,
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "density": "of the clean image, bounded from below"
            if method == "clean-bound"
            else "of the image with the noise of the SDE's eps",
            "nats": "log p over the image's pixels, whose range 0..1 is "
            f"{contract.low:g}..{contract.high:g} {contract.quantity}",
            "bits": None if noise is None else noise.levels.bits,
            "dequantization": None if noise is None else str(dequantizer or "uniform"),
            "seconds": sum(row.seconds for row in rows),
        }
        _write(folder, cases, rows, z, said)
    _tell(output, rows, z)
    if typical:
        found = _typical(torch.cat(plain), checkpoint.sha256)
        console.print(f"{escape(str(write_typical(file, found)))}: typical of {found.count} slices")


def assess(
    prior: NetworkPrior, x: Tensor, asked: Asked, noise: DequantizationFlow | None, seed: int
) -> Row:
    """One image (1, channel, H, W) in the prior's range; ``noise`` is that within grey levels."""
    begin, d = time.perf_counter(), x[0].numel()
    log_q = torch.zeros(1)
    if noise is not None:
        noise = noise.to(x.device)
        k = noise.levels.quantise(x)
        with torch.no_grad():
            u, log_q = noise(k, uniform(k, [derive_seed(seed, 2)]))
        x = noise.levels.dequantise(k, u)
    if asked.method == "flow":
        flow = log_likelihood(
            prior, x, _divergence(asked, d)(x, [seed]), rtol=asked.rtol, atol=asked.atol
        )
        minus, error, nfe = -flow.nats, flow.standard_error, flow.nfe
    else:
        bound = denoising_bound(prior, x, [seed], asked.draws)
        nfe = asked.draws
        if asked.method == "clean-bound":
            bound = bound + correction(prior, x, [seed], asked.draws)
            nfe *= 2
        minus, error = bound.nats, bound.standard_error
    bits = None if noise is None else float(noise.levels.bits_per_dim(minus.cpu(), log_q.cpu(), d))
    return Row(-float(minus) / d, float(error) / d, bits, nfe, time.perf_counter() - begin)


def _noise(asked: Asked, file: Path | None, sha256: str) -> DequantizationFlow | None:
    """Of --bits or --dequantizer; a new flow is uniform."""
    if file is None:
        return None if asked.bits is None else DequantizationFlow(Levels(asked.bits), couplings=0)
    if asked.bits is not None:
        raise MedscoreError("--bits beside --dequantizer", mend="leave out --bits: it has its own")
    return load_dequantizer(file, sha256)


def _divergence(asked: Asked, d: int) -> Callable[..., Callable[..., tuple[Tensor, Tensor]]]:
    kind = asked.divergence
    if kind == "exact" or (kind == "auto" and d <= SMALL):
        return lambda like, seeds: exact
    draw = gaussian if kind == "gaussian" else rademacher
    return lambda like, seeds: draw(like, seeds, asked.probes)


def _typical(values: Tensor, sha256: str) -> Typical:
    try:
        return Typical.of(values, sha256)
    except ValueError as error:
        raise MedscoreError(f"--typical: {error}", mend="give many different slices") from error


def _write(
    folder: Path, cases: list[Case], rows: list[Row], z: Tensor | None, said: dict[str, Any]
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["image", "patient", "nats_per_dim", "standard_error", "bits_per_dim", "z", "nfe"]
    )
    for i, (case, row) in enumerate(zip(cases, rows, strict=True)):
        writer.writerow([
            case.name, case.patient, f"{row.nats_per_dim:.6g}",
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
