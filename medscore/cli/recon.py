"""``medscore recon``: a measurement file in, a folder with the reconstruction out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import medscore
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.reconstruction.baselines.classical import classical
from medscore.cli import options, progress
from medscore.registry import names as registry
from medscore.reconstruction.plans import sampling_plan, strength
from medscore.registry.presets import DEFAULTS, Settings, choose
from medscore.cli.progress import console, sampling_bar
from medscore.cli.simulate import prepare
from medscore.priors.contract import DataContract
from medscore.datasets.dicom.identity import read_identity
from medscore.datasets.volume import Volume, align
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder, check_absent
from medscore.likelihood.typicality import read_typical, warning, z_scores
from medscore.measurements.measurement import Measurement, read_measurement
from medscore.reconstruction.outputs import Outcome, write_outputs
from medscore.reconstruction.posterior import check_compatible, reconstruct


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
    )
    r = outcome.reconstruction
    console.print(
        f"{escape(str(output))}: {len(r.mean)} slice(s), {r.samples.shape[1]} sample(s), "
        f"NFE {r.nfe}, residual {r.residual.max():.1e}, {r.seconds:.0f} s"
    )
    for row in outcome.rows():
        console.print(f"{row.method}: PSNR {row.psnr:.2f} dB, SSIM {row.ssim:.4f}")


def reconstruct_file(
    path: Path,
    output: Path,
    settings: Settings,
    *,
    device: str = "auto",
    batch_size: int = 8,
    reference: Path | None = None,
    window: tuple[float, float] | None = None,
    hdf5: bool = False,
    keep_identity: Path | None = None,
    resumable: bool = True,
) -> Outcome:
    """Everything ``medscore recon`` does, all or nothing.

    Args:
        resumable: keep the state of an interrupted run beside ``output``.

    Raises:
        MedscoreError: what is wrong with the input, the settings or the output folder.
    """
    settings.check()
    if batch_size < 1:
        raise MedscoreError(f"--batch-size is {batch_size}", mend="use 1 or more")
    check_absent(output)
    measurement = read_measurement(path)
    if settings.prior is None:
        settings = replace(settings, prior=registry.DEFAULT_PRIORS[measurement.modality])
    assert settings.prior is not None
    prior_file = registry.prior_path(settings.prior)
    checkpoint = read_checkpoint(prior_file)
    contract = checkpoint.contract
    typical = read_typical(prior_file, checkpoint.sha256)
    check_compatible(contract, measurement, prior_name=settings.prior, where=path)
    truth = None if reference is None else _reference(reference, measurement, contract)
    identity = None if keep_identity is None else _identity(keep_identity, measurement)
    chosen = registry.device(device)
    network = load_prior(prior_file, device=chosen)
    noise = registry.noise_deviation(settings.noise, measurement, path)
    fingerprint = _fingerprint(path, checkpoint.sha256, settings, batch_size)
    state = output.parent / f".{output.name}.resume.safetensors" if resumable else None
    plan = sampling_plan(
        settings,
        network,
        noise,
        device=chosen,
        batch_size=batch_size,
        state=state,
        fingerprint=fingerprint,
    )
    with atomic_folder(output) as folder:
        with progress.resumable(state), sampling_bar(output.name) as show:
            result = reconstruct(measurement, network, contract, plan, show)
        z = None if typical is None else z_scores(typical, network, contract, result.samples[:, 0])
        outcome = Outcome(
            measurement=measurement,
            reconstruction=result,
            classical=classical(measurement),
            reference=None if truth is None else truth.values,
            window_asked=window,
        )
        record = {
            "settings": {**settings.__dict__, "lam": strength(settings, noise), "device": chosen},
            "measurement_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "operator": repr(measurement.operator),
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "final_exact_step": noise is None,
            "z": None if z is None else [round(value, 2) for value in z.tolist()],
        }
        write_outputs(
            folder, outcome, record, version=medscore.__version__, hdf5=hdf5, identity=identity
        )
    if z is not None and (said := warning(z)):
        console.print(f"warning: {said}")
    return outcome


def _window(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -1e9 < low < high < 1e9:
        raise MedscoreError(f"--window {text!r}", mend="use LOW,HIGH, as -160,240")
    return low, high


def _identity(path: Path, measurement: Measurement) -> dict[str, str]:
    if measurement.source.kind != "dicom":
        raise MedscoreError(
            "--keep-identity: the measurement was not made from DICOM", where=path,
            mend="leave it out",
        )  # fmt: skip
    return read_identity(path, measurement.source)


def _reference(path: Path, measurement: Measurement, contract: DataContract) -> Volume:
    volume = prepare(path, modality=measurement.modality, size=contract.size)
    return align(volume, measurement.affine, len(measurement.data), path)


def _fingerprint(path: Path, prior_hash: str, settings: Settings, batch_size: int) -> str:
    digest = hashlib.sha256(path.read_bytes())
    run = [medscore.__version__, prior_hash, settings.__dict__, batch_size]
    digest.update(json.dumps(run, sort_keys=True).encode())
    return digest.hexdigest()
