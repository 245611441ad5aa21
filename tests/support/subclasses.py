"""The classes that a package of the library defines."""

import importlib
import inspect
import pkgutil
from types import ModuleType


def defined_in(package: ModuleType, base: type) -> set[type]:
    """Public subclasses of ``base``, direct or not, that any module of a package defines.

    All modules of the package are imported.
    """
    found: set[type] = set()
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, base) and value is not base and name[0] != "_":
                found.add(value)
    return found
