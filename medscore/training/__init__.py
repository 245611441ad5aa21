"""Training of priors, supervised networks, classifiers and dequantizers from recipes.

:func:`train` runs a whole training from a recipe; :func:`train_steps` is the loop for
user-defined models, batches and losses.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
