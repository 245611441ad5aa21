"""``medscore recon``: a measurement file in, a folder with the reconstruction out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.errors import MedscoreError
from medscore.reconstruction.from_file import reconstruct_file
from medscore.registry import names as registry
from medscore.registry.presets import DEFAULTS, choose


def recon(
    measurement: Annotated[Path, typer.Argument(help="Measurement file (HDF5).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    preset: Annotated[
        str, typer.Option(help="fast, thesis, another of configs/thesis, or a YAML file.")
    ] = "fast",
    prior: Annotated[
        str | None, typer.Option(help="Name of a shipped prior, or a path; by the modality.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help=f"One of: {', '.join(registry.SAMPLERS)}.")
    ] = None,
    conditioner: Annotated[
        str | None, typer.Option(help=f"One of: {', '.join(registry.CONDITIONERS)}.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the time grid.")] = None,
    grid: Annotated[
        str | None, typer.Option(help=f"Their spacing, one of: {', '.join(registry.GRIDS)}.")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Posterior samples; their mean is the reconstruction.")
    ] = DEFAULTS.samples,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = DEFAULTS.seed,
    snr: Annotated[float | None, typer.Option(help="A corrector's signal-to-noise ratio.")] = None,
    lam: Annotated[
        float | None,
        typer.Option(help="Strength of proximal; 1 for noise-free data, else 0.5."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Ground truth image: adds metrics.json.")
    ] = None,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Samples walked together.")] = 8,
    noise: Annotated[
        str,
        typer.Option(
            help="Of the data: recorded, estimate, estimate:uniform (metal), none, gaussian:STD or "
            "poisson:PHOTONS."
        ),
    ] = DEFAULTS.noise,
    window: Annotated[
        str | None, typer.Option(help="LOW,HIGH of preview.png; by the modality.")
    ] = None,
    hdf5: Annotated[bool, typer.Option("--hdf5", help="All samples in samples.h5 too.")] = False,
    keep_identity: Annotated[
        Path | None,
        typer.Option(help="Source DICOM, whose patient tags the derived series shall carry."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, or bf16 autocast where the hardware has it.")
    ] = DEFAULTS.precision,
) -> None:
    """Reconstruct a measurement; no ground truth is needed.

    Writes recon.nii.gz (posterior mean, HU or magnitudes), std.nii.gz and samples/ (with --samples
    2 or more), preview.png, provenance.json, a DICOM series when the source was DICOM, and
    metrics.json with --reference. None says whose images they are, but the DICOM series with
    --keep-identity. After Ctrl-C the same command goes on where it stopped.

    Example: medscore recon meas.h5 -o out --samples 8

    --preset fast is the default; thesis is predictor-corrector sampling with the proximal step and
    1000 noise scales. Options given beside a preset replace its own.

    Example: medscore recon meas.h5 -o out --preset thesis --reference scan.dcm
    """
    chosen = choose(
        preset, prior=prior, sampler=sampler, conditioner=conditioner, steps=steps, grid=grid,
        samples=samples, seed=seed, snr=snr, lam=lam, noise=noise,
        precision=precision,
    )  # fmt: skip
    with sampling_bar(output.name) as show:
        outcome = reconstruct_file(
            measurement,
            output,
            chosen,
            device=device,
            batch_size=batch_size,
            reference=reference,
            window=None if window is None else _window(window),
            hdf5=hdf5,
            keep_identity=keep_identity,
            on_step=show,
        )
    if outcome.warning:
        console.print(f"warning: {outcome.warning}")
    r = outcome.reconstruction
    console.print(
        f"{escape(str(output))}: {len(r.mean)} slice(s), {r.samples.shape[1]} sample(s), "
        f"NFE {r.nfe}, residual {r.residual.max():.1e}, {r.seconds:.0f} s"
    )
    for row in outcome.rows():
        console.print(f"{row.method}: PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}")


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -1e9 < low < high < 1e9:
        raise MedscoreError(f"--window {text!r}", hint="use LOW,HIGH, as -160,240")
    return low, high
