"""Description of a file: its content, notes about it, and the priors that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.dicom.files import Series, list_series
from medscore.datasets.dicom.kinds import KINDS
from medscore.datasets.load import array_slices, is_image, read_volume
from medscore.datasets.raw.bart import is_bart
from medscore.datasets.raw.dicom_ct_pd import is_ct_pd
from medscore.datasets.raw.kinds import raw_kind
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.recognise import holds_series
from medscore.datasets.selection import Spacing
from medscore.datasets.volume import Volume, guess, slice_range
from medscore.errors import MedscoreError
from medscore.io.opening import file_or_folder
from medscore.measurements.fitting import (
    fit_to,
    grid_text,
    psnr_text,
    resampling_psnr,
    share_text,
)
from medscore.measurements.measurement import Measurement, is_measurement, read_measurement
from medscore.priors.contract import DataContract
from medscore.priors.known import known_contracts
from medscore.reconstruction.compatibility import OF_THE_GRID, measurement_misfits, misfits
from medscore.reconstruction.file_report import Contracts, Report, own_grid, verdict
from medscore.reconstruction.raw_reports import of_kspace, of_projections, of_stack

RAW = (".dat", ".npz", ".mat")
"""Ends of the names of files that may hold raw data, beside .h5, .npy and BART's."""


def inspect_path(
    path: str | Path,
    *,
    series: str | None = None,
    channel: int | None = None,
    array: str | None = None,
    spacing: Spacing | None = None,
    slices: str | tuple[int, int] | None = None,
) -> Report | list[Series]:
    """Describe a file and compare it with all priors that are known by name.

    Args:
        path: the file or folder.
        series: UID or description of a series, or a part of it.
        channel: volume of a 4-D file, from 0.
        array: name of the array, in a .npz or .mat file with several.
        spacing: spacing in mm, for arrays whose file does not state it.
        slices: range of slices of an archive of arrays.

    Returns:
        The description, or the series of a folder that has more or less than one.

    Raises:
        MedscoreError: the file does not exist or cannot be read.
    """
    path = file_or_folder(path)
    if holds_series(path) and series is None and not is_ct_pd(path):
        found: list[Series] = list_series(path)
        if sum(s.image for s in found) != 1:
            return found
    return inspect(
        path,
        known_contracts(),
        series=series,
        channel=channel,
        array=array,
        spacing=spacing,
        slices=slices,
    )


def inspect(
    path: Path,
    contracts: Contracts,
    *,
    series: str | None = None,
    channel: int | None = None,
    array: str | None = None,
    spacing: Spacing | None = None,
    slices: str | tuple[int, int] | None = None,
) -> Report:
    """Describe a measurement file, raw k-space, or an image of any format.

    Slices on an irregular grid are noted rather than refused.

    Args:
        path: the file or folder.
        contracts: priors to compare with, by name.
        series: UID or description of a series, or a part of it.
        channel: volume of a 4-D file, from 0.
        array: name of the array, in a .npz or .mat file with several.
        spacing: spacing in mm, for arrays whose file does not state it.
        slices: range of slices of an archive of arrays.

    Raises:
        MedscoreError: the file cannot be read.
    """
    if path.is_file() and not is_image(path):
        chosen = {"series": series, "channel": channel, "array": array, "spacing": spacing}
        for name, value in {**chosen, "slices": slices}.items():
            if value is not None:
                raise MedscoreError(f"`{name}` applies to images", where=path, hint="leave it out")
    kind = raw_kind(path, None) if is_bart(path) or path.suffix in RAW else None
    if kind == "projections":
        return of_stack(path)
    if (
        kind == "k-space"
        or (path.suffix == ".npy" and not is_image(path))
        or (path.suffix == ".h5" and not is_measurement(path))
    ):
        return of_kspace(read_kspace(path, first=True), contracts)
    if path.suffix == ".h5":
        return of_measurement(read_measurement(path), contracts)
    if path.is_dir() and is_ct_pd(path):
        return of_projections(path)
    noticed: tuple[str, ...] = ()
    slices, part = array_slices(path, slices, series, array)
    try:
        volume = read_volume(
            path, series=series, channel=channel, array=array, spacing=spacing, slices=part
        )
    except MedscoreError as refused:
        try:
            volume = read_volume(path, series=series, resample=True, channel=channel)
        except MedscoreError:
            raise refused from None
        noticed = ("the slices are not on a regular grid: read them with `resample`",)
    if slices is not None:
        volume = volume.select(*slice_range(slices, len(volume.values), path))
    return of_volume(volume, contracts, noticed)


def of_volume(volume: Volume, contracts: Contracts, more: tuple[str, ...] = ()) -> Report:
    """Describe an image; priors are compared on their own grid, to which the slices are fitted.

    Args:
        volume: the image.
        contracts: priors to compare with, by name.
        more: further notes.
    """
    n, rows, columns = volume.values.shape
    x, y, z = volume.spacing
    lowest, highest = float(volume.values.min()), float(volume.values.max())
    modality, noticed = guess(volume), [*volume.source.notes, *more]
    if volume.modality == "unknown":
        noticed.append(f"the file does not specify its modality; its values suggest {modality}")
    if kinds := volume.source.kinds:
        noticed.append(f"to use it set `accept` to {', '.join(kinds)}")
    quantity = "HU" if modality == "CT" else "magnitude"
    facts = {
        "modality": volume.modality,
        **({"content": "; ".join(KINDS[kind] for kind in kinds)} if kinds else {}),
        "slices": f"{n} of {columns} x {rows}",
        "voxel": f"{x:.4g} x {y:.4g} x {z:.4g} mm",
        "field of view": f"{columns * x:.4g} x {rows * y:.4g} x {n * z:.4g} mm",
        "values": f"{lowest:g} to {highest:g} {'HU' if modality == 'CT' else '(scanner unit)'}",
        "origin": ", ".join(f"{v:.4g}" for v in volume.affine[:3, 3]) + " mm (RAS)",
        "slice normal": ", ".join(f"{v:.3g}" for v in _normal(volume)) + " (RAS)",
        "sha256": volume.source.sha256,
    }
    fits = {
        name: _fitted(contract, volume, modality, quantity) for name, contract in contracts.items()
    }
    return Report(f"{volume.source.kind} image", facts, tuple(noticed), fits)


def _fitted(contract: DataContract, volume: Volume, modality: str, quantity: str) -> str:
    """Whether a prior takes an image, on which grid, and what is lost on it."""
    found = misfits(
        contract, modality=modality, quantity=quantity, size=contract.at().side,
        spacing=contract.spacing_mm[0],
    )  # fmt: skip
    fit = fit_to(contract, volume.values.shape[1:], volume.spacing[:2])
    if found or fit is None:
        return verdict(found, "" if found else own_grid(contract))
    known = replace(volume, modality=modality)
    lost = psnr_text(resampling_psnr(known, fit)) + share_text(fit)
    return f"fits on its grid of {grid_text(fit, volume.spacing[0])}: {lost}"


def of_measurement(m: Measurement, contracts: Contracts) -> Report:
    """Describe a measurement.

    Args:
        m: the measurement.
        contracts: priors to compare with, by name.
    """
    (rows, columns), (x, y) = m.size, m.spacing
    size = np.abs(m.data)
    facts = {
        "modality": m.modality,
        "task": m.task,
        "operator": repr(m.operator),
        "data": f"{' x '.join(map(str, m.data.shape))} {m.data.dtype}",
        "values": f"magnitudes up to {size.max():g}, of images in {m.image_unit}",
        "image": f"{columns} x {rows} pixels of {x:.4g} x {y:.4g} mm",
        **({} if m.metal_mask is None else {"metal": f"{int(m.metal_mask.sum())} pixels"}),
        "noise": m.noise,
        "source sha256": m.source.sha256,
    }
    fits = {}
    for name, contract in contracts.items():
        found = [f for f in measurement_misfits(contract, m) if f[0] not in OF_THE_GRID]
        fit = fit_to(contract, m.size, m.spacing)
        on_grid = (
            own_grid(contract)
            if fit is None
            else f", on its grid of {grid_text(fit, x)}{share_text(fit)}"
        )
        fits[name] = verdict(found, on_grid)
    return Report("measurement file", facts, (), fits)


def _normal(volume: Volume) -> NDArray[np.float64]:
    columns, rows = volume.affine[:3, 0], volume.affine[:3, 1]
    normal = np.cross(columns, rows)
    return np.asarray(normal / np.linalg.norm(normal) + 0.0)  # no negative zero
