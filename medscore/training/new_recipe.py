"""A recipe for a folder of images: measured, commented, and complete."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from medscore.datasets.collections.slice_cache import Slices
from medscore.errors import MedscoreError
from medscore.io.files import atomic_write, check_new
from medscore.io.specs import validated
from medscore.io.yaml_files import parse_yaml
from medscore.registry.checks import check_ranges
from medscore.sdes.noise_levels import largest_distance
from medscore.training.data import load_recipe_slices, reduced
from medscore.training.inspection import Contents, inspect_folder
from medscore.training.recipe import PriorRecipe
from medscore.training.split import Split, divided, known_patients, split_for

SIDE, STEP = 128, 16
"""Side of the images that is chosen where the matrices allow it, and what it is a multiple of."""

REDUCED = 1.5
"""Images larger than the prior's by this factor are loaded at twice its size, and reduced."""

HU = (-1000.0, 1500.0)
"""Range of CT values that becomes 0 to 1: air to dense bone, as of the shipped priors."""

DISTANT = 4096
"""Largest number of images among which the largest distance is measured, equally spaced."""


@dataclass(frozen=True)
class NewRecipe:
    """A recipe that was written.

    Attributes:
        path: its file.
        recipe: the recipe.
        contents: what the folder holds.
        patients: numbers of patients for training and for validation.
        slices: numbers of slices for training and for validation.
    """

    path: Path
    recipe: PriorRecipe
    contents: Contents
    patients: tuple[int, int]
    slices: tuple[int, int]

    @property
    def remark(self) -> str:
        """What was found and decided, in one line."""
        skipped = sum(self.contents.unusable.values())
        left = f"; {skipped} scans that cannot be used are skipped" if skipped else ""
        return (
            f"{self.contents.modality}, {self.slices[0]} slices of {self.patients[0]} patients to "
            f"train on and {self.slices[1]} of {self.patients[1]} for validation, "
            f"{self.recipe.size} x {self.recipe.size} pixels{left}"
        )


def init_recipe(
    folder: str | Path,
    output: str | Path,
    *,
    size: int | None = None,
    modality: str | None = None,
    patterns: Sequence[str] = (),
    seed: int = 0,
) -> NewRecipe:
    """Write a recipe that trains a prior on the images of a folder as it is.

    The images are split by patient; the recipe states a share and a seed, and names no patient. Its
    ``sigma_max`` is the largest distance between two training images (Song 2022, Technique 6.1).

    Args:
        folder: folder of DICOM, NIfTI, fastMRI or ``.npz`` files, in any arrangement.
        output: the recipe to write; its stem becomes the name of the prior.
        size: side of the prior's images in pixels, a multiple of 16; by default 128, or less if
            the images are smaller.
        modality: "CT" or "MR", if the folder holds both.
        patterns: patterns of the files to use, relative to ``folder``; by default all images.
        seed: seed of the split and of the training.

    Raises:
        MedscoreError: the recipe exists, a parameter is out of range, or the folder holds no images
            that can be trained on, both modalities, or those of one patient only.
    """
    folder, output = Path(folder), Path(output)
    check_new(output)
    check_ranges(("seed", seed, 0, 2**31 - 1), ("size", size or STEP, STEP, 8192))
    if (size or STEP) % STEP:
        raise MedscoreError(f"`size` is {size}", hint=f"use a multiple of {STEP}")
    if modality not in (None, "CT", "MR"):
        raise MedscoreError(f"`modality` is {modality!r}", hint="use CT or MR")
    contents = inspect_folder(folder, patterns=patterns, modality=modality)
    chosen = size or _size(contents, folder)
    draft = _recipe(_text(contents, folder, output, chosen, Split(training=0.5, seed=seed)), output)
    slices = load_recipe_slices(draft, draft.data, folder)
    _check_patients(slices, folder)
    split = split_for(known_patients(slices), seed)
    parts = divided(slices, split)
    counts = [len(set(known_patients(part))) for part in parts]
    sigma = _largest(parts[0], draft.oversample)
    text = _text(contents, folder, output, chosen, split, sigma, parts, counts)
    made = NewRecipe(
        output,
        _recipe(text, output),
        contents,
        (counts[0], counts[1]),
        (len(parts[0].images), len(parts[1].images)),
    )
    atomic_write(output, text.encode())
    return made


def _recipe(text: str, output: Path) -> PriorRecipe:
    return validated(PriorRecipe, parse_yaml(text.encode(), output, hint="report this"), output)


def _size(contents: Contents, folder: Path) -> int:
    """128 for images that are reduced to it, and the own side of smaller ones, rounded up."""
    if contents.side < STEP:
        raise MedscoreError(
            f"the slices have {contents.side} pixels a side, at least {STEP} are needed",
            where=folder, hint="use larger images",
        )  # fmt: skip
    return SIDE if contents.side > REDUCED * SIDE else -(-contents.side // STEP) * STEP


def _check_patients(slices: Slices, folder: Path) -> None:
    if not np.isfinite(slices.spacing_mm).any():
        raise MedscoreError(
            "none of the files states its pixel size", where=folder,
            hint="add `pixel_spacing_mm` to the archives",
        )  # fmt: skip
    if len(set(known_patients(slices))) < 2:
        raise MedscoreError(
            f"all {len(slices.images)} slices are of one patient, and training and validation need "
            "different ones", where=folder,
            hint="add patients; DICOM files tell them by PatientID, NIfTI files by sub-XX in their "
            "names or by a folder for each patient, archives by `patient`",
        )  # fmt: skip


def _largest(slices: Slices, oversample: int) -> float:
    """The largest distance between training images, rounded up to one decimal."""
    count = len(slices.images)
    places = np.linspace(0, count - 1, min(count, DISTANT)).round().astype(int)
    distance = largest_distance(reduced(slices.images[places.tolist()], oversample))
    return max(1.0, math.ceil(10 * distance) / 10)


def _text(
    contents: Contents,
    folder: Path,
    output: Path,
    size: int,
    split: Split,
    sigma: float = 1.0,
    parts: Sequence[Slices] = (),
    counts: Sequence[int] = (0, 0),
) -> str:
    """The recipe as YAML with comments."""
    ct = contents.modality == "CT"
    low, high = HU if ct else (0.0, 1.0)
    about = "HU mapped to" if ct else "magnitudes are in units of the slice's 99.5th percentile;"
    ends, mm, sides = contents.values, contents.spacing_mm, contents.sides
    trained, kept = (len(part.images) for part in parts) if parts else (0, 0)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", output.stem).strip("-._") or "prior"
    where = os.path.relpath(folder.resolve(), output.resolve().parent)
    stated = str(folder.resolve()) if where.startswith("..") else where
    skipped = [f"{count} scans: {why}" for why, count in contents.unusable.most_common(5)]
    lines = [
        f"# Prior of {size} x {size} axial {contents.modality} slices, written by medscore train "
        "--init.",
        f"# Train: medscore train {output.name} -o runs/{name}",
        f"name: {name}",
        f"modality: {contents.modality}",
        f"quantity: {'HU' if ct else 'magnitude'}",
        f"low: {low:g}          # {about} 0; the files hold values from {ends[0]:g} to {ends[1]:g}",
        f"high: {high:g}         # {about} 1",
        f"size: {size}         # the files: {sides[0]} to {sides[-1]} pixels, spacing "
        f"{mm[0]:.3g} to {mm[1]:.3g} mm",
        f"oversample: {2 if contents.side > REDUCED * size else 1}     # slices are augmented at "
        "this multiple of the size, then reduced",
        f"folder: {_scalar(stated)}   # data folder; the option --data replaces it",
        "data:             # patterns below the folder",
        *(f"  - {_scalar(pattern)}" for pattern in contents.patterns),
        "unusable: skip    # scans that cannot be used are left out with a note; refuse stops",
        *(f"#   {line}" for text in skipped for line in textwrap.wrap(text, 90)),
        "# Patients are split by a hash of who they are, so that none is on both sides, also when",
        f"# patients are added: {counts[0]} to train on ({trained} slices), {counts[1]} for "
        f"validation ({kept} slices).",
        f"split: {{training: {split.training}, seed: {split.seed}}}",
        "augmentation: "
        + ("{zoom: [0.9, 1.6]}" if ct else "{zoom: [0.8, 1.25], gain: [0.7, 1.4]}")
        + "   # magnification"
        + ("" if ct else ", and error of the unit"),
        "licence: unknown  # licence of the images; it is stored in the trained file",
        f"sde: {{kind: ve, sigma_min: 0.005, sigma_max: {sigma}}}   # sigma_max: largest distance "
        "in the data (Technique 6.1)",
        "network: {kind: unet, channels: [48, 48, 96, 128], blocks: 1, fold: 2, groups: 8}",
        "objective: {kind: edm, log_ratio_mean: -1.5, log_ratio_std: 1.4}",
        "plan:",
        "  steps: 10000    # the shipped priors: 10000 to 12000",
        "  batch: 8",
        "  precision: bf16",
        "  learning_rate: 8.0e-4",
        "  warmup: 100",
        "  cooldown: 2500",
        "  clip: 1.0",
        "  ema_power: 12.0",
        "  save_every: 100",
        "  validate_every: 1000",
        "  sample_every: 2500",
        f"  seed: {split.seed}",
    ]
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """A text as a YAML value on one line."""
    return yaml.safe_dump(text, default_style='"', width=math.inf).strip()
