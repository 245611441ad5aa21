"""The import graph of the library, from the source alone: modules, layers, cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("operators", "datasets", "configs")
"""Folders of the repository that are installed as subpackages of medscore."""

LAYERS = (
    ("errors", "types", "numeric", "hounsfield", "configs"),
    ("white_noise", "io", "metrics", "parameters", "uncertainty.low_rank", "uncertainty.blocks"),
    ("uncertainty.learned",),
    ("domain", "sdes", "nets", "operators", "datasets"),
    ("measurements", "priors"),
    ("uncertainty",),
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
"""From the ground up; a module may import from its own folder and from lower layers only. A file
named with its folder lies in a lower layer than the folder's others."""

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


@dataclass(frozen=True)
class Library:
    """The modules of the library, and the modules behind the names of its packages.

    Attributes:
        paths: the file of each module.
        faces: for each package, the module and name that ``__init__.pyi`` states for each name.
    """

    paths: dict[str, Path]
    faces: dict[str, dict[str, tuple[str, str]]]

    @classmethod
    def read(cls, root: Path = ROOT) -> Library:
        """The library of a repository.

        Args:
            root: the repository.
        """
        paths = modules(root)
        stubs = {name: path.with_suffix(".pyi") for name, path in paths.items()}
        return cls(
            paths, {name: _face(name, stub) for name, stub in stubs.items() if stub.is_file()}
        )

    def home(self, module: str, name: str) -> str | None:
        """The module that defines a name of a module; None if it is not of the library.

        Args:
            module: the module that the name is imported from.
            name: the name, which may be a module of a package.
        """
        seen = set()
        while (module, name) not in seen:
            seen.add((module, name))
            if f"{module}.{name}" in self.paths:
                return f"{module}.{name}"
            module, name = self.faces.get(module, {}).get(name, (module, name))
        return module if module in self.paths else None

    def package(self, module: str) -> str:
        """The package whose names ``from . import`` finds in a module.

        Args:
            module: name of the module.
        """
        path = self.paths.get(module)
        return module if path and path.stem == "__init__" else module.rpartition(".")[0]


def import_graph(root: Path = ROOT) -> Graph:
    """The modules that each module imports, at the top, inside functions, or by a string.

    Args:
        root: the repository.
    """
    library = Library.read(root)
    return {name: imports(name, path.read_text(), library) for name, path in library.paths.items()}


def imports(name: str, source: str, library: Library) -> set[str]:
    """The modules of the library that a module depends on.

    A name of a package counts as the module that defines it, and so does a string such as
    ``"medscore.samplers.ddim:DDIM"``, written at once or as a constant prefix and the rest.

    Args:
        name: name of the module.
        source: its text.
        library: the modules and their names.
    """
    tree = ast.parse(source)
    found = set(_imported(tree, library.package(name), library))
    found |= set(_attributes(tree, library.package(name), library))
    found |= set(_strings(tree, library))
    return found - {name}


def _face(package: str, stub: Path) -> dict[str, tuple[str, str]]:
    """The module and the name there of each name that a package's stub states."""
    return {
        alias.asname or alias.name: (_source(node, package), alias.name)
        for node in ast.walk(ast.parse(stub.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _source(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _imported(tree: ast.Module, package: str, library: Library) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in library.paths)
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, package)
            for alias in node.names:
                every = library.faces.get(source, {}) if alias.name == "*" else ()
                found = [library.home(source, name) for name in (alias.name, *every)]
                yield from (home for home in found if home)


def _attributes(tree: ast.Module, package: str, library: Library) -> Iterator[str]:
    """The modules behind attributes of packages, as in ``medscore.reconstruct``."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, package)
            bound |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            value = _dotted(node.value, bound)
            if value in library.faces and (home := library.home(value, node.attr)) != value:
                yield from [home] if home else []


def _dotted(node: ast.expr, bound: dict[str, str]) -> str:
    """The full name of the module that an expression may stand for; empty if none."""
    if isinstance(node, ast.Name):
        return bound.get(node.id, "")
    if isinstance(node, ast.Attribute) and (value := _dotted(node.value, bound)):
        return f"{value}.{node.attr}"
    return ""


def _strings(tree: ast.Module, library: Library) -> Iterator[str]:
    """The modules that strings name, alone or behind a constant prefix."""
    prefixes = dict(_constants(tree))
    for node in ast.walk(tree):
        text = _text(node, prefixes).partition(":")[0].rstrip(".")
        if "." in text and text in library.paths:
            yield text


def _text(node: ast.AST, prefixes: dict[str, str]) -> str:
    """The text of a string, or of a sum of strings and constants; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return prefixes.get(node.id, "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, prefixes) + _text(node.right, prefixes)
    return ""


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names and texts of the constants of a module, such as ``_S, _G = "a.", "b."``."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            values = _members(node.value)
            for target in node.targets:
                for to, value in zip(_members(target), values, strict=False):
                    if isinstance(to, ast.Name) and isinstance(value, ast.Constant):
                        yield to.id, str(value.value)


def _members(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


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
    """The folder or loose file below ``medscore``, or a file with a layer of its own; empty for the
    package itself.
    """
    parts = module.split(".")
    alone = ".".join(parts[1:3])
    if any(alone in names for names in LAYERS):
        return alone
    return parts[1] if len(parts) > 1 else ""
