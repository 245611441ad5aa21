"""The one sampling loop, and the state that lets an interrupted run resume."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
