"""Write the type stubs of the packages of methods: one line for each class that they define.

Run it after adding a sampler, a conditioner or a baseline; a test fails until then.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "medscore/samplers": r"Sampler\b",
    "medscore/conditioners": r"Conditioner\b",
    "medscore/reconstruction/baselines": r"Baseline\b",
}
"""Packages by folder, and the base of the classes that they export."""

ALWAYS = {
    "medscore/samplers": {
        "base": ("Memory", "Sampler"),
        "grids": (
            "Grid", "angular", "focused", "geometric", "karras", "ladder", "log_snr", "uniform",
        ),
    },
    "medscore/conditioners": {"base": ("Conditioner",), "binding": ("bind",)},
    "medscore/reconstruction/baselines": {
        "base": ("Baseline", "BaselineMethod"), "build": ("baseline",), "methods": ("BASELINES",),
    },
}  # fmt: skip
"""Other names that they export, by module."""

HEAD = '"""Types of the public names of this package, which are imported when first used."""\n\n'
WIDTH = 100


def stub(folder: str, root: Path = ROOT) -> str:
    """The text of ``__init__.pyi`` of a package.

    Args:
        folder: the package, from the root of the repository.
        root: the repository.
    """
    lines = []
    for path in sorted((root / folder).glob("*.py")):
        names = list(ALWAYS[folder].get(path.stem, ()))
        names += [
            node.name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef)
            and not node.name.startswith("_")
            and any(re.search(PACKAGES[folder], ast.unparse(base)) for base in node.bases)
        ]
        if names and path.stem != "__init__":
            lines.append(_line(path.stem, sorted(set(names), key=_order)))
    return HEAD + "\n".join(lines) + "\n"


def _order(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions, as ruff sorts them."""
    return not name.isupper(), name[0].islower(), name


def _line(module: str, names: list[str]) -> str:
    parts = [f"{name} as {name}" for name in names]
    line = f"from .{module} import {', '.join(parts)}"
    if len(line) <= WIDTH:
        return line
    return f"from .{module} import (\n" + "".join(f"    {part},\n" for part in parts) + ")"


if __name__ == "__main__":
    for package in PACKAGES:
        (ROOT / package / "__init__.pyi").write_text(stub(package))
