"""Configurations that ship with medscore, found by their names."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import is_regular, is_there, regular_file


def config_path(config: str | Path, *kinds: str) -> Path:
    """The file of a configuration given by its path or by a shipped one's name.

    Args:
        config: path of a YAML file, or the name of a shipped configuration.
        kinds: folders of ``configs`` that are searched for the name, such as "train".

    Raises:
        MedscoreError: it is neither.
    """
    path = Path(config)
    if is_regular(path):
        return path
    folder = Path(str(files("medscore.configs")))
    shipped = {file.stem: file for kind in kinds for file in sorted((folder / kind).glob("*.yaml"))}
    if str(config) in shipped:
        return shipped[str(config)]
    if not is_there(path) and path.parent.name in ("", *kinds) and path.suffix == ".yaml":
        named = shipped.get(path.stem)  # as in a checkout: configs/train/ct-128.yaml
        if named is not None and path.parent.parent.name in ("", "configs"):
            return named
    if is_there(path):
        return regular_file(path, "configuration")
    raise MedscoreError(
        "no such configuration",
        where=path,
        hint=f"use a YAML file, or one of: {', '.join(shipped)}",
    )
