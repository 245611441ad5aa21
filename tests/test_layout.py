"""The layout: no cyclic or upward imports, few loose files, no package inside itself."""

import importlib.util
import pkgutil
from pathlib import Path

import pytest
from scripts import script

import medscore

ROOT = Path(__file__).resolve().parent.parent


graph = script("import_graph")


def test_no_cycle_of_files_or_folders() -> None:
    found = graph.import_graph()
    assert len(found) > 200
    assert graph.cycles(found) == []
    assert graph.cycles(graph.folders(found)) == []


def test_no_import_goes_upwards() -> None:
    assert graph.upward(graph.import_graph()) == []


def test_every_folder_has_its_layer() -> None:
    named = [name for names in graph.LAYERS for name in names]
    assert len(named) == len(set(named))
    assert set(graph.folders(graph.import_graph())) == set(named)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("added", "cycle", "up"),
    [
        ({"medscore.errors": "medscore.cli.app"}, True, True),
        ({"medscore.operators.base": "medscore.operators.store"}, True, False),
        ({"medscore.sdes.base": "medscore.metrics.card"}, False, False),
        ({"medscore.nets.unet": "medscore.registry.table"}, False, True),
    ],
)
def test_planted_imports_are_found(added: dict[str, str], cycle: bool, up: bool) -> None:
    found = graph.import_graph()
    for module, target in added.items():
        found[module].add(target)
    assert bool(graph.cycles(found)) == cycle
    assert bool(graph.upward(found)) == up


def test_few_files_are_loose() -> None:
    assert len(graph.loose()) <= 10


def test_the_package_does_not_contain_itself() -> None:
    assert importlib.util.find_spec("medscore.medscore") is None
    assert importlib.util.find_spec("medscore.tests") is None
    names = [m.name for m in pkgutil.walk_packages(medscore.__path__, "medscore.")]
    assert len(names) == len(set(names))
    for folder in ("operators", "datasets", "configs"):
        spec = importlib.util.find_spec(f"medscore.{folder}")
        assert spec is not None
        assert spec.origin == str(ROOT / folder / "__init__.py")
