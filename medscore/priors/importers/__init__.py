"""Import of other libraries' checkpoints as priors; what cannot be imported exactly is refused.

:mod:`~medscore.priors.importers.read` opens files; one module for each library finds network and
weights in them; :mod:`~medscore.priors.importers.contract` combines these with the user's
description of the images; :mod:`~medscore.priors.importers.convert` does it all. The names are
loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.priors.importers.contract import ImportContract, read_contract
    from medscore.priors.importers.convert import KINDS, ImportResult, import_prior

__all__ = ["KINDS", "ImportContract", "ImportResult", "import_prior", "read_contract"]

_MODULES = {
    "contract": ("ImportContract", "read_contract"),
    "convert": ("KINDS", "ImportResult", "import_prior"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
