"""Foreign files as plain tensors and settings, without executing anything in them.

This is the only place in the package that reads pickles, and only those of torch, by its
weights-only unpickler: it builds tensors, containers and numbers and refuses everything else.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.budget import check_memory
from medscore.io.json_files import parse_json
from medscore.io.opening import file_sha256, open_file, read_bytes
from medscore.io.yaml_files import SIZE, parse_yaml


@dataclass(frozen=True)
class Source:
    """A foreign checkpoint and the configurations that belong to it.

    Attributes:
        path: the file of the weights.
        content: the content of that file.
        config: configuration of the network, with its library's names; None if there is none.
        scheduler: configuration of the noise schedule, with its library's names; None if there is
            none.
    """

    path: Path
    content: object
    config: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None


def read_content(path: Path) -> object:
    """The content of a safetensors file or a torch checkpoint, on the CPU.

    Args:
        path: file to read.

    Raises:
        MedscoreError: the file does not exist, is damaged, or is a pickle that holds more than
            tensors and plain values or that this version of torch does not read safely.
    """
    with open_file(path, hint="give a checkpoint file or a diffusers folder") as file:
        check_memory(os.fstat(file.fileno()).st_size, path, "weights")
        head = file.read(9)
    if head[8:] == b"{":  # safetensors: a length in eight bytes, then JSON
        try:
            return load_file(path)
        except SafetensorError as error:
            raise MedscoreError(
                f"a damaged safetensors file ({error})", where=path, hint="fetch it again"
            ) from error
    if not _safe_unpickler():
        raise MedscoreError(
            f"is a pickle, which torch {torch.__version__} does not read safely", where=path,
            hint="update torch to 2.6 or later, or save the weights as safetensors",
        )  # fmt: skip
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            check_memory(size, path, "weights")
        return torch.load(path, map_location="cpu", weights_only=True)
    except MedscoreError:
        raise
    except Exception as error:  # damaged and hostile files raise errors of any type
        raise _refusal(path, error) from None


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file.

    Args:
        path: file to read.

    Raises:
        MedscoreError: the file does not exist, or holds no mapping.
    """
    hint = "see the examples in docs/import.md"
    content = read_bytes(path, hint=hint, most=SIZE)
    try:
        settings = parse_json(content)
    except ValueError:  # JSON first, since YAML reads 1e-4 as a string
        settings = parse_yaml(content, path, hint=hint)
    if not isinstance(settings, dict):
        raise MedscoreError("no mapping of keys to values", where=path, hint=hint)
    return settings


def state_dict(source: Source) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the prefix ``module.`` of parallel training.

    They are the whole content, or the one dictionary of tensors within it.

    Args:
        source: the checkpoint.

    Raises:
        MedscoreError: there is no dictionary of tensors, or more than one.
    """
    content = source.content
    entries = {"": content, **content} if isinstance(content, Mapping) else {}
    found = {str(key): value for key, value in entries.items() if _are_tensors(value)}
    if len(found) != 1:
        what = f"several networks: {first_names(sorted(found))}" if found else "no tensors by name"
        raise MedscoreError(
            f"holds {what}", where=source.path, hint="save the state_dict() of the one to import"
        )
    (weights,) = found.values()
    size = sum(value.numel() for value in weights.values())  # a view can repeat few numbers
    check_memory(4 * size, source.path, "weights")
    start = "module." if all(name.startswith("module.") for name in weights) else ""
    return {name.removeprefix(start): value for name, value in weights.items()}


def sha256(path: Path) -> str:
    """The sha256 of a file.

    Args:
        path: file to read.
    """
    return file_sha256(path)


def first_names(names: Sequence[str]) -> str:
    """The first three names of a list and, if there are more, their number.

    Args:
        names: the list.
    """
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def _safe_unpickler() -> bool:
    """True from torch 2.6 on: before, weights-only files could execute code (CVE-2025-32434)."""
    major, minor = torch.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (2, 6)


def _are_tensors(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _refusal(path: Path, error: Exception) -> MedscoreError:
    """The error for a torch checkpoint that could not be read."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return MedscoreError(
            f"a pickle that asks for {named[1]}: only tensors and plain values are read, "
            "nothing was executed",
            where=path,
            hint="if you trust the file, load it with its original library and save the network's "
            "state_dict() alone",
        )
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return MedscoreError(
        f"neither safetensors nor a torch checkpoint of plain tensors ({reason})",
        where=path,
        hint="give the .safetensors, .pth or .pt file of the weights",
    )
