"""Files in and out: DICOM, NIfTI, measurement files, training slices."""
