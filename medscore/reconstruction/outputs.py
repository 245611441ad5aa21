"""Outputs of a reconstruction: images, DICOM, preview, metrics and provenance."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import medscore
from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.fit import fill_of
from medscore.datasets.formats.write import check_output_name, write_image
from medscore.datasets.nifti import write_nifti
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.metrics.card import Card, card
from medscore.metrics.image_quality import CT_CONVENTION, Convention, Quality, average, qualities
from medscore.reconstruction.metal import in_place
from medscore.reconstruction.preview import picture
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.samples_file import write_samples

DEFAULT = "recon.nii.gz"
"""Name of the file with the reconstruction that is always written."""

PHASE = "phase.nii.gz"
"""Name of the file with the phase in radians."""

LONGEST_NAME = 200
"""Characters of the longest name of an output file."""

TARGET = "the image given as reference, on the measurement's grid"

BOUND = "reference on the prior's grid"
"""Row of a results table: the most that the resampling to the prior's grid and back leaves."""


@dataclass(frozen=True)
class Row:
    """One row of a results table.

    Attributes:
        method: name of the method.
        psnr: mean PSNR over slices in dB.
        ssim: mean SSIM over slices.
        nfe: network evaluations per sample.
        seconds: wall time.
    """

    method: str
    psnr: float
    ssim: float
    nfe: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """The row for JSON; an infinite PSNR becomes null, because JSON has no infinity."""
        return {**asdict(self), "psnr": self.psnr if math.isfinite(self.psnr) else None}


@dataclass(frozen=True)
class Outcome:
    """A finished reconstruction with a classical reconstruction and the ground truth.

    Attributes:
        reconstruction: the samples, with their measurement.
        classical: name and image (slices, H, W) of the reconstruction without a prior.
        reference: ground truth (slices, H, W) in HU or as magnitudes; None if it is not known.
        window_asked: values that the preview shows black and white; by default by modality.
    """

    reconstruction: Reconstruction
    classical: tuple[str, NDArray[np.float32]]
    reference: NDArray[np.float32] | None = None
    window_asked: tuple[float, float] | None = None

    @property
    def measurement(self) -> Measurement:
        """The data that were reconstructed."""
        return self.reconstruction.measurement

    @property
    def convention(self) -> Convention:
        """The convention of the metrics: HU in a fixed range, magnitudes in the reference's.

        Metal is left out, because the reference may be an image without it.
        """
        if self.measurement.metal is not None:
            return replace(CT_CONVENTION, without_metal=True)
        if self.measurement.modality == "CT" or self.reference is None:
            return CT_CONVENTION
        return Convention(0.0, float(self.reference.max()), "(brightest of the reference)")

    @property
    def window(self) -> tuple[float, float]:
        """The values that the preview shows black and white."""
        if self.window_asked is not None:
            return self.window_asked
        if self.measurement.modality == "CT":
            return -1000.0, 1000.0
        return 0.0, max(float(np.quantile(self.reconstruction.mean, 0.998)), 1e-30)

    @cached_property
    def compared(self) -> dict[str, list[Quality]]:
        """The quality of every slice, by method: the classical image, one sample, and the mean.

        It is empty without a reference.
        """
        if self.reference is None:
            return {}
        r = self.reconstruction
        name, without = self.classical
        images = {name: without}
        k = r.samples.shape[1]
        if r.nfe:
            images["one sample"] = r.samples[:, 0]
        else:
            images[str(r.record.get("method", "reconstruction"))] = r.mean
        if k > 1:
            images[f"mean of {k}"] = r.mean
        if r.fit is not None:
            fill = fill_of(self.measurement.modality)
            images[BOUND] = r.fit.undo(r.fit.apply(self.reference, fill), fill)
        return {
            method: qualities(image, self.reference, self.convention, self.measurement.metal_mask)
            for method, image in images.items()
        }

    def rows(self) -> list[Row]:
        """The rows of the results table; empty without a reference."""
        r, rows = self.reconstruction, []
        for method, values in self.compared.items():
            q, own = average(values), method not in (self.classical[0], BOUND)
            rows.append(Row(method, q.psnr, q.ssim, r.nfe if own else 0, r.seconds if own else 0.0))
        return rows

    def cards(self) -> dict[str, Card]:
        """The metric card of each row, by method."""
        return {
            method: card(values, self.convention, target=TARGET)
            for method, values in self.compared.items()
        }


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
    if r.samples.shape[1] > 1:
        write_nifti(folder / "std.nii.gz", r.std, m.affine, axes)
        (folder / "samples").mkdir()
        for k in range(r.samples.shape[1]):
            write_nifti(folder / "samples" / f"{k:03d}.nii.gz", r.samples[:, k], m.affine, axes)
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
        metrics = {
            "convention": str(outcome.convention),
            "rows": [row.record() for row in rows],
            "cards": [{"method": m} | of.record() for m, of in outcome.cards().items()],
        }
        _write_json(folder / "metrics.json", metrics)
    _write_json(folder / "provenance.json", _provenance(outcome, record))


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
    if name.startswith(".") or len(name) > LONGEST_NAME or name in ("std.nii.gz", PHASE):
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
