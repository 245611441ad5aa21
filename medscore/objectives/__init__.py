"""Training objectives of score models: denoising, exact and sliced score matching.

Denoising losses are means over the components of a sample, without the factor 1/2 of Eq. 3.1. The
losses of exact and sliced score matching are sums over the components, with that factor, as in the
text. The names are loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
