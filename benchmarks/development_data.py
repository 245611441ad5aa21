"""Images that benchmarks measure on: the development data, else CT slices that pydicom ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import torch
from torch import Tensor
from torch.nn import functional

from medscore.datasets.load import load_image
from medscore.datasets.volume import Volume
from medscore.metrics.image_quality import CT_CONVENTION

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Default folder of the development data; every script takes another with ``--data``."""

MRI = "mri/tcga-lgg-slices-validation.npz"
"""The MRI validation slices, a NumPy archive in that folder."""

SIZE = 128
"""Pixels per side of the slices that the shipped priors take."""

BUNDLED = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm")
"""The two head CT slices of 512 x 512 among pydicom's test files."""


def bundled_ct() -> list[Path]:
    """The paths of the two head CT slices that ship with pydicom."""
    return [Path(pydicom.__file__).parent / "data" / "test_files" / name for name in BUNDLED]


def ct_images(data: Path) -> tuple[str, list[Path], bool]:
    """The CT slices to measure on.

    Args:
        data: folder of the development data.

    Returns:
        A description; the DICOM files; whether they are the COVID-19-NY-SBU validation patients
        (TCIA, CC BY 4.0; 10 slices of 512 x 512), for which quality targets apply, and not
        pydicom's head slices.
    """
    found = sorted(data.glob("ct/covid-19-ny-sbu/*/*.dcm"))
    if found:
        patients = len({path.parent for path in found})
        return f"COVID-19-NY-SBU, {len(found)} slices of {patients} patients", found, True
    return "2 head CT slices shipped with pydicom", bundled_ct(), False


def ct_volumes(paths: Sequence[Path], size: int | None = None) -> list[Volume]:
    """CT slices in HU, each a volume of one slice.

    Args:
        paths: DICOM files.
        size: pixels per side after reduction by area mean; by default those of the files.
    """
    return [load_image(path, modality="CT", size=size, accept="derived") for path in paths]


def held_out_ct(data: Path) -> Tensor:
    """The CT validation slices (n, 1, 128, 128) in the prior's range.

    Args:
        data: folder of the development data.
    """
    _, paths, _ = ct_images(data)
    hu = np.concatenate([v.values for v in ct_volumes(paths, SIZE)])
    return torch.from_numpy(CT_CONVENTION.unit_range(hu)).float()[:, None]


def held_out_mri(data: Path) -> Tensor:
    """The middle slice of each contrast of each MRI validation patient.

    Args:
        data: folder of the development data.

    Returns:
        Magnitudes (n, 1, 128, 128) in the file's own units.
    """
    with np.load(data / MRI, allow_pickle=False) as archive:
        stack = archive["image"]
        who = list(zip(archive["patient"], archive["contrast"], strict=True))
    chosen = []
    for pair in sorted(set(who)):
        rows = [i for i, other in enumerate(who) if other == pair]
        chosen.append(rows[len(rows) // 2])
    return functional.avg_pool2d(torch.from_numpy(stack[chosen]).float()[:, None], 2)
