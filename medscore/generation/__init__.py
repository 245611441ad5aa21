"""Images without measurements: draw, complete, encode, decode, and compare with real images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
