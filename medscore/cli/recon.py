"""``medscore recon``: a measurement file in, a folder with the reconstruction out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, sampling_bar
from medscore.errors import MedscoreError
from medscore.reconstruction.baselines.methods import BASELINES
from medscore.registry.methods import ACROSS_SLICES, CONDITIONERS, GRIDS, SAMPLERS

if TYPE_CHECKING:
    from medscore.reconstruction.cohort import Outputs


def recon(
    measurements: Annotated[
        list[Path],
        typer.Argument(
            metavar="MEASUREMENT...",
            help="Measurement file (HDF5); or several, and folders of them: a cohort.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    preset: Annotated[
        str,
        typer.Option(
            help="fast, sharpest, posterior, thesis, another of configs/thesis, or a YAML file."
        ),
    ] = "fast",
    prior: Annotated[
        str | None,
        typer.Option(help="Name of a prior, or a path. Default: by modality."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help=f"Baseline to use instead of a prior: {', '.join(BASELINES)}."),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=f"Sampler: {', '.join(SAMPLERS)}.")] = None,
    conditioner: Annotated[
        str | None, typer.Option(help=f"Data-consistency rule: auto, {', '.join(CONDITIONERS)}.")
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
            help="Ground truth image; adds metrics.json. Of a cohort: a folder of images that are "
            "called as the measurements. It is read as the image was that was "
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
            "none, gaussian:STD, poisson:PHOTONS[,ELECTRONIC], or estimate:uniform+poisson:..."
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
    image: Annotated[
        str | None,
        typer.Option(
            help="Name of a further image file in the folder, beside recon.nii.gz: .nrrd, .mha, "
            ".npy, .npz, .nii or .nii.gz, as recon.nrrd."
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Share of the pixels that the intervals of interval.nii.gz hold. Default: 0.9, "
            "with --samples 2 or more."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Calibration table of the intervals, from `medscore calibrate`. Default: the one "
            "beside the prior."
        ),
    ] = None,
    roi: Annotated[
        Path | None,
        typer.Option(help="Mask or label image of regions, whose means are stated with intervals."),
    ] = None,
    roi_above: Annotated[
        float | None,
        typer.Option(help="State the volume of each region above this value too, as 150 HU."),
    ] = None,
    influence: Annotated[
        bool,
        typer.Option(
            "--influence",
            help="Write influence.nii.gz, a map of where the data and where the prior decide, "
            "unseen.nii.gz, the structure that the data do not determine, and evidence.png, a "
            "picture of both; takes up to as long again.",
        ),
    ] = False,
    phase: Annotated[
        bool,
        typer.Option(
            "--phase",
            help="Write the phase of the image in radians to phase.nii.gz: by priors of complex "
            "MR images, and by baselines.",
        ),
    ] = False,
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
    pairs: Annotated[
        bool | None,
        typer.Option(
            "--pairs/--no-pairs",
            help="Draw samples in pairs whose noise has opposite signs, which makes their mean "
            "more exact. Default: the preset's.",
        ),
    ] = None,
    across_slices: Annotated[
        str | None,
        typer.Option(
            help=f"Rule that couples the slices of a volume: auto, {', '.join(ACROSS_SLICES)}. "
            "Default: auto, 2.5d or tv for one sample of a CT volume by DiffPIR, otherwise none."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--processes", help="Number of processes of a cohort. Default: one per usable core."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of threads of each process.", show_default="1")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster to use instead of processes: its address, auto, or local."),
    ] = None,
    devices: Annotated[
        int,
        typer.Option(help="Processes that share the slices of one measurement, one for each GPU."),
    ] = 1,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch",
            help="Use the prior on the grid of the measurement, even if matrix, pixel spacing or "
            "modality are not its own. By default the image is fitted to the prior's grid.",
        ),
    ] = False,
    contrast: Annotated[
        str | None,
        typer.Option(
            help="MR contrast of the image, for priors that know contrasts, as T1; or estimate. "
            "Default: none."
        ),
    ] = None,
) -> None:
    """Reconstruct a measurement; no ground truth is needed.

    Writes recon.nii.gz (posterior mean, HU or magnitudes), std.nii.gz, interval.nii.gz and samples/
    (with --samples 2 or more), roi.json and roi.csv (with --roi), an image in another format (with
    --image), preview.png, provenance.json, a DICOM series when the source was DICOM, and
    metrics.json with --reference. Metal whose rays are left out keeps the HU of the scanner's own
    image, and metal.nii.gz is its mask. No output identifies the patient, except the DICOM series
    with --keep-identity. After Ctrl-C the same command resumes where it stopped.

    The preset fast is the default: that of posterior for two samples or more of CT if the prior has
    a learned covariance, else sharpest. posterior draws samples that vary as the posterior does,
    sharpest samples close to its mean; thesis is predictor-corrector sampling with the proximal
    step and 1000 noise scales. Options override the preset.

    Example: medscore recon meas.h5 -o out --preset thesis --reference scan.dcm

    Every parameter of a method can be set; `medscore methods diffpir` lists those of one.

    Example: medscore recon meas.h5 -o out --set conditioner.zeta=0.3 --set sampler.eta=1

    Example: medscore recon meas.h5 -o out --samples 8 --roi liver.nii.gz

    Example: medscore recon meas.h5 -o out --baseline fista-tv --set weight=1e-4

    Several measurements, or a folder of them, are a cohort: each has a folder in the output and a
    line in summary.csv, also if it fails. The same command resumes it.

    Example: medscore recon measurements/ -o results --processes 4
    """
    from medscore.cli.cohort import recon_cohort
    from medscore.reconstruction.cohort import Outputs
    from medscore.reconstruction.error_bars import ErrorBars
    from medscore.reconstruction.reference import ReferenceChoice

    settings: dict[str, Any] = {
        "prior": prior, "method": baseline, "samples": samples, "preset": preset,
        "sampler": sampler, "conditioner": conditioner, "steps": steps, "grid": grid,
        "noise": noise, "parameters": set_ or (), "precision": precision, "pairs": pairs,
        "across_slices": across_slices, "snr": snr, "lam": lam, "seed": seed, "device": device,
        "batch_size": batch_size, "allow_mismatch": allow_mismatch, "contrast": contrast,
        "influence": influence,
    }  # fmt: skip
    choice = ReferenceChoice(series, resample, channel, tuple(accept or ()))
    shown = None if window is None else options.window_of(window)
    bars = ErrorBars(interval, calibration, roi, roi_above)
    outputs = Outputs(choice, shown, hdf5, image, not without_metal, phase, bars)
    spread = {"workers": workers, "threads": threads, "ray": ray}
    if len(measurements) > 1 or measurements[0].is_dir():
        if devices != 1:
            what = f"`devices` is {devices}, which share one measurement, but this is a cohort"
            raise MedscoreError(what, hint="use `processes`, or leave it out")
        if keep_identity is not None:
            what = "`keep_identity` is the source of one measurement, but this is a cohort"
            raise MedscoreError(what, hint="leave it out")
        recon_cohort(measurements, output, settings, reference, outputs, spread)
        return
    for name, value in spread.items():
        if value is not None:
            raise MedscoreError(
                f"`{name}` is {value}, which applies to several measurements", hint="leave it out"
            )
    _one(measurements[0], output, settings, reference, outputs, keep_identity, devices)


def _one(
    measurement: Path, output: Path, settings: Mapping[str, Any], reference: Path | None,
    outputs: Outputs, keep_identity: Path | None, devices: int,
) -> None:  # fmt: skip
    """Reconstruct a measurement, and print a summary."""
    from medscore.engine.launch import is_follower
    from medscore.reconstruction.run import choose_method
    from medscore.reconstruction.saving import reconstruct_file

    console.quiet = is_follower(devices)  # the first process speaks for all
    method = choose_method(**settings)
    with sampling_bar(output.name) as show:
        outcome = reconstruct_file(
            measurement, output, method, reference=reference, choice=outputs.choice,
            window=outputs.window, hdf5=outputs.hdf5, keep_identity=keep_identity,
            image=outputs.image, metal=outputs.metal, phase=outputs.phase, errors=outputs.errors,
            devices=devices, on_step=show,
        )  # fmt: skip
    r = outcome.reconstruction
    for note in r.notes:
        console.print(f"note: {escape(note)}")
    for warning in r.warnings:
        console.print(f"warning: {escape(warning)}")
    console.print(
        f"{escape(str(output))}: {len(r.mean)} slice(s), {r.samples.shape[1]} sample(s), "
        f"NFE {r.nfe}, residual {r.residual.max():.1e}, {r.seconds:.0f} s"
    )
    if outcome.width is not None:
        console.print(escape(outcome.width.words))
    if r.evidence is not None:
        console.print(escape(r.evidence.words))
    for line in outcome.words_of_regions():
        console.print(escape(line))
    for row in outcome.rows():
        console.print(f"{row.method}: PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}")
