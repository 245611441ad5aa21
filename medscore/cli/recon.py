"""``medscore recon``: a measurement file in, a folder with the reconstruction out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.errors import MedscoreError
from medscore.reconstruction.baselines.methods import BASELINES
from medscore.registry.methods import CONDITIONERS, GRIDS, SAMPLERS


def recon(
    measurement: Annotated[Path, typer.Argument(help="Measurement file (HDF5).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    preset: Annotated[
        str,
        typer.Option(help="fast, thesis, another preset of configs/thesis, or a YAML file."),
    ] = "fast",
    prior: Annotated[
        str | None,
        typer.Option(help="Name of a shipped prior, or a path. Default: by modality."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help=f"Baseline to use instead of a prior: {', '.join(BASELINES)}."),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=f"Sampler: {', '.join(SAMPLERS)}.")] = None,
    conditioner: Annotated[
        str | None, typer.Option(help=f"Data-consistency rule: {', '.join(CONDITIONERS)}.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps of the time grid.")] = None,
    grid: Annotated[str | None, typer.Option(help=f"Time grid: {', '.join(GRIDS)}.")] = None,
    set_: options.Set = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Number of posterior samples; their mean is the reconstruction."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    snr: Annotated[
        float | None, typer.Option(help="Short for --set sampler.snr, of Langevin correctors.")
    ] = None,
    lam: Annotated[
        float | None, typer.Option(help="Short for --set conditioner.lam, of proximal.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth image; adds metrics.json. It is read as the image was that was "
            "measured, unless --series, --resample, --channel or --accept say otherwise."
        ),
    ] = None,
    series: options.Series = None,
    resample: Annotated[
        bool | None,
        typer.Option(help="Interpolate uneven or tilted slices of the reference."),
    ] = None,
    channel: options.Channel = None,
    accept: options.Accept = None,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option(help="Samples that are processed together.")] = 8,
    noise: Annotated[
        str | None,
        typer.Option(
            help="Noise of the data: recorded (the default), estimate, estimate:uniform (metal), "
            "none, gaussian:STD or poisson:PHOTONS."
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH shown black and white in preview.png. Default: by modality."),
    ] = None,
    hdf5: Annotated[
        bool, typer.Option("--hdf5", help="Write all samples to samples.h5 too.")
    ] = False,
    keep_identity: Annotated[
        Path | None,
        typer.Option(help="Source DICOM, whose patient tags are copied to the derived series."),
    ] = None,
    without_metal: Annotated[
        bool,
        typer.Option(
            "--without-metal", help="Leave metal out of the result of metal artifact removal."
        ),
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="Precision of the network: auto (the default), float32 or bf16."),
    ] = None,
) -> None:
    """Reconstruct a measurement; no ground truth is needed.

    Writes recon.nii.gz (posterior mean, HU or magnitudes), std.nii.gz and samples/ (with --samples
    2 or more), preview.png, provenance.json, a DICOM series when the source was DICOM, and
    metrics.json with --reference. Metal whose rays are left out keeps the HU of the scanner's
    own image, and metal.nii.gz is its mask. No output identifies the patient, except the DICOM
    series with --keep-identity. After Ctrl-C the same command resumes where it stopped.

    Example: medscore recon meas.h5 -o out --samples 8

    The preset fast is the default; thesis is predictor-corrector sampling with the proximal step
    and 1000 noise scales. Options override the preset.

    Example: medscore recon meas.h5 -o out --preset thesis --reference scan.dcm

    Every parameter of a method can be set; `medscore methods diffpir` lists those of one.

    Example: medscore recon meas.h5 -o out --set conditioner.zeta=0.3 --set sampler.eta=1

    Baselines are methods like any other.

    Example: medscore recon meas.h5 -o out --baseline fista-tv --set weight=1e-4
    """
    from medscore.reconstruction.reference import ReferenceChoice
    from medscore.reconstruction.run import choose_method
    from medscore.reconstruction.saving import reconstruct_file

    method = choose_method(
        prior, method=baseline, samples=samples, preset=preset, sampler=sampler,
        conditioner=conditioner, steps=steps, grid=grid, noise=noise, parameters=set_ or (),
        precision=precision, snr=snr, lam=lam, seed=seed, batch_size=batch_size, device=device,
    )  # fmt: skip
    with sampling_bar(output.name) as show:
        outcome = reconstruct_file(
            measurement,
            output,
            method,
            reference=reference,
            choice=ReferenceChoice(series, resample, channel, tuple(accept or ())),
            window=None if window is None else _window(window),
            hdf5=hdf5,
            keep_identity=keep_identity,
            metal=not without_metal,
            on_step=show,
        )
    r = outcome.reconstruction
    for warning in r.warnings:
        console.print(f"warning: {warning}")
    for note in r.notes:
        console.print(f"note: {note}")
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
    if not low < high:
        raise MedscoreError(f"`window` {text!r}", hint="use LOW,HIGH, as -160,240")
    return low, high
