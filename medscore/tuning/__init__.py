"""The settings of a method, chosen by trials: with references, or by the measurements alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
