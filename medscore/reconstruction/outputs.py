"""Outputs of a reconstruction: images, DICOM, preview, metrics and provenance."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import medscore
from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.formats.write import check_output_name, write_image
from medscore.datasets.nifti import write_nifti
from medscore.errors import MedscoreError
from medscore.io.json_files import write_json
from medscore.reconstruction.error_bars import INTERVAL, coverage, write_error_bars
from medscore.reconstruction.evidence import Evidence
from medscore.reconstruction.metal import in_place
from medscore.reconstruction.outcome import Outcome
from medscore.reconstruction.preview import Panel, panels, picture
from medscore.reconstruction.samples_file import write_samples

DEFAULT = "recon.nii.gz"
"""Name of the file with the reconstruction that is always written."""

INFLUENCE, UNSEEN = "influence.nii.gz", "unseen.nii.gz"
"""Name of the file with the influence of the data."""

PHASE = "phase.nii.gz"
"""Name of the file with the phase in radians."""

OTHERS = ("std.nii.gz", INTERVAL, INFLUENCE, UNSEEN, PHASE, "metal.nii.gz", "field.nii.gz")
"""Names of other images."""

LONGEST_NAME = 200
"""Characters of the longest name of an output file."""


def write_outputs(
    folder: Path,
    outcome: Outcome,
    record: Mapping[str, Any],
    *,
    hdf5: bool = False,
    identity: Mapping[str, str] | None = None,
    image: str | None = None,
    phase: bool = False,
) -> None:
    """Write every output of a reconstruction into an existing folder.

    Args:
        folder: folder to write into.
        outcome: the finished reconstruction.
        record: further entries of provenance.json.
        hdf5: whether to write all samples to samples.h5 as well.
        identity: DICOM attributes of the patient, for the derived DICOM series only.
        image: name of a further file with the reconstruction, in the format of its ending.
        phase: whether to write the phase of the image, which the reconstruction has.
    """
    version = medscore.__version__
    m, r = outcome.measurement, outcome.reconstruction
    axes = m.source.axes
    write_nifti(folder / DEFAULT, r.mean, m.affine, axes)
    if image not in (None, DEFAULT):
        write_image(folder / str(image), r.mean, m.affine, m.modality, axes)
    if phase and r.phase is not None:
        write_nifti(folder / PHASE, r.phase, m.affine, axes)
    if m.metal_mask is not None:
        write_nifti(folder / "metal.nii.gz", m.metal_mask.astype(np.float32), m.affine, axes)
    errors = write_error_bars(folder, r, outcome.width, outcome.regions, outcome.errors.roi_above)
    if r.samples.shape[1] > 1:
        write_nifti(folder / "std.nii.gz", r.std, m.affine, axes)
        (folder / "samples").mkdir()
        for k in range(r.samples.shape[1]):
            write_nifti(folder / "samples" / f"{k:03d}.nii.gz", r.samples[:, k], m.affine, axes)
    if r.influence is not None and r.evidence is not None:
        write_nifti(folder / INFLUENCE, r.influence, m.affine, axes)
        unseen = np.stack([r.evidence.agreed, r.evidence.disputed], -1)
        write_nifti(folder / UNSEEN, unseen, m.affine, axes)
        evidence_picture(outcome, r.evidence, r.influence).save(folder / "evidence.png")
        errors = {**errors, "evidence": r.evidence.record()}
    if r.field is not None:
        field = np.broadcast_to(r.field, r.mean.shape).astype(np.float32)
        write_nifti(folder / "field.nii.gz", field, m.affine, axes)
    if m.source.kind == "dicom":
        (folder / "dicom").mkdir()
        write_dicom_series(
            folder / "dicom",
            r.mean,
            m.affine,
            m.source,
            modality=m.modality,
            identity=identity,
            description=f"medscore {m.task} reconstruction",
            version=version,
        )
    if hdf5:
        seed = int(r.record.get("settings", {}).get("seed", 0))
        write_samples(folder / "samples.h5", r, m, seed=seed, version=version)
    preview(outcome).save(folder / "preview.png")
    rows = outcome.rows()
    if rows:
        metrics: dict[str, Any] = {
            "convention": str(outcome.convention),
            "rows": [row.record() for row in rows],
            "cards": [{"method": m} | of.record() for m, of in outcome.cards().items()],
        }
        if outcome.width is not None and outcome.reference is not None:
            metrics["interval"] = coverage(r, outcome.width, outcome.reference)
        write_json(folder / "metrics.json", metrics)
    write_json(folder / "provenance.json", _provenance(outcome, {**record, **errors}))


def check_image(image: str | Path | None) -> str | None:
    """The name of a further file with the reconstruction.

    Args:
        image: a file name without a folder.

    Raises:
        MedscoreError: it is no name, of no format that is written, or that of another output.
    """
    if image is None:
        return None
    name = str(image)
    if not isinstance(image, str | Path) or Path(name).name != name or "\0" in name:
        raise MedscoreError(
            f"`image` is {name!r:.80}",
            hint="use a file name, such as recon.nrrd; it is written into the output folder",
        )
    check_output_name(name)
    if name.startswith(".") or len(name) > LONGEST_NAME or name in OTHERS:
        raise MedscoreError(f"`image` is {name!r:.80}", hint="use another name, as recon.nrrd")
    return name


def preview(outcome: Outcome) -> Image.Image:
    """A preview of up to four slices: classical, reconstruction, standard deviation, reference.

    Args:
        outcome: the finished reconstruction.
    """
    r, m = outcome.reconstruction, outcome.measurement
    name, image = outcome.classical
    columns: dict[str, NDArray[np.floating]] = {name: in_place(image, r), "medscore": r.mean}
    if outcome.reference is not None:
        columns["reference"] = outcome.reference
    return picture(
        columns,
        outcome.window,
        m.spacing[0],
        spread=r.std if r.samples.shape[1] > 1 else None,
        unit="HU" if m.modality == "CT" else "",
    )


def evidence_picture(
    outcome: Outcome, evidence: Evidence, influence: NDArray[np.float32]
) -> Image.Image:
    """Up to four slices with what the prior has added: on what samples agree, and on what not.

    Args:
        outcome: the finished reconstruction.
        evidence: what the data and what the prior decide.
        influence: influence of the data on each pixel (slices, H, W).
    """
    m = outcome.measurement
    low, high = outcome.window
    unit, tenth = "HU" if m.modality == "CT" else "", (high - low) / 20
    signed = -tenth if evidence.agreed.min() < 0 else 0.0
    return panels(
        [
            Panel(
                f"medscore  {low:.4g}..{high:.4g} {unit}", outcome.reconstruction.mean, low, high
            ),
            Panel(
                f"not in the data  {signed:.3g}..{tenth:.3g} {unit}", evidence.agreed, signed, tenth
            ),
            Panel(f"disputed  0..{tenth:.3g} {unit}", evidence.disputed, 0.0, tenth),
            Panel("influence of the data  0..1", influence, 0.0, 1.0),
        ],
        m.spacing[0],
    )


def _provenance(outcome: Outcome, record: Mapping[str, Any]) -> dict[str, Any]:
    m, r = outcome.measurement, outcome.reconstruction
    return {
        "medscore": medscore.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        **r.record,
        **record,
        "source_sha256": m.source.sha256,
        "task": m.task,
        "noise": m.noise,
        "nfe_per_sample": r.nfe,
        "operator_calls": r.operator_calls,
        "seconds": round(r.seconds, 2),
        "relative_residual": {"max": float(r.residual.max()), "per_sample": r.residual.tolist()},
        "residual_history": [asdict(entry) for entry in r.history],
    }
