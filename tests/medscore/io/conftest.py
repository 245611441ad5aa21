"""Fixtures for the readers of files."""

from image_fixtures import refused

__all__ = ["refused"]
