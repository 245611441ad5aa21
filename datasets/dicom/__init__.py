"""DICOM: reading files, frames and series into volumes, and writing derived series."""
