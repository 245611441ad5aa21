"""Images and raw data in files: DICOM, NIfTI, k-space, projections; collections of slices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
