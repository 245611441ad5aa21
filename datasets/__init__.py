"""Images and raw data in files: DICOM, NIfTI, k-space, projections; collections of slices."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.datasets.collections.cohort import Case, read_cohort
    from medscore.datasets.collections.pictures import Pictures, load_pictures
    from medscore.datasets.collections.slice_cache import Slices
    from medscore.datasets.collections.slices import load_slices
    from medscore.datasets.dicom.files import list_series
    from medscore.datasets.dicom.read import read_dicom
    from medscore.datasets.dicom.write import write_dicom_series
    from medscore.datasets.load import load_image, read_volume
    from medscore.datasets.nifti import read_nifti, write_nifti
    from medscore.datasets.raw.dicom_ct_pd import read_ct_pd
    from medscore.datasets.raw.kspace import RawKspace
    from medscore.datasets.raw.kspace_files import read_kspace
    from medscore.datasets.raw.projections import (
        Projections,
        ScanGeometry,
        read_geometry,
        read_projections,
    )
    from medscore.datasets.volume import Source, Volume

_MODULES = {
    "Case": "collections.cohort",
    "Pictures": "collections.pictures",
    "Projections": "raw.projections",
    "RawKspace": "raw.kspace",
    "ScanGeometry": "raw.projections",
    "Slices": "collections.slice_cache",
    "Source": "volume",
    "Volume": "volume",
    "list_series": "dicom.files",
    "load_image": "load",
    "load_pictures": "collections.pictures",
    "load_slices": "collections.slices",
    "read_cohort": "collections.cohort",
    "read_ct_pd": "raw.dicom_ct_pd",
    "read_dicom": "dicom.read",
    "read_geometry": "raw.projections",
    "read_kspace": "raw.kspace_files",
    "read_nifti": "nifti",
    "read_projections": "raw.projections",
    "read_volume": "load",
    "write_dicom_series": "dicom.write",
    "write_nifti": "nifti",
}
"""Where the public names are defined; imported on first use."""

__all__ = [
    "Case",
    "Pictures",
    "Projections",
    "RawKspace",
    "ScanGeometry",
    "Slices",
    "Source",
    "Volume",
    "list_series",
    "load_image",
    "load_pictures",
    "load_slices",
    "read_cohort",
    "read_ct_pd",
    "read_dicom",
    "read_geometry",
    "read_kspace",
    "read_nifti",
    "read_projections",
    "read_volume",
    "write_dicom_series",
    "write_nifti",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
