"""Foreign files as plain tensors and plain settings; nothing in them is ever executed.

The one place of the package that reads pickles, and only torch's, by its weights-only unpickler:
tensors, containers and numbers come through, anything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medscore.errors import MedscoreError


@dataclass(frozen=True)
class Source:
    """What was found where the user pointed.

    Attributes:
        path: the file of the weights.
        content: what is in it. config: of the network; scheduler: of the noise; as its library
            names them, ``None`` where there is none.
    """

    path: Path
    content: object
    config: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None


def read_content(path: Path) -> object:
    """The tensors of a safetensors file or of a torch checkpoint, on the CPU.

    Raises:
        MedscoreError: no such file, damaged, or a pickle of more than tensors and plain values.
    """
    if not path.is_file():
        raise MedscoreError(
            "no such file", where=path, hint="give a checkpoint file or a diffusers folder"
        )
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # safetensors: a length in eight bytes, then JSON
        try:
            return load_file(path)
        except SafetensorError as error:
            raise MedscoreError(
                f"a damaged safetensors file ({error})", where=path, hint="fetch it again"
            ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file can provoke
        raise _refused(path, error) from None


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON or YAML mapping.

    Raises:
        MedscoreError: no such file, or something else in it.
    """
    try:
        text = path.read_text()
        try:
            settings = json.loads(text)
        except ValueError:  # YAML, which takes JSON's 1e-4 for a word
            settings = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedscoreError(
            f"cannot be read as JSON or YAML ({str(error).splitlines()[0]})",
            where=path,
            hint="see docs/import.md for working ones",
        ) from error
    if not isinstance(settings, dict):
        raise MedscoreError("no mapping of keys to values", where=path, hint="see docs/import.md")
    return settings


def state_dict(source: Source) -> dict[str, Tensor]:
    """Tensors by name: the content, or the one such dictionary that a training script put in it,
    without the prefix ``module.`` of parallel training.

    Raises:
        MedscoreError: there are no tensors by name, or several dictionaries of them.
    """
    content = source.content
    held = {"": content, **content} if isinstance(content, Mapping) else {}
    found = {str(key): value for key, value in held.items() if _are_tensors(value)}
    if len(found) != 1:
        what = f"several networks: {some(sorted(found))}" if found else "no tensors by name"
        raise MedscoreError(
            f"holds {what}", where=source.path, hint="save the state_dict() of the one to import"
        )
    (weights,) = found.values()
    start = "module." if all(name.startswith("module.") for name in weights) else ""
    return {name.removeprefix(start): value for name, value in weights.items()}


def _are_tensors(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def some(names: list[str]) -> str:
    """The first three of a list, and how many there are."""
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def _refused(path: Path, error: Exception) -> MedscoreError:
    """Why a torch checkpoint was not read, on one line."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return MedscoreError(
            f"a pickle that asks for {named[1]}: only tensors and plain values are read, "
            "nothing was executed",
            where=path,
            hint="save the network's state_dict() alone, where the file comes from and is trusted",
        )
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return MedscoreError(
        f"neither safetensors nor a torch checkpoint of plain tensors ({reason})",
        where=path,
        hint="give the .safetensors, .pth or .pt file of the weights",
    )
