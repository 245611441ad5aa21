"""Image formats besides DICOM: NRRD and MetaImage, NumPy and MATLAB arrays, in and out."""
