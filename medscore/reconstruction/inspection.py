"""Description of a file: its content, notes about it, and the priors that fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.dicom.files import Series, list_series
from medscore.datasets.dicom.kinds import KINDS
from medscore.datasets.dicom.opening import read_file
from medscore.datasets.load import is_image, read_volume
from medscore.datasets.raw.dicom_ct_pd import KIND, is_ct_pd
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.kspace_files import read_kspace
from medscore.datasets.volume import Volume, guess
from medscore.errors import MedscoreError, reading
from medscore.io.opening import file_or_folder
from medscore.measurements.kspace_grid import field_of_view
from medscore.measurements.measurement import Measurement, is_measurement, read_measurement
from medscore.priors.catalogue import shipped_priors
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.contract import DataContract
from medscore.reconstruction.compatibility import measurement_misfits, misfits

NOT_SQUARE = "no: slices are not square"

Contracts = Mapping[str, DataContract]
"""Data contracts of priors by name."""


@dataclass(frozen=True)
class Report:
    """The description of one image or measurement file.

    Attributes:
        what: kind of file.
        facts: values by name, in the order to show them.
        noticed: notes for the user.
        priors: for each prior, whether it fits, with the reduced size or the differences.
    """

    what: str
    facts: dict[str, str]
    noticed: tuple[str, ...]
    priors: dict[str, str] = field(default_factory=dict)


def inspect_path(
    path: str | Path, *, series: str | None = None, channel: int | None = None
) -> Report | list[Series]:
    """Describe a file and compare it with all shipped priors.

    Args:
        path: the file or folder.
        series: UID or description of a series, or a part of it.
        channel: volume of a 4-D NIfTI file, from 0.

    Returns:
        The description, or the series of a folder that has more or less than one.

    Raises:
        MedscoreError: the file does not exist or cannot be read.
    """
    path = file_or_folder(path)
    if path.is_dir() and series is None and not is_ct_pd(path):
        found: list[Series] = list_series(path)
        if sum(s.image for s in found) != 1:
            return found
    contracts = {name: read_checkpoint(file).contract for name, file in shipped_priors().items()}
    return inspect(path, contracts, series=series, channel=channel)


def inspect(
    path: Path, contracts: Contracts, *, series: str | None = None, channel: int | None = None
) -> Report:
    """Describe a measurement file or raw k-space, a DICOM file or folder, or a NIfTI file.

    Slices on an irregular grid are noted rather than refused.

    Args:
        path: the file or folder.
        contracts: priors to compare with, by name.
        series: UID or description of a series, or a part of it.
        channel: volume of a 4-D NIfTI file, from 0.

    Raises:
        MedscoreError: the file cannot be read.
    """
    if path.is_file() and not is_image(path):
        for name, value in (("series", series), ("channel", channel)):
            if value is not None:
                raise MedscoreError(f"`{name}` applies to images", where=path, hint="leave it out")
    if path.suffix == ".npy" or (path.suffix == ".h5" and not is_measurement(path)):
        return of_kspace(read_kspace(path, first=True), contracts)
    if path.suffix == ".h5":
        return of_measurement(read_measurement(path), contracts)
    if path.is_dir() and is_ct_pd(path):
        return of_projections(path)
    noticed: tuple[str, ...] = ()
    try:
        volume = read_volume(path, series=series, channel=channel)
    except MedscoreError as refused:
        try:
            volume = read_volume(path, series=series, resample=True, channel=channel)
        except MedscoreError:
            raise refused from None
        noticed = ("the slices are not on a regular grid: read them with `resample`",)
    return of_volume(volume, contracts, noticed)


def of_volume(volume: Volume, contracts: Contracts, more: tuple[str, ...] = ()) -> Report:
    """Describe an image; priors are compared at their own size, to which the slices can be reduced.

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
    square = rows == columns and abs(x - y) <= 1e-3 * x
    if not square:
        noticed.append(f"slices are not square: {columns} x {rows} pixels of {x:.4g} x {y:.4g} mm")
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
    fits = {}
    for name, contract in contracts.items():
        size = min(contract.size, rows)
        found = misfits(
            contract, modality=modality, quantity=quantity, size=size, spacing=x * columns / size
        )
        reduced = "" if size == rows else f", reduced to {size} x {size} (`size` {size})"
        fits[name] = _verdict(found, reduced) if square else NOT_SQUARE
    return Report(f"{volume.source.kind} image", facts, tuple(noticed), fits)


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
    fits = {
        name: _verdict(measurement_misfits(contract, m)) for name, contract in contracts.items()
    }
    return Report("measurement file", facts, (), fits)


def of_kspace(raw: RawKspace, contracts: Contracts) -> Report:
    """Describe raw k-space; priors are compared at their own size, to which it can be cropped.

    Args:
        raw: the k-space.
        contracts: priors to compare with, by name.
    """
    slices, coils, ny, nx = raw.kspace.shape
    taken = raw.sampled
    facts = {
        "modality": "MR",
        "k-space": f"{slices} slice(s) of {coils} coil(s), {ny} x {nx} samples (readout, phase)",
        "sampled": f"{100 * float(taken.mean()):.3g} % of the samples, "
        f"{int(taken.any(axis=1).sum(axis=1).max())} of {nx} lines",
        "sha256": raw.source.sha256,
    }
    noticed = list(raw.source.notes)
    if raw.spacing is None:
        noticed.append("the file does not specify the pixel size: set `spacing` when measuring")
        return Report("raw k-space", facts, tuple(noticed), {})
    column, row, thickness = raw.spacing
    side = column * nx
    facts["pixel"] = f"{column:.4g} x {row:.4g} mm, slices of {thickness:.4g} mm"
    facts["field of view"] = f"{side:.4g} x {row * ny:.4g} mm"
    view = field_of_view(raw, "k-space")
    if raw.oversampling > 1:
        how = "measuring crops it" if view.cropped else "the model of incomplete readouts keeps it"
        noticed.append(f"the readout is oversampled {raw.oversampling:.3g} times: {how}")
    if not view.square:
        noticed.append("incomplete readouts cannot be cropped to a square field of view")
        return Report("raw k-space", facts, tuple(noticed), dict.fromkeys(contracts, NOT_SQUARE))
    fits = {}
    for name, contract in contracts.items():
        size = min(contract.size, nx)
        found = misfits(
            contract, modality="MR", quantity="magnitude", size=size, spacing=side / size
        )
        fits[name] = _verdict(found, f", at {size} x {size} (measure it with `size` {size})")
    return Report("raw k-space", facts, tuple(noticed), fits)


def of_projections(path: Path) -> Report:
    """Describe a folder of DICOM-CT-PD projections by its first file.

    Args:
        path: the folder.
    """
    views = sorted(path.glob("*.dcm"))
    ds = read_file(views[0], stop_before_pixels=True)
    with reading("DICOM", views[0]):
        kind = str(ds[KIND].value).strip().lower() if KIND in ds else "not stated"
    facts = {
        "modality": "CT",
        "views": f"{len(views)}, detector of {ds.get('Rows', '?')} x {ds.get('Columns', '?')}",
        "scan": kind,
    }
    noticed = ("projections do not specify the image: set `size` and `spacing` when measuring",)
    return Report("CT projections (DICOM-CT-PD)", facts, noticed, {})


def _normal(volume: Volume) -> NDArray[np.float64]:
    columns, rows = volume.affine[:3, 0], volume.affine[:3, 1]
    normal = np.cross(columns, rows)
    return np.asarray(normal / np.linalg.norm(normal) + 0.0)  # no negative zero


def _verdict(found: list[tuple[str, str, str]], reduced: str = "") -> str:
    if not found:
        return f"fits{reduced}"
    return (
        "no" + reduced + ": " + "; ".join(f"{what} {ours}, not {its}" for what, ours, its in found)
    )
