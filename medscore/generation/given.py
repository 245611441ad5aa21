"""Images that a command is given, as a prior has them."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medscore.datasets.collections.cohort import equally_spaced, read_cohort
from medscore.datasets.collections.pictures import load_pictures
from medscore.errors import MedscoreError, reading
from medscore.likelihood.typicality import network_range
from medscore.priors.contract import DataContract
from medscore.registry.checks import check_ranges

SAMPLES = "samples.npz"
"""What ``medscore generate`` writes into its folder; HU under ``hu``, others under ``image``."""


@dataclass(frozen=True)
class Given:
    """Images in a prior's range.

    Attributes:
        x: (n, channel, H, W). names: of each one's file and place in it. patients: whose it is, or
            nothing.
    """

    x: Tensor
    names: tuple[str, ...]
    patients: tuple[str, ...]

    @property
    def digests(self) -> list[str]:
        """Of the values of each."""
        return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in self.x]


def given(
    files: Sequence[Path],
    contract: DataContract,
    *,
    side: int | None = None,
    spacing_mm: float | None = None,
    limit: int | None = None,
) -> Given:
    """What the files hold, reduced to the prior's size.

    CT and MR images are DICOM files or folders, NIfTI files and archives; pictures are files that
    PIL reads, folders of them, and arrays. A folder that ``medscore generate`` wrote stands for its
    samples, as they were drawn.

    Args:
        side: another size than the prior's. spacing_mm: of pixels, where an archive of CT or MR
            images does not say. limit: at most so many, equally spaced.

    Raises:
        MedscoreError: the prior is of something else, or a file of other images than it.
    """
    if contract.quantity not in ("HU", "magnitude", "grey", "colour"):
        raise MedscoreError(
            f"prior {contract.name} is of {contract.quantity} images",
            hint="use one of HU, magnitudes or pictures",
        )
    size = side or contract.size
    parts = [_samples(file / SAMPLES, contract, size) for file in files if _is_drawn(file)]
    rest = [file for file in files if not _is_drawn(file)]
    if rest and contract.modality == "picture":
        parts.append(_pictures(rest, contract, size))
    elif rest:
        parts.append(_slices(rest, contract, size, spacing_mm))
    x = torch.cat([part.x for part in parts])
    names = [name for part in parts for name in part.names]
    patients = [patient for part in parts for patient in part.patients]
    chosen = equally_spaced(len(x), limit)
    return Given(x[chosen], tuple(names[i] for i in chosen), tuple(patients[i] for i in chosen))


def _is_drawn(folder: Path) -> bool:
    return (folder / SAMPLES).is_file()


def _pictures(files: Sequence[Path], contract: DataContract, side: int) -> Given:
    patterns = [f"{pattern_of(file)}/**/*" if file.is_dir() else pattern_of(file) for file in files]
    white = None if contract.high == 1 else contract.high
    colour = contract.quantity == "colour"
    found = load_pictures(patterns, root=Path("/"), size=side, colour=colour, white=white)
    return Given(found.images, found.names, ("",) * len(found.names))


def _slices(
    files: Sequence[Path], contract: DataContract, side: int, spacing_mm: float | None
) -> Given:
    if spacing_mm is not None:
        check_ranges(("--spacing-mm", spacing_mm, 1e-3, 100))
    cases = read_cohort(
        [pattern_of(file) for file in files], root=Path.cwd(), modality=contract.modality,
        size=side, spacing_mm=spacing_mm,
    )  # fmt: skip
    low, high = contract.spacing_mm
    for case in cases:
        pixel = case.volume.spacing[0] * side / contract.size
        if not low <= pixel <= high:
            raise MedscoreError(
                f"{case.name}: pixels of {pixel:.4g} mm at side {contract.size}, prior "
                f"{contract.name} has {low:g} to {high:g}",
                hint="choose a prior that fits (`medscore priors list`)",
            )
    return Given(
        torch.cat([network_range(case.volume.values, contract) for case in cases]),
        tuple(case.name for case in cases),
        tuple(case.patient for case in cases),
    )


def pattern_of(file: Path) -> str:
    """Of a file that is there, whatever its name; else what was typed is a pattern."""
    path = str(file.resolve())
    return glob.escape(path) if file.exists() else path


def _samples(file: Path, contract: DataContract, side: int) -> Given:
    """As they were drawn, beyond the range too."""
    key = "hu" if contract.quantity == "HU" else "image"
    size = contract.size
    shape = (size, size) if contract.channels == 1 else (size, size, contract.channels)
    hint = f"`{key}` (n, {', '.join(map(str, shape))}) is needed, as of prior {contract.name}"
    with reading("samples", file, hint), np.load(file, allow_pickle=False) as archive:
        values = np.asarray(archive[key], dtype=np.float32)
        if values.shape[1:] != shape or not np.isfinite(values).all():
            raise ValueError(f"images of shape {values.shape[1:]}, or NaN")
    x = (torch.from_numpy(values) - contract.low) / contract.scale
    x = x[:, None] if contract.channels == 1 else x.permute(0, 3, 1, 2)
    x = torch.nn.functional.avg_pool2d(x, size // side)
    names = tuple(f"{file.parent.name}#{i}" for i in range(len(x)))
    return Given(x.contiguous(), names, ("",) * len(x))
