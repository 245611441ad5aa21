"""Fixtures of images for the readers and writers."""

from image_fixtures import bundled, ramp, refused, write_slice

__all__ = ["bundled", "ramp", "refused", "write_slice"]
