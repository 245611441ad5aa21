"""What a reconstruction leaves behind: images, DICOM, preview, metrics, provenance."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medscore.datasets.dicom_write import write_dicom_series
from medscore.datasets.nifti import write_nifti
from medscore.measurement import Measurement
from medscore.metrics import CT_CONVENTION, Convention, quality
from medscore.reconstruction import Reconstruction


@dataclass(frozen=True)
class Row:
    """One line of a results table."""

    method: str
    psnr: float
    ssim: float
    nfe: int
    seconds: float

    def record(self) -> dict[str, Any]:
        """For JSON, which has no infinity: the PSNR of an image without error is null."""
        return {**asdict(self), "psnr": self.psnr if math.isfinite(self.psnr) else None}


@dataclass(frozen=True)
class Outcome:
    """A finished reconstruction with what it is compared to; arrays (slices, H, W) in HU or as
    magnitudes.

    Attributes:
        classical: name and image of what the measurement gives without a prior.
    """

    measurement: Measurement
    reconstruction: Reconstruction
    classical: tuple[str, NDArray[np.float32]]
    reference: NDArray[np.float32] | None = None

    @property
    def convention(self) -> Convention:
        """How images are compared: HU in a fixed range, magnitudes in that of the reference."""
        if self.measurement.modality == "CT" or self.reference is None:
            return CT_CONVENTION
        return Convention(0.0, float(self.reference.max()), "(brightest of the reference)")

    @property
    def window(self) -> tuple[float, float]:
        """Values shown black and white."""
        if self.measurement.modality == "CT":
            return -1000.0, 1000.0
        return 0.0, max(float(np.quantile(self.reconstruction.mean, 0.998)), 1e-30)

    def rows(self) -> list[Row]:
        """Quality of the classical image, one sample and the mean; empty without a reference."""
        if self.reference is None:
            return []
        r = self.reconstruction
        name, without = self.classical
        images = {name: without, "one sample": r.samples[:, 0]}
        k = r.samples.shape[1]
        if k > 1:
            images[f"mean of {k}"] = r.mean
        rows = []
        for method, image in images.items():
            q = quality(image, self.reference, self.convention)
            own = method != name
            rows.append(Row(method, q.psnr, q.ssim, r.nfe if own else 0, r.seconds if own else 0.0))
        return rows


def write_outputs(folder: Path, outcome: Outcome, record: dict[str, Any], *, version: str) -> None:
    """Write every output of ``medscore recon`` into an existing folder."""
    m, r = outcome.measurement, outcome.reconstruction
    write_nifti(folder / "recon.nii.gz", r.mean, m.affine)
    if r.samples.shape[1] > 1:
        write_nifti(folder / "std.nii.gz", r.std, m.affine)
        (folder / "samples").mkdir()
        for k in range(r.samples.shape[1]):
            write_nifti(folder / "samples" / f"{k:03d}.nii.gz", r.samples[:, k], m.affine)
    if m.source.kind == "dicom":
        (folder / "dicom").mkdir()
        write_dicom_series(
            folder / "dicom",
            r.mean,
            m.affine,
            m.source,
            modality=m.modality,
            description=f"medscore {m.task} reconstruction",
            version=version,
        )
    preview(outcome).save(folder / "preview.png")
    rows = outcome.rows()
    if rows:
        metrics = {"convention": str(outcome.convention), "rows": [row.record() for row in rows]}
        _write_json(folder / "metrics.json", metrics)
    _write_json(folder / "provenance.json", _provenance(outcome, record, version))


def preview(outcome: Outcome) -> Image.Image:
    """Columns classical image, reconstruction, standard deviation, reference; up to four slices."""
    r, (low, high) = outcome.reconstruction, outcome.window
    name, image = outcome.classical
    unit = " HU" if outcome.measurement.modality == "CT" else ""
    tenth = (high - low) / 20
    chosen = np.linspace(0, len(r.mean) - 1, min(4, len(r.mean))).round().astype(int)
    columns: dict[str, NDArray[np.floating]] = {
        name: (image - low) / (high - low),
        "medscore": (r.mean - low) / (high - low),
    }
    if r.samples.shape[1] > 1:
        columns[f"std (white {tenth:.3g}{unit})"] = r.std / tenth
    if outcome.reference is not None:
        columns["reference"] = (outcome.reference - low) / (high - low)
    zoom = max(1, round(256 / r.mean.shape[-1]))
    grid = np.block([[column[i] for column in columns.values()] for i in chosen])
    pixels = (np.clip(grid, 0, 1) * 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    canvas = Image.new("L", (pixels.shape[1], pixels.shape[0] + 16))
    canvas.paste(Image.fromarray(pixels), (0, 16))
    draw = ImageDraw.Draw(canvas)
    width = r.mean.shape[-1] * zoom
    for index, title in enumerate(columns):
        draw.text((index * width + 4, 2), title, fill=255)
    return canvas


def _provenance(outcome: Outcome, record: dict[str, Any], version: str) -> dict[str, Any]:
    m, r = outcome.measurement, outcome.reconstruction
    return {
        "medscore": version,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
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
