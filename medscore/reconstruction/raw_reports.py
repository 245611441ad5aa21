"""Descriptions of raw data: k-space and CT projections."""

from __future__ import annotations

from pathlib import Path

from medscore.datasets.dicom.opening import read_file
from medscore.datasets.raw.ct_pd_tags import KIND
from medscore.datasets.raw.kspace import RawKspace
from medscore.datasets.raw.projections import read_projections
from medscore.errors import reading
from medscore.measurements.kspace_grid import field_of_view
from medscore.reconstruction.compatibility import misfits
from medscore.reconstruction.file_report import Contracts, Report, verdict

NOT_SQUARE = "no: slices are not square"


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
        size = min(contract.size or nx, nx)
        found = misfits(
            contract, modality="MR", quantity="magnitude", size=size, spacing=side / size
        )
        fits[name] = verdict(found, f", at {size} x {size} (measure it with `size` {size})")
    return Report("raw k-space", facts, tuple(noticed), fits)


def of_stack(path: Path) -> Report:
    """Describe projections whose file states the geometry.

    Args:
        path: the file.

    Raises:
        MedscoreError: it states a part of it only.
    """
    projections = read_projections(path, {})
    geometry = projections.geometry
    slices, views, detectors = projections.data.shape
    size, spacing = geometry.grid(detectors)
    degrees = geometry.degrees or (0.0,)
    facts = {
        "modality": "CT",
        "projections": f"{slices} slice(s) of {views} views, {detectors} detectors",
        "beam": geometry.beam,
        "angles": f"{min(degrees):g} to {max(degrees):g} degrees",
        "image": f"{size} x {size} pixels of {spacing:.4g} mm, unless `size` or `spacing` is set",
        "sha256": projections.source.sha256,
    }
    return Report("CT projections", facts, projections.source.notes, {})


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
