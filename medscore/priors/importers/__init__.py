"""Import of other libraries' checkpoints as priors; what cannot be imported exactly is refused.

:mod:`~medscore.priors.importers.read` opens files; one module for each library finds network and
weights in them; :mod:`~medscore.priors.importers.contract` combines these with the user's
description of the images; :mod:`~medscore.priors.importers.convert` does it all. The names are
loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
