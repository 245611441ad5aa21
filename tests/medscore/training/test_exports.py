"""What training, networks, objectives and importers export, and that importing them is cheap."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = [
    "medscore.training", "medscore.nets", "medscore.objectives", "medscore.priors.importers",
]  # fmt: skip
SLOW = {"monai", "diffusers", "lightning_fabric", "tensorboardX"}
each_package = pytest.mark.parametrize("name", PACKAGES)


def folder(name: str) -> Path:
    return Path(str(importlib.import_module(name).__file__)).parent


@each_package
def test_importing_the_package_imports_no_torch(name: str) -> None:
    code = f"import sys, {name}; dir({name}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@each_package
def test_every_export_is_what_its_module_defines(name: str) -> None:
    package = importlib.import_module(name)
    imports = {
        alias.name: node.module
        for node in ast.walk(ast.parse((folder(name) / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(name)
        for alias in node.names
    }
    assert sorted(imports) == sorted(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for export, module in imports.items():
        assert module is not None
        assert getattr(package, export) is getattr(importlib.import_module(module), export)


@each_package
def test_no_module_has_the_name_of_an_export(name: str) -> None:
    """The import of a module would replace the export."""
    modules = {path.stem for path in folder(name).glob("*.py")}
    assert modules & set(importlib.import_module(name).__all__) == set()


@each_package
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'magic'"):
        _ = importlib.import_module(name).magic


def imported_with_the_module(node: ast.AST) -> Iterator[str]:
    """Top-level packages that are imported when a module is, without functions and type checks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module.split(".")[0]
        elif isinstance(child, ast.FunctionDef) or ast.unparse(child).startswith(
            "if TYPE_CHECKING:"
        ):
            continue
        else:
            yield from imported_with_the_module(child)


@each_package
def test_slow_libraries_are_imported_by_the_functions_that_use_them(name: str) -> None:
    paths = sorted(folder(name).glob("*.py"))
    assert len(paths) > 5
    for path in paths:
        assert not SLOW & set(imported_with_the_module(ast.parse(path.read_text()))), path


@pytest.mark.parametrize("name", ["medscore.nets", "medscore.priors.importers"])
def test_all_networks_and_importers_can_be_imported_without_slow_libraries(name: str) -> None:
    modules = [f"{name}.{path.stem}" for path in folder(name).glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({SLOW} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
