"""Unconditional iterative samplers, the rule h of Song 2022, Eq. 8.5."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
