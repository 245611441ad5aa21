"""Conversion of scanner data to measurements: k-space, projections, CT images with metal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.load import SMALLEST, is_image, load_image
from medscore.datasets.raw.acquisitions import CHOICES
from medscore.datasets.raw.dicom_ct_pd import is_ct_pd, read_ct_pd
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.projections import read_geometry, read_projections
from medscore.datasets.volume import slice_range
from medscore.errors import MedscoreError
from medscore.measurements.choices import check_seed
from medscore.measurements.from_ct import from_metal_image, from_projections
from medscore.measurements.from_kspace import MAPS, TARGETS, from_kspace, target_image
from medscore.measurements.kspace_grid import to_grid
from medscore.measurements.kspace_mask import SHAPES, kspace_mask
from medscore.measurements.measurement import Measurement
from medscore.operators.ct.metal import METAL_HU

Spacing = float | Sequence[float]
Select = str | Mapping[str, int]
Target = NDArray[np.float32]


@dataclass(frozen=True)
class _Options:
    """Settings for reading raw data; see :func:`measure`."""

    size: int | None = None
    spacing: tuple[float, float] | None = None
    slices: str | tuple[int, int] | None = None
    maps: str = "low-resolution"
    acceleration: float | None = None
    mask: str = "equispaced"
    seed: int = 0
    metal: float = METAL_HU
    margin: int = 1
    series: str | None = None
    resample: bool = False
    channel: int | None = None
    accept: tuple[str, ...] = ()
    target: str | None = None
    select: Select | None = None


USED = {
    "a stack of CT projections": (),
    "DICOM-CT-PD": ("size", "spacing"),
    "a CT image": (
        "size",
        "spacing",
        "slices",
        "metal",
        "margin",
        "series",
        "resample",
        "channel",
        "accept",
    ),
    "k-space": (
        "size",
        "spacing",
        "slices",
        "maps",
        "acceleration",
        "mask",
        "seed",
        "target",
        "select",
    ),
}
"""The options that each kind of raw data uses."""


def measure(
    path: str | Path,
    *,
    geometry: str | Path | None = None,
    size: int | None = None,
    spacing: Spacing | None = None,
    slices: str | tuple[int, int] | None = None,
    maps: str = "low-resolution",
    acceleration: float | None = None,
    mask: str = "equispaced",
    seed: int = 0,
    metal: float = METAL_HU,
    margin: int = 1,
    series: str | None = None,
    resample: bool = False,
    channel: int | None = None,
    accept: str | Sequence[str] = (),
    target: str | None = None,
    select: Select | None = None,
) -> tuple[Measurement, Target | None]:
    """Turn raw data, or a CT image with metal artifacts, into a measurement.

    Args:
        path: fastMRI or ISMRMRD file (.h5), k-space (.npy), a stack of CT projections (HDF5 or
            TIFF, with ``geometry``), a folder of DICOM-CT-PD, or a CT image with metal in it.
        geometry: geometry file (YAML) of a stack of CT projections.
        size: pixels per side to reconstruct; of k-space, the middle ``size`` x ``size`` samples.
        spacing: pixel spacing in mm where the file does not record it: one number, or those between
            columns and between rows.
        slices: range "START:STOP" or (start, stop) of slices; all by default.
        maps: estimator of coil sensitivities: "low-resolution" or "espirit".
        acceleration: drop lines of a fully sampled scan, to this ratio of all to measured lines.
        mask: sampling pattern of the lines that are kept then.
        seed: seed of a random sampling pattern.
        metal: CT number in HU above which a pixel of a CT image is metal.
        margin: detectors dropped on each side of the metal trace.
        series: DICOM series of a folder with several: UID, description or a part of it.
        resample: interpolate uneven or tilted DICOM slices of a CT image.
        channel: volume of a 4-D file of CT images, from 0.
        accept: kinds of CT images that are used all the same; see
            :func:`~medscore.datasets.load.load_image`.
        target: image of the fully sampled scan to return: "rss", "mvue" or "magnitude".
        select: the image of an ISMRMRD file with several: its encoding space, contrast, phase, set,
            repetition or segment, as {"contrast": 1, "set": 0} or "contrast=1,set=0".

    Returns:
        The measurement, and the target image (slices, H, W) or ``None``.

    Raises:
        MedscoreError: the file cannot be read, or a parameter is invalid or does not apply to it.
    """
    if not isinstance(path, str | os.PathLike):
        raise MedscoreError(
            f"`path` is {path!r}, expected the path of raw data", hint="give a file or a folder"
        )
    path = Path(path)
    options = _Options(
        size, _pair(spacing), slices, maps, acceleration, mask, seed, metal, margin, series,
        resample, channel, (accept,) if isinstance(accept, str) else tuple(accept), target, select,
    )  # fmt: skip
    _check(options)
    if geometry is not None:
        _check_used("a stack of CT projections", options, path)
        projections = read_projections(path, read_geometry(geometry))
        return from_projections(projections, geometry), None
    if path.is_dir() and is_ct_pd(path):
        return _from_ct_pd(path, options), None
    if path.is_dir() or (is_image(path) and path.suffix.lower() != ".npy"):
        _check_used("a CT image", options, path)
        volume = load_image(
            path, modality="CT", size=size, slices=slices, series=series, resample=resample,
            channel=channel, accept=accept, spacing=options.spacing,
        )  # fmt: skip
        return from_metal_image(volume, metal, margin, path), None
    return _from_kspace(path, options)


def _from_ct_pd(path: Path, options: _Options) -> Measurement:
    _check_used("DICOM-CT-PD", options, path)
    if options.size is None or options.spacing is None:
        raise MedscoreError(
            "projections do not record the image's grid",
            where=path,
            hint="set `size` and `spacing`",
        )
    projections = read_ct_pd(path, size=options.size, spacing=options.spacing[0])
    return from_projections(projections, path)


def _from_kspace(path: Path, options: _Options) -> tuple[Measurement, Target | None]:
    _check_used("k-space", options, path)
    raw = read_kspace(path, spacing=options.spacing, select=_selected(options.select))
    if options.slices is not None:
        start, stop = slice_range(options.slices, len(raw.kspace), path)
        raw = raw.select(start, stop)
    grid = to_grid(raw, options.size, path)
    mask = None
    if options.acceleration is not None:
        shape = (int(grid.kspace.shape[-2]), int(grid.kspace.shape[-1]))
        mask = kspace_mask(shape, options.mask, options.acceleration, options.seed)
    made = from_kspace(grid, raw, maps=options.maps, mask=mask, where=path)
    return made, None if options.target is None else target_image(grid, options.target, path)


def _pair(spacing: Spacing | None) -> tuple[float, float] | None:
    """Spacing between columns and between rows."""
    if spacing is None:
        return None
    numbers = tuple(spacing) if isinstance(spacing, Sequence) else (spacing, spacing)
    if len(numbers) != 2 or not all(0.01 <= mm <= 100 for mm in numbers):
        raise MedscoreError(
            f"`spacing` is {spacing!r}", hint="use one or two numbers from 0.01 to 100 mm"
        )
    return float(numbers[0]), float(numbers[1])


def _selected(select: Select | None) -> dict[str, int] | None:
    """The image of a file with several, from NAME=NUMBER,... or a mapping."""
    if select is None:
        return None
    pairs = select.items() if isinstance(select, Mapping) else [
        tuple(part.partition("=")[::2]) for part in str(select).split(",")
    ]  # fmt: skip
    found = {}
    for name, value in pairs:
        if name not in CHOICES or not str(value).isdecimal():
            raise MedscoreError(
                f"`select` is {select!r}",
                hint=f"use NAME=NUMBER of {', '.join(CHOICES)}, such as contrast=0",
            )
        found[name] = int(value)
    return found


def _check(options: _Options) -> None:
    for name, value, known in (
        ("maps", options.maps, tuple(MAPS)),
        ("mask", options.mask, tuple(SHAPES)),
        ("target", options.target, TARGETS),
    ):
        if value is not None and value not in known:
            raise MedscoreError(f"`{name}` is {value!r}", hint=f"use one of: {', '.join(known)}")
    if options.size is not None and options.size < SMALLEST:
        raise MedscoreError(f"`size` is {options.size}", hint=f"use at least {SMALLEST}")
    if options.margin < 0:
        raise MedscoreError(f"`margin` is {options.margin}", hint="use 0 or more")
    check_seed(options.seed)


def _check_used(kind: str, options: _Options, path: Path) -> None:
    """Reject options that differ from their defaults and that this kind of data does not use."""
    for field in fields(options):
        if field.name not in USED[kind] and getattr(options, field.name) != field.default:
            raise MedscoreError(
                f"`{field.name}` does not apply to {kind}", where=path, hint="leave it out"
            )
