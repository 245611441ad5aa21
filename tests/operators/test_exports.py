"""The public names of ``medscore.operators``."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medscore.operators

SOURCE = Path(str(medscore.operators.__file__))


def test_importing_the_package_does_not_import_torch() -> None:
    code = (
        "import sys, medscore.operators\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "medscore.operators.Radon\n"
        "assert 'torch' in sys.modules\n"
    )
    root = SOURCE.parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_every_public_name_is_the_object_of_its_module() -> None:
    for name in medscore.operators.__all__:
        value = getattr(medscore.operators, name)
        assert value.__name__ == name
        assert value.__module__.startswith("medscore.operators.")
    assert set(medscore.operators.__all__) <= set(dir(medscore.operators))


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(SOURCE.read_text())
    (guard,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) == set(medscore.operators.__all__)
    for name, module in seen.items():
        assert getattr(medscore.operators, name).__module__ == module


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Sonar'"):
        medscore.operators.Sonar  # noqa: B018
