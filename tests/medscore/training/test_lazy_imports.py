"""Slow libraries are imported by the functions that use them, not with the modules."""

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


def folder(name: str) -> Path:
    return Path(str(importlib.import_module(name).__file__)).parent


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


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_imports_a_slow_library_by_itself(name: str) -> None:
    paths = sorted(folder(name).glob("*.py"))
    assert len(paths) > 5
    for path in paths:
        assert not SLOW & set(imported_with_the_module(ast.parse(path.read_text()))), path


@pytest.mark.process
@pytest.mark.parametrize("name", ["medscore.nets", "medscore.priors.importers"])
def test_all_networks_and_importers_can_be_imported_without_slow_libraries(name: str) -> None:
    modules = [f"{name}.{path.stem}" for path in folder(name).glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({SLOW} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)
