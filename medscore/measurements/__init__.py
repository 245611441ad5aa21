"""Measurements: simulated from an image, or read from scanner data; one HDF5 format."""
