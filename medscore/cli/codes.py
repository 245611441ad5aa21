"""``medscore encode`` and ``medscore decode``: images to latent codes, and codes to images."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.options import check_new
from medscore.cli.progress import console, sampling_bar
from medscore.errors import MedscoreError
from medscore.generation.codes import (
    Flow,
    Run,
    between_codes,
    check_same_latents,
    read_codes,
    sde_json,
)
from medscore.generation.gallery import write_gallery
from medscore.generation.given import given
from medscore.generation.latent import compare, decode, encode
from medscore.io.files import atomic_folder, atomic_path, check_absent
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.registry.checks import check_ranges, resolve_device

Tolerance = Annotated[float, typer.Option(help="Relative and absolute, of the flow's solver.")]
Precision = Annotated[str, typer.Option(help="float64, or float32: faster, and less exact.")]
PriorName = Annotated[str, typer.Option("--prior", help="Name of a shipped prior, or a path.")]


def encode_(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, pictures, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File of codes (.npz).")],
    prior: PriorName = DEFAULT_PRIORS["CT"],
    against: Annotated[
        str | None, typer.Option(help="Another prior on the same SDE: compare its codes.")
    ] = None,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    limit: Annotated[
        int | None, typer.Option(help="At most so many images, equally spaced.")
    ] = None,
    spacing_mm: options.Spacing = None,
    device: options.Device = "auto",
) -> None:
    """Latent codes of images by the probability flow, for `medscore decode`.

    Writes `code` (n, channel, H, W), the images' names, the prior's hash and SDE, and the NFE.
    After Ctrl-C the same command goes on with the next image. With --against it says how alike two
    priors' codes of the same images are.

    Example: medscore encode scan.dcm --prior ct-128-vp -o codes.npz
    """
    flow = Flow(tolerance, precision)
    flow.check()
    options.check_limit(limit)
    check_new(output)
    if output.suffix != ".npz":
        raise MedscoreError("no .npz file", where=output, hint="end its name with .npz")
    checkpoint = read_checkpoint(prior_path(prior))
    found = given(images, checkpoint.contract, spacing_mm=spacing_mm, limit=limit)
    other = None if against is None else read_checkpoint(prior_path(against))
    if other is not None:
        check_same_latents(checkpoint.contract, other.contract)
        if len(found.x) < 2:
            raise MedscoreError("--against with a single image", hint="give two or more")
    run = Run(flow, resolve_device(device), output)
    with sampling_bar("encode") as show:
        codes, nfe = run.each(encode, "encode", prior, checkpoint.sha256, found.x, show)
    others = None
    if other is not None and against is not None:
        with sampling_bar("against") as show:
            others, _ = run.each(encode, "against", against, other.sha256, found.x, show)
    with atomic_path(output) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file, allow_pickle=False, code=codes.numpy(), image=np.array(found.names),
            prior=np.array(checkpoint.sha256), sde=np.array(sde_json(checkpoint.contract)),
            nfe=np.array(nfe),
        )  # fmt: skip
    run.forget("encode", "against")
    console.print(f"{escape(str(output))}: {len(codes)} code(s), NFE {nfe}")
    if others is not None:
        typer.echo(json.dumps(asdict(compare(codes, others))))


def decode_(
    codes: Annotated[Path, typer.Argument(help="File of `medscore encode`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: PriorName = DEFAULT_PRIORS["CT"],
    temperature: Annotated[
        float, typer.Option(help="Times the codes: below 1 plainer images, above wilder ones.")
    ] = 1.0,
    between: Annotated[
        int, typer.Option(help="So many images on the way from each code to the next, ends too.")
    ] = 0,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    device: options.Device = "auto",
) -> None:
    """Images of latent codes by the probability flow.

    Writes sheet.png, images/, samples.npz and provenance.json, as `medscore generate` does. After
    Ctrl-C the same command goes on with the next image.

    Example: medscore decode codes.npz --prior ct-128-vp -o out

    Example: medscore decode codes.npz --prior ct-128-vp --between 8 --temperature 0.9 -o out
    """
    flow = Flow(tolerance, precision)
    flow.check()
    check_ranges(("--temperature", temperature, 0, 100), ("--between", between, 0, 10_000))
    check_absent(output)
    checkpoint = read_checkpoint(prior_path(prior))
    contract = checkpoint.contract
    code, sha256 = read_codes(codes, contract)
    if between:
        code = between_codes(code, between, codes)
    code = code * temperature
    begin = time.perf_counter()
    run = Run(flow, resolve_device(device), output)
    with atomic_folder(output) as folder, sampling_bar("decode") as show:
        x, nfe = run.each(decode, "decode", prior, checkpoint.sha256, code, show)
        origin = {
            "settings": {**asdict(flow), "temperature": temperature, "between": between},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "codes": {"file": codes.name, "prior": sha256},
            "nfe_per_sample": nfe,
            "seconds": round(time.perf_counter() - begin, 2),
        }
        write_gallery(folder, x, contract, origin, columns=between or None)
    run.forget("decode")
    console.print(f"{escape(str(output))}: {len(x)} image(s), NFE {nfe}")
