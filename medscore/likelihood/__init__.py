"""Likelihood of images under a prior: exact by the probability flow, and bounds from the loss."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
