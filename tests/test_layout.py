"""The layout: no cyclic or upward imports, few loose files, no package inside itself."""

import importlib.util
import pkgutil
from pathlib import Path
from typing import Any, cast

import pytest
from scripts import script

import medscore

ROOT = Path(__file__).resolve().parent.parent


graph = script("import_graph")


@pytest.fixture(scope="module")
def library() -> Any:
    return graph.Library.read()


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """The modules that each module imports."""
    return cast("dict[str, set[str]]", graph.import_graph())


def test_no_cycle_of_files_or_folders(found: dict[str, set[str]]) -> None:
    assert len(found) > 200
    assert graph.cycles(found) == []
    assert graph.cycles(graph.folders(found)) == []


def test_no_import_goes_upwards(found: dict[str, set[str]]) -> None:
    assert graph.upward(found) == []


def test_every_folder_has_its_layer(found: dict[str, set[str]]) -> None:
    named = [name for names in graph.LAYERS for name in names]
    assert len(named) == len(set(named))
    assert set(graph.folders(found)) == set(named)


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("sdes.base", "from medscore.sdes.linear import VE", "sdes.linear"),
        ("sdes.base", "from ..engine.loop import sample", "engine.loop"),
        ("sdes.base", "from .linear import VE", "sdes.linear"),
        ("sdes.base", "from . import linear", "sdes.linear"),
        ("sdes.base", "from . import VE", "sdes.linear"),
        ("sdes.base", "from .. import reconstruct", "reconstruction.run"),
        ("sdes", "from .linear import VE", "sdes.linear"),
        ("operators.base", "from .linear import LinearOperator", "operators.linear"),
        ("sdes.base", "from medscore.sdes import VE", "sdes.linear"),
        ("sdes.base", "from medscore.sdes import *", "sdes.linear"),
        ("sdes.base", "def late():\n    from medscore.sdes import VE as V", "sdes.linear"),
        ("sdes.base", "from medscore import reconstruct", "reconstruction.run"),
        ("sdes.base", "import medscore\nmedscore.reconstruct(1)", "reconstruction.run"),
        ("sdes.base", "import medscore as m\nm.reconstruct(1)", "reconstruction.run"),
        ("sdes.base", "import medscore.errors\nmedscore.sdes.VE()", "sdes.linear"),
        ("sdes.base", "from medscore import sdes\nsdes.VE()", "sdes.linear"),
        ("sdes.base", "A = {'ddim': 'medscore.samplers.ddim:DDIM'}", "samplers.ddim"),
        ("sdes.base", "A = 'medscore.samplers.'\nB = A + 'ddim:DDIM'", "samplers.ddim"),
        ("sdes.base", "A, B = 1, 'medscore.samplers.'\nC = B + 'ddim'", "samplers.ddim"),
        ("sdes.base", "load(f'medscore.samplers.{name}')", "samplers"),
        ("sdes.base", "importlib.import_module('medscore.cli.app')", "cli.app"),
    ],
)
def test_every_way_to_import_is_seen(library: Any, module: str, source: str, target: str) -> None:
    assert f"medscore.{target}" in graph.imports(f"medscore.{module}", source, library)


@pytest.mark.parametrize(
    "source",
    [
        "import medscore\nprint(medscore.__version__)",
        "from torch import nn\nnn.linear",
        "'medscore'",
        "'see medscore.samplers.ddim'",
        "self.reconstruct()",
    ],
)
def test_nothing_else_is_an_import(library: Any, source: str) -> None:
    assert graph.imports("medscore.sdes.base", source, library) <= {"medscore"}


@pytest.mark.parametrize(
    ("module", "source", "cycle", "up"),
    [
        ("errors", "from .cli import app", True, True),
        ("operators.base", "from medscore.operators import store", True, False),
        ("sdes.base", "from medscore.sdes import VE", True, False),
        ("sdes.base", "import medscore\nmedscore.reconstruct", True, True),
        ("samplers.base", "from .ddim import DDIM", True, False),
        ("samplers.base", "A = 'medscore.samplers.ddim:DDIM'", True, False),
        ("sdes.base", "A = 'medscore.samplers.' + name", False, True),
        ("sdes.base", "from medscore.metrics.card import x", False, False),
        ("nets.unet", "from ..registry import table", False, True),
    ],
)
def test_planted_imports_are_found(
    library: Any, found: dict[str, set[str]], module: str, source: str, cycle: bool, up: bool
) -> None:
    name = f"medscore.{module}"
    planted = {**found, name: found[name] | graph.imports(name, source, library)}
    assert bool(graph.cycles(planted)) == cycle
    assert bool(graph.upward(planted)) == up


def test_every_slow_case_is_a_test(stale_cases: list[str]) -> None:
    assert stale_cases == [], "correct or remove these lines of tests/slow_cases.txt"


def test_few_files_are_loose() -> None:
    assert len(graph.loose()) <= 10


def test_the_package_does_not_contain_itself() -> None:
    assert importlib.util.find_spec("medscore.medscore") is None
    assert importlib.util.find_spec("medscore.tests") is None
    walked = {"medscore": list(medscore.__path__)}
    for folder in graph.BESIDE:
        spec = importlib.util.find_spec(f"medscore.{folder}")
        assert spec is not None
        installed = Path(medscore.__path__[0]) / folder
        if not installed.is_dir():  # a checkout, where the folder lies beside medscore/
            assert spec.origin == str(ROOT / folder / "__init__.py")
            walked[f"medscore.{folder}"] = list(spec.submodule_search_locations or [])
        assert importlib.util.find_spec(f"medscore.{folder}.medscore") is None
    names = [m.name for top, path in walked.items() for m in pkgutil.walk_packages(path, f"{top}.")]
    assert len(names) == len(set(names))
    assert {f"medscore.{folder}.base" for folder in ("operators", "sdes")} <= set(names)
    assert not [name for name in names if {"medscore", "tests"} & set(name.split(".")[1:])]
