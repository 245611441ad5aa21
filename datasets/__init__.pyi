"""Types of the public names of this package, which are imported when first used."""

from .collections.cohort import Case as Case, read_cohort as read_cohort
from .collections.pictures import Pictures as Pictures, load_pictures as load_pictures
from .collections.slice_cache import Slices as Slices
from .collections.slices import load_slices as load_slices
from .dicom.files import list_series as list_series
from .dicom.read import read_dicom as read_dicom
from .dicom.write import write_dicom_series as write_dicom_series
from .load import load_image as load_image, read_volume as read_volume
from .nifti import read_nifti as read_nifti, write_nifti as write_nifti
from .raw.dicom_ct_pd import read_ct_pd as read_ct_pd
from .raw.kspace import RawKspace as RawKspace
from .raw.kspace_files import read_kspace as read_kspace
from .raw.projections import (
    Projections as Projections,
    ScanGeometry as ScanGeometry,
    read_geometry as read_geometry,
    read_projections as read_projections,
)
from .volume import Source as Source, Volume as Volume
