"""Uncertainty of images: intervals with guarantees, regions, scores of samples, and covariances."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
