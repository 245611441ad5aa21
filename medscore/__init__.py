"""medscore: medical image reconstruction from partial measurements with score-based priors.

``import medscore`` imports nothing else; the public names, listed in ``__init__.pyi``, are imported
when they are first used.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import lazy_loader

__version__ = "0.1.0"

_ROOT = Path(__file__).resolve().parent.parent


class _Siblings:
    """Finds ``medscore.operators``, ``.datasets`` and ``.configs`` beside this folder.

    They are installed as subpackages, but in a checkout they lie next to ``medscore/``, where the
    usual import system does not look for them.
    """

    FOLDERS = ("operators", "datasets", "configs")

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, leaf = name.rpartition(".")
        if parent != __name__ or leaf not in cls.FOLDERS:
            return None
        folder = _ROOT / leaf
        return spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if (_ROOT / "pyproject.toml").is_file() and (_ROOT / "operators").is_dir():
    sys.meta_path.insert(0, _Siblings)  # before the finder of an editable install

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
