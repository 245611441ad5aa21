"""JSON files; the one reader has limits on size and depth, and takes no NaN and no double keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from medscore.errors import reading
from medscore.io.opening import read_bytes
from medscore.io.yaml_files import INTEGER

SIZE = 2**28
"""Largest size of a JSON file in bytes."""


def read_json(path: str | os.PathLike[str], *, hint: str = "", most: int = SIZE) -> Any:
    """Read a JSON file.

    Args:
        path: file to read.
        hint: what the user can do if it is not valid.
        most: largest size in bytes.

    Raises:
        MedscoreError: there is no such file, it is no regular file, or it is not valid JSON.
    """
    content = read_bytes(path, most=most)
    with reading("JSON", Path(path), hint):
        return parse_json(content.decode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file into a folder that is not finished yet.

    Args:
        path: file to write.
        content: its content, without NaN and infinity.
    """
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_object(path: str | os.PathLike[str], *, hint: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object, such as a record.

    Args:
        path: file to read.
        hint: what the user can do if it is not valid.

    Raises:
        MedscoreError: as :func:`read_json`, or it holds something else.
    """
    with reading("JSON", Path(path), hint):
        return _object(read_json(path, hint=hint))


def parse_object(text: str | bytes, *, finite: bool = True) -> dict[str, Any]:
    """The object of a JSON text.

    Args:
        text: the text.
        finite: see :func:`parse_json`.

    Raises:
        ValueError: as :func:`parse_json`, or it is something else, such as a list.
    """
    return _object(parse_json(text, finite=finite))


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: the text, such as the header of a file.
        finite: whether to refuse NaN and infinity, which Python writes and JSON does not have.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds NaN, infinity, an integer of more
            than 64 bits, or a key twice.
    """
    try:
        return json.loads(
            text, parse_constant=_constant if finite else None, parse_int=_integer,
            object_pairs_hook=_mapping,
        )  # fmt: skip
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it holds no object with names and values")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text) > 21 or abs(int(text)) >= INTEGER:
        raise ValueError("an integer of more than 64 bits")
    return int(text)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return found
