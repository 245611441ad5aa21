"""The packages' public names: imported on first use, complete, and without torch until then."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["medscore.datasets", "medscore.measurements", "medscore.metrics"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == set(module._MODULES) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert not hasattr(getattr(module, name), "__path__")
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = module.magic


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_name_stays_what_it_is_whatever_is_imported(package: str) -> None:
    """A submodule of the same name would take its place on the package."""
    module = importlib.import_module(package)
    for where in set(module._MODULES.values()):
        importlib.import_module(f"{package}.{where}")
    for name, where in module._MODULES.items():
        assert getattr(module, name) is getattr(importlib.import_module(f"{package}.{where}"), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_the_package_imports_no_torch(package: str) -> None:
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
