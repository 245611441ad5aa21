"""What outputs say about their inputs: no folders, because their names often name a person.

Outputs state the hash of an input's content. The relative patterns of a configuration are its
author's words and are kept; an absolute path, or one that leaves the data folder, is reduced to the
ending of its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import yaml

from medscore.errors import MedscoreError
from medscore.io.opening import read_bytes
from medscore.io.yaml_files import parse_yaml

_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]")
_ENDING = re.compile(r"(\.[A-Za-z0-9]{1,11}){1,2}$")


def without_folder(pattern: str) -> str:
    """A pattern of files, or of a collection, that names no folder outside the data folder.

    Args:
        pattern: as in a configuration: ``ct/*.nii.gz``, ``lidc:FOLDER@0-0.9`` or an absolute path.

    Returns:
        Relative patterns as they are; of others the ending of the files, as ``.../*.nii.gz``.
    """
    kind, colon, rest = pattern.partition(":")
    prefix = f"{kind}:" if colon and len(kind) > 1 else ""  # C: is no collection
    path = rest if prefix else pattern
    if not is_outside(path):
        return pattern
    ending = _ENDING.search(PurePath(path.replace("\\", "/")).name)
    share = re.search(r"@[0-9.]+-[0-9.]+$", path)
    if prefix:
        return f"{prefix}...{share[0] if share else ''}"
    return f".../*{ending[0] if ending else ''}"


def is_outside(path: str) -> bool:
    """True for a path that is absolute or leaves the folder that it is relative to.

    Args:
        path: a path or a pattern.
    """
    return bool(_OUTSIDE.match(path)) or ".." in re.split(r"[/\\]", path)


def without_folders(configuration: Path) -> str:
    """The text of a YAML file whose values name no folder outside the data folder.

    Args:
        configuration: a valid YAML file.

    Returns:
        The text with such values reduced (:func:`without_folder`). Its comments are kept, unless a
        value is written in a form that only a YAML parser can replace.
    """
    raw, hint = read_bytes(configuration), "check the file"
    text, content = raw.decode("utf-8-sig"), parse_yaml(raw, configuration, hint=hint)
    for value in sorted(set(_texts(content)), key=len, reverse=True):
        text = text.replace(value, without_folder(value))
    with suppress(MedscoreError):  # a text that the replacement broke
        if parse_yaml(text.encode(), configuration, hint=hint) == _reduced(content):
            return text
    return yaml.safe_dump(_reduced(content), sort_keys=False)


def _texts(content: Any) -> Iterator[str]:
    """All texts among the values of a configuration that stand for places outside."""
    if isinstance(content, str):
        if without_folder(content) != content:
            yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _reduced(content: Any) -> Any:
    if isinstance(content, str):
        return without_folder(content)
    if isinstance(content, dict):
        return {key: _reduced(value) for key, value in content.items()}
    return [_reduced(value) for value in content] if isinstance(content, list) else content
