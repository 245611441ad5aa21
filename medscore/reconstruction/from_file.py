"""Reconstruct a measurement file into an output folder, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import medscore
from medscore.datasets.dicom.identity import read_identity
from medscore.datasets.load import load_image
from medscore.datasets.volume import Volume, align
from medscore.engine.loop import StepInfo
from medscore.engine.resume import resumable
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder, check_absent
from medscore.likelihood.typicality import read_typical, warning, z_scores
from medscore.measurements.measurement import Measurement, read_measurement
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.contract import DataContract
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.compatibility import check_compatible
from medscore.reconstruction.outputs import Outcome, write_outputs
from medscore.reconstruction.plans import sampling_plan, strength
from medscore.reconstruction.posterior import reconstruct
from medscore.registry.checks import resolve_device
from medscore.registry.noise import noise_deviation
from medscore.registry.presets import Settings


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
    keep_state: bool = True,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Outcome:
    """Everything ``medscore recon`` does, all or nothing.

    Args:
        keep_state: save the state of an interrupted run beside ``output``.
        on_step: called after every sampling step.

    Raises:
        MedscoreError: what is wrong with the input, the settings or the output folder.
    """
    settings.check()
    if batch_size < 1:
        raise MedscoreError(f"--batch-size is {batch_size}", hint="use 1 or more")
    check_absent(output)
    measurement = read_measurement(path)
    if settings.prior is None:
        settings = replace(settings, prior=DEFAULT_PRIORS[measurement.modality])
    assert settings.prior is not None
    prior_file = prior_path(settings.prior)
    checkpoint = read_checkpoint(prior_file)
    contract = checkpoint.contract
    typical = read_typical(prior_file, checkpoint.sha256)
    check_compatible(contract, measurement, prior_name=settings.prior, where=path)
    truth = None if reference is None else _reference(reference, measurement, contract)
    identity = None if keep_identity is None else _identity(keep_identity, measurement)
    chosen = resolve_device(device)
    network = load_prior(prior_file, device=chosen)
    noise = noise_deviation(settings.noise, measurement, path)
    fingerprint = _fingerprint(path, checkpoint.sha256, settings, batch_size)
    state = output.parent / f".{output.name}.resume.safetensors" if keep_state else None
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
        with resumable(state):
            result = reconstruct(measurement, network, contract, plan, on_step)
        z = None if typical is None else z_scores(typical, network, contract, result.samples[:, 0])
        outcome = Outcome(
            measurement=measurement,
            reconstruction=result,
            classical=classical(measurement),
            reference=None if truth is None else truth.values,
            window_asked=window,
            warning="" if z is None else warning(z) or "",
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
    return outcome


def _identity(path: Path, measurement: Measurement) -> dict[str, str]:
    if measurement.source.kind != "dicom":
        raise MedscoreError(
            "--keep-identity: the measurement was not made from DICOM", where=path,
            hint="leave it out",
        )  # fmt: skip
    return read_identity(path, measurement.source)


def _reference(path: Path, measurement: Measurement, contract: DataContract) -> Volume:
    volume = load_image(path, modality=measurement.modality, size=contract.size)
    return align(volume, measurement.affine, len(measurement.data), path)


def _fingerprint(path: Path, prior_hash: str, settings: Settings, batch_size: int) -> str:
    digest = hashlib.sha256(path.read_bytes())
    run = [medscore.__version__, prior_hash, settings.__dict__, batch_size]
    digest.update(json.dumps(run, sort_keys=True).encode())
    return digest.hexdigest()
