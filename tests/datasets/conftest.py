"""Fixtures of images for the readers and writers."""

from image_fixtures import bundled, enhanced, ramp, refused, write_slice

__all__ = ["bundled", "enhanced", "ramp", "refused", "write_slice"]
