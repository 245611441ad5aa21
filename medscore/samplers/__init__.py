"""Unconditional iterative samplers: the rule h of Eq. 8.5. They know nothing of measurements."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
