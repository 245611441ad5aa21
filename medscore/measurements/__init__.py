"""Measurements: simulated from an image, or read from scanner data; one file format for both."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
