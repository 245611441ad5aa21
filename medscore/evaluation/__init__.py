"""Methods compared on cohorts: every cell of a table kept as it is found; tables, plots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
