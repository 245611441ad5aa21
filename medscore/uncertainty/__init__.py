"""How uncertain images are: covariances and higher moments of clean images given noisy ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
