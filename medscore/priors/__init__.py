"""Score priors: analytic and network priors, data contracts, prior files and shipped weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
