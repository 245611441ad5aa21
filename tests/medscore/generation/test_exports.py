"""What the packages export, and that importing them is cheap."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ["medscore.generation", "medscore.likelihood"]


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_the_package_imports_no_torch(name: str) -> None:
    code = f"import sys, {name}; dir({name}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_export_is_what_its_module_defines(name: str) -> None:
    package = importlib.import_module(name)
    imports = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(str(package.__file__)).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(name)
        for alias in node.names
    }
    assert sorted(imports) == sorted(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for export, module in imports.items():
        assert module is not None
        assert getattr(package, export) is getattr(importlib.import_module(module), export)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_has_the_name_of_an_export(name: str) -> None:
    """The import of a module would replace the export."""
    package = importlib.import_module(name)
    modules = {path.stem for path in Path(str(package.__file__)).parent.glob("*.py")}
    assert modules & set(package.__all__) == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'magic'"):
        _ = importlib.import_module(name).magic
