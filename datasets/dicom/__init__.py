"""DICOM: files, frames and series to volumes, and derived series from volumes."""
