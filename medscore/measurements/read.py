"""Conversion of scanner data to measurements: k-space, projections, CT images with metal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.load import is_image, load_image
from medscore.datasets.raw.along import read_along
from medscore.datasets.raw.dicom_ct_pd import is_ct_pd, is_helical, read_ct_pd
from medscore.datasets.raw.kinds import raw_kind
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.raw.kspace_layout import KspaceLayout, checked_layout
from medscore.datasets.raw.projections import read_geometry, read_projections
from medscore.datasets.volume import slice_range
from medscore.datasets.voxel_grid import check_grid
from medscore.errors import MedscoreError
from medscore.measurements.from_ct import from_metal_image, from_projections
from medscore.measurements.from_helix import from_helix
from medscore.measurements.from_kspace import from_kspace, target_image
from medscore.measurements.from_trajectory import from_trajectory
from medscore.measurements.kspace_grid import to_grid
from medscore.measurements.kspace_mask import kspace_mask
from medscore.measurements.measurement import Measurement
from medscore.measurements.read_options import (
    Options,
    Select,
    Spacing,
    check_used,
    check_values,
    pair,
    selected,
)
from medscore.operators.ct.metal import METAL_HU

Target = NDArray[np.float32]


def measure(
    path: str | Path,
    *,
    geometry: str | Path | Mapping[str, Any] | None = None,
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
        path: k-space (fastMRI or ISMRMRD .h5, Siemens twix .dat, BART .cfl, or an array in .npy,
            .npz, .mat or HDF5), a stack of CT projections (.npy, .npz, .mat, HDF5 or TIFF, with
            ``geometry`` unless the file states it), a folder of DICOM-CT-PD, or a CT image with
            metal in it.
        geometry: what the file does not state: geometry of CT projections, or layout of k-space, as
            a YAML file or as a mapping; see docs/measurement.md.
        size: pixels per side to reconstruct; of k-space on its grid, the middle ``size`` x ``size``
            samples.
        spacing: pixel spacing in mm where the file does not record it: one number, or those between
            columns and between rows.
        slices: range "START:STOP" or (start, stop) of slices; all by default.
        maps: estimator of coil sensitivities: "low-resolution" or "espirit".
        acceleration: drop lines of a fully sampled scan, to this ratio of all to measured lines; of
            k-space along a trajectory, arms; of a helical scan, views.
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
        select: the image of an ISMRMRD, twix or BART file with several: its encoding space,
            contrast, phase, set, repetition or segment, as {"contrast": 1, "set": 0} or
            "contrast=1,set=0".

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
    options = Options(
        size, pair(spacing), slices, maps, acceleration, mask, seed, metal, margin, series,
        resample, channel, (accept,) if isinstance(accept, str) else tuple(accept), target, select,
    )  # fmt: skip
    check_values(options)
    given, where = _fields(geometry, path)
    measurement, image = _of_any_kind(path, given, where, options)
    check_grid(measurement.affine, where)
    return measurement, image


def _of_any_kind(
    path: Path, given: Mapping[str, Any] | None, where: Path, options: Options
) -> tuple[Measurement, Target | None]:
    kind = raw_kind(path, given)
    if kind == "projections":
        return _from_stack(path, given or {}, where, options), None
    if path.is_dir() and is_ct_pd(path):
        return _from_ct_pd(path, options), None
    if kind is None and (path.is_dir() or is_image(path)):
        check_used("a CT image", options, path)
        volume = load_image(
            path, modality="CT", size=options.size, slices=options.slices,
            series=options.series, resample=options.resample, channel=options.channel,
            accept=options.accept, spacing=options.spacing,
        )  # fmt: skip
        return from_metal_image(volume, options.metal, options.margin, path), None
    layout = checked_layout(given, where)
    if layout.trajectory is not None:
        return _along_a_trajectory(path, layout, options), None
    return _from_kspace(path, layout, options)


def _fields(
    geometry: str | Path | Mapping[str, Any] | None, path: Path
) -> tuple[Mapping[str, Any] | None, Path]:
    """The fields of a geometry, and the file to name in errors about them."""
    if geometry is None or isinstance(geometry, Mapping):
        return geometry, path
    return read_geometry(geometry), Path(geometry)


def _from_stack(path: Path, given: Mapping[str, Any], where: Path, options: Options) -> Measurement:
    check_used("a stack of CT projections", options, path)
    fields = dict(given)
    _check_square(path, options)
    for name, value in (("size", options.size), ("spacing", (options.spacing or (None,))[0])):
        if value is not None and name in fields:
            raise MedscoreError(
                f"`{name}` is {value:g}, and the geometry states {name}: {fields[name]}",
                where=path, hint="leave one of them out",
            )  # fmt: skip
        if value is not None:
            fields[name] = value
    projections = read_projections(path, fields, where)
    if options.slices is not None:
        start, stop = slice_range(options.slices, len(projections.data), path)
        projections = replace(projections, data=projections.data[start:stop])
    return from_projections(projections, where)


def _check_square(path: Path, options: Options) -> None:
    """Refuse pixels that are not square."""
    if options.spacing is not None and options.spacing[0] != options.spacing[1]:
        raise MedscoreError(
            f"`spacing` is {options.spacing}, and projections have square pixels", where=path,
            hint="use one number",
        )  # fmt: skip


def _from_ct_pd(path: Path, options: Options) -> Measurement:
    helical = is_helical(path)
    check_used(f"{'a helical' if helical else 'an axial'} scan in DICOM-CT-PD", options, path)
    if options.size is None or options.spacing is None:
        raise MedscoreError(
            "projections do not record the image's grid",
            where=path,
            hint="set `size` and `spacing`",
        )
    _check_square(path, options)
    size, spacing = options.size, options.spacing[0]
    if not helical:
        return from_projections(read_ct_pd(path, size=size, spacing=spacing), path)
    return from_helix(
        path, size=size, spacing=spacing, slices=options.slices, every=options.acceleration
    )


def _along_a_trajectory(path: Path, layout: KspaceLayout, options: Options) -> Measurement:
    check_used("k-space along a trajectory", options, path)
    raw = read_along(path, layout)
    if options.slices is not None:
        raw = raw.select(*slice_range(options.slices, len(raw.kspace), path))
    return from_trajectory(
        raw, size=options.size, spacing=options.spacing, maps=options.maps,
        acceleration=options.acceleration, where=path,
    )  # fmt: skip


def _from_kspace(
    path: Path, layout: KspaceLayout, options: Options
) -> tuple[Measurement, Target | None]:
    check_used("k-space", options, path)
    raw = read_kspace(path, spacing=options.spacing, select=selected(options.select), layout=layout)
    if options.slices is not None:
        start, stop = slice_range(options.slices, len(raw.kspace), path)
        raw = raw.select(start, stop)
    given = options.spacing is not None or layout.spacing is not None
    grid = to_grid(raw, options.size, path, given=given)
    mask = None
    if options.acceleration is not None:
        shape = (int(grid.kspace.shape[-2]), int(grid.kspace.shape[-1]))
        mask = kspace_mask(shape, options.mask, options.acceleration, options.seed)
    made = from_kspace(grid, raw, maps=options.maps, mask=mask, where=path)
    return made, None if options.target is None else target_image(grid, options.target, path)
