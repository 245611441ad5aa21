"""Forward diffusions x_t = alpha(t) x_0 + sigma(t) z (Song 2022, chapter 7)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
