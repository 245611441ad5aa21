"""Output folders of reconstructions, which are written completely or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from medscore.datasets.dicom.identity import read_identity
from medscore.engine.items import state_path
from medscore.engine.launch import grouped, is_follower, process_count
from medscore.engine.loop import StepInfo
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder, check_absent
from medscore.measurements.measurement import Measurement, read_measurement
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.error_bars import PLAIN, ErrorBars
from medscore.reconstruction.metal import with_metal
from medscore.reconstruction.method import Method, Run
from medscore.reconstruction.outcome import Outcome
from medscore.reconstruction.outputs import check_image, write_outputs
from medscore.reconstruction.reference import (
    RECORDED,
    Reference,
    ReferenceChoice,
    reference_values,
)
from medscore.reconstruction.result import Reconstruction
from medscore.registry.checks import check_counts

NO_PHASE = "`phase`: the method reconstructs magnitudes, which have no phase"
COMPLEX = "leave it out, or use a prior of complex images for a measurement of one"


def save(
    result: Reconstruction,
    folder: str | Path,
    *,
    reference: Reference | None = None,
    choice: ReferenceChoice = RECORDED,
    window: tuple[float, float] | None = None,
    hdf5: bool = False,
    keep_identity: str | Path | None = None,
    image: str | None = None,
    phase: bool = False,
    errors: ErrorBars = PLAIN,
) -> Outcome:
    """Write a reconstruction into a new folder, completely or not at all.

    The folder contains recon.nii.gz, preview.png and provenance.json; std.nii.gz, interval.nii.gz
    and samples/ for two or more samples; roi.json and roi.csv, if there are regions; metal.nii.gz,
    the mask of metal, if the patient has implants; a DICOM series if the source was DICOM; and
    metrics.json with a reference.

    Args:
        result: the reconstruction.
        folder: folder to create.
        reference: ground truth: a volume, an array (slices, H, W), or the path of an image, which
            is read, reduced to the size of the reconstruction and aligned with it.
        choice: what is read of the file, where it differs from what the measurement was made of.
        window: values that preview.png shows black and white; by default by modality.
        hdf5: whether to write all samples to samples.h5 as well.
        keep_identity: path of the source DICOM whose patient attributes are copied to the derived
            series; by default none are copied, and no output states the name of a file.
        image: name of a further file with the reconstruction, in the format of its ending:
            ``.nrrd``, ``.mha``, ``.npy``, ``.npz``, ``.nii`` or ``.nii.gz``.
        phase: whether to write the phase of the image in radians to phase.nii.gz.
        errors: the level of the intervals, the calibration table, and the regions.

    Raises:
        MedscoreError: the folder exists, the reference or a mask of regions does not match the
            measurement, the result has no phase, or error bars are asked for of one sample.
    """
    if not isinstance(result, Reconstruction):
        raise MedscoreError(
            f"`result` is {result!r:.80}", hint="use what medscore.reconstruct returns"
        )
    if not isinstance(folder, str | Path):
        raise MedscoreError(f"`folder` is {folder!r:.80}", hint="use the path of a new folder")
    check_window(window)
    image = check_image(image)
    if phase and result.phase is None:
        raise MedscoreError(NO_PHASE, hint=COMPLEX)
    target, m = Path(folder), result.measurement
    check_absent(target)
    truth = reference_values(reference, m, choice)
    digest = str(result.record.get("prior", {}).get("sha256", ""))
    bars = errors.plan(m, result.samples.shape[1], digest)
    patient = None if keep_identity is None else patient_of(keep_identity, m)
    with atomic_folder(target) as unfinished:
        outcome = Outcome(result, classical(m), truth, window, bars)
        write_outputs(
            unfinished, outcome, {}, hdf5=hdf5, identity=patient, image=image, phase=phase
        )
    return outcome


def reconstruct_file(
    path: str | Path,
    folder: str | Path,
    method: Method,
    *,
    reference: str | Path | None = None,
    choice: ReferenceChoice = RECORDED,
    window: tuple[float, float] | None = None,
    hdf5: bool = False,
    keep_identity: str | Path | None = None,
    image: str | None = None,
    phase: bool = False,
    metal: bool = True,
    errors: ErrorBars = PLAIN,
    keep_state: bool = True,
    devices: int = 1,
    on_step: Callable[[StepInfo], None] | None = None,
) -> Outcome:
    """Reconstruct a measurement file into a new folder, after a check of all input.

    With several processes the running script is started again in each of them, and all but the
    first end here, with :class:`SystemExit`.

    Args:
        path: the measurement file.
        folder: folder to create.
        method: the method, from :func:`~medscore.reconstruction.run.choose_method`.
        reference: path of the ground truth, as for :func:`save`.
        choice: as for :func:`save`.
        window: as for :func:`save`.
        hdf5: as for :func:`save`.
        keep_identity: as for :func:`save`.
        image: as for :func:`save`.
        phase: as for :func:`save`.
        metal: whether metal whose rays are left out is put back, as :func:`reconstruct` does.
        errors: as for :func:`save`.
        keep_state: whether an interrupted run keeps its state beside ``folder``.
        devices: number of processes that share the slices, on CUDA one for each GPU; ignored under
            torchrun.
        on_step: called after every sampling step.

    Raises:
        MedscoreError: invalid input or settings, or an output folder that exists.
        SystemExit: this process is not the first one of the run, whose work is done.
    """
    path, target = Path(path), Path(folder)
    state = state_path(target) if keep_state else None
    states = () if state is None else (state,)
    check_window(window)
    image = check_image(image)
    errors.check()
    if not is_follower(devices):
        check_absent(target, states)
    m = read_measurement(path)
    method.check(m, path)
    if phase and not method.gives_phase(m):
        raise MedscoreError(NO_PHASE, where=path, hint=COMPLEX)
    check_processes(devices, m, method, path)
    truth = reference_values(reference, m, choice)
    bars = errors.plan(m, method.samples, method.identity(m.modality))
    patient = None if keep_identity is None else patient_of(keep_identity, m)
    run = Run(path, state=state) if on_step is None else Run(path, on_step, state)
    record: Mapping[str, str] = {"measurement_sha256": m.file_sha256}
    if keep_identity is not None:
        names = {"measurement_file": path.name, "source_file": Path(keep_identity).name}
        record = {**record, **names}
    if is_follower(devices):
        with grouped(method.device_kind, devices) as group:
            method.reconstruct(m, replace(run, group=group))
        raise SystemExit(0)
    with atomic_folder(target, states) as unfinished:
        with grouped(method.device_kind, devices) as group:
            result = with_metal(method.reconstruct(m, replace(run, group=group)), metal=metal)
        outcome = Outcome(result, classical(m), truth, window, bars)
        write_outputs(
            unfinished, outcome, record, hdf5=hdf5, identity=patient, image=image, phase=phase
        )
    return outcome


def check_processes(devices: int, m: Measurement, method: Method, where: Path) -> None:
    """Reject a number of processes that cannot share a measurement.

    Args:
        devices: number of processes.
        m: the measurement.
        method: the method.
        where: the measurement file, for error messages.

    Raises:
        MedscoreError: no positive number, more than slices, or a method that runs in one process.
    """
    check_counts(("devices", devices, 1, 1_000_000))
    devices = process_count(devices)
    if devices == 1:
        return
    if not method.can_share:
        raise MedscoreError(
            f"`devices` is {devices}, but a baseline runs in one process", where=where,
            hint="leave it out",
        )  # fmt: skip
    if devices > m.slices:
        raise MedscoreError(
            f"`devices` is {devices}, but there are {m.slices} slices to share", where=where,
            hint=f"use at most {m.slices}",
        )  # fmt: skip


def check_window(window: tuple[float, float] | None) -> None:
    """Reject a window that is not a pair of increasing finite values.

    Args:
        window: values that the preview shows black and white.

    Raises:
        MedscoreError: an invalid window.
    """
    if window is None:
        return
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError):
        low = high = 0.0
    if not -1e9 < low < high < 1e9:
        raise MedscoreError(f"`window` is {window!r:.80}", hint="use (low, high) with low < high")


def patient_of(path: str | Path, m: Measurement) -> dict[str, str]:
    """The patient attributes of the DICOM source of a measurement.

    Args:
        path: the source, a DICOM file or folder.
        m: the measurement.

    Raises:
        MedscoreError: the measurement was not made from DICOM, or not from this source.
    """
    if m.source.kind != "dicom":
        raise MedscoreError(
            "`keep_identity`: the measurement was not made from DICOM", where=path,
            hint="leave it out",
        )  # fmt: skip
    found: dict[str, str] = read_identity(Path(path), m.source)
    return found
