"""The import graph of the library, from the source alone: modules, layers, cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("operators", "datasets", "configs")
"""Folders of the repository that are installed as subpackages of medscore."""

LAYERS = (
    ("errors", "types", "hounsfield", "parameters"),
    ("white_noise", "io", "metrics"),
    ("domain", "sdes", "nets", "operators", "datasets", "configs"),
    ("measurements", "priors"),
    ("samplers", "objectives"),
    ("conditioners",),
    ("engine", "registry"),
    ("likelihood",),
    ("generation", "reconstruction"),
    ("training", "evaluation"),
    ("tuning",),
    ("api",),
    ("cli",),
    ("__main__",),
)
"""From the ground up; a module may import from its own folder and from lower layers only."""

Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Files of the library by module name.

    Args:
        root: the repository.
    """
    found = {}
    for top in ("medscore", *BESIDE):
        for path in sorted((root / top).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            parts = parts if top == "medscore" else ["medscore", *parts]
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = path
    return found


def import_graph(root: Path = ROOT) -> Graph:
    """The modules that each module imports, at the top or inside functions.

    Args:
        root: the repository.
    """
    known = modules(root)
    return {name: set(_imports(path, known)) - {name} for name, path in known.items()}


def _imports(path: Path, known: Iterable[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known:
                    yield full
                elif node.module in known:
                    yield node.module


def folders(graph: Graph) -> Graph:
    """The graph between the folders and loose files of the package.

    Args:
        graph: the graph between modules.
    """
    found: Graph = {}
    for module, targets in graph.items():
        own = found.setdefault(_top(module), set())
        own |= {_top(target) for target in targets} - {_top(module), ""}
    found.pop("", None)
    return found


def cycles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of two nodes or more (Tarjan 1972).

    Args:
        graph: the nodes that each node points to.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def upward(graph: Graph) -> list[tuple[str, str]]:
    """Imports of a folder or file of the same or a higher layer.

    Args:
        graph: the graph between modules.
    """
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    return sorted(
        (module, target)
        for module, targets in graph.items()
        for target in targets
        if _top(module)
        and _top(target) not in ("", _top(module))
        and height[_top(target)] >= height[_top(module)]
    )


def loose(root: Path = ROOT) -> list[str]:
    """Names of the files directly in ``medscore/``.

    Args:
        root: the repository.
    """
    return sorted(path.name for path in (root / "medscore").glob("*.py"))


def _top(module: str) -> str:
    """The folder or loose file below ``medscore``; empty for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""
