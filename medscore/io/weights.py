"""Weights on disk with a contract as a JSON header: safetensors, hashed, written atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write

Contract = TypeVar("Contract", bound=BaseModel)


@dataclass(frozen=True)
class Kind(Generic[Contract]):
    """What sort of weights a file holds.

    Attributes:
        format: named in the header. contract: type of the header. what: in words, as "prior".
        where_from: the hint where there is no such file. made_by: the command that writes it.
        renew: the hint of a broken header.
    """

    format: str
    contract: type[Contract]
    what: str
    where_from: str
    made_by: str
    renew: str


@dataclass(frozen=True)
class Stored(Generic[Contract]):
    """A file's content: the contract, the stored hash and the weights."""

    contract: Contract
    sha256: str
    weights: dict[str, Tensor]


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(
    path: Path, kind: Kind[Contract], contract: Contract, weights: Mapping[str, Tensor]
) -> None:
    """Write weights with the contract, atomically: matrices and kernels as float16 (a relative
    rounding of 5e-4), what has one axis (biases, scales, frequencies of features) as float32.
    """
    kept = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    half = {k: v.to(torch.float16 if v.ndim > 1 else torch.float32) for k, v in kept.items()}
    header = {
        "format": kind.format,
        "contract": contract.model_dump_json(),
        "sha256": weights_hash(half),
    }
    atomic_write(path, save(half, metadata=header))


def read_weights(path: Path, kind: Kind[Contract]) -> Stored[Contract]:
    """Read a file and check its header.

    Raises:
        MedscoreError: no such file, not safetensors, another format, or a header that breaks the
            contract's schema.
    """
    if not path.is_file():
        raise MedscoreError(f"no such {kind.what}", where=path, hint=kind.where_from)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != kind.format:
                raise MedscoreError(
                    f"format is {header.get('format')!r}, expected {kind.format!r}",
                    where=path,
                    hint=f"use a checkpoint written by {kind.made_by}",
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MedscoreError(
            f"not a safetensors file ({error})",
            where=path,
            hint="only safetensors checkpoints are read; pickled ones are refused",
        ) from error
    try:
        contract = kind.contract.model_validate(json.loads(header["contract"]))
    except (KeyError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"broken data contract ({reason})", where=path, hint=kind.renew
        ) from error
    return Stored(contract, header.get("sha256", ""), weights)


def check_hash(path: Path, stored: Stored[Contract]) -> None:
    """Refuse weights that are not those the header names.

    Raises:
        MedscoreError: the hash differs.
    """
    actual = weights_hash(stored.weights)
    if actual != stored.sha256:
        raise MedscoreError(
            f"weights hash to {actual[:12]}, header says {stored.sha256[:12] or 'nothing'}",
            where=path,
            hint="the file is damaged or was altered: fetch it again",
        )


def fill_network(network: nn.Module, stored: Stored[Contract], path: Path) -> None:
    """Load a file's weights into a network.

    Raises:
        MedscoreError: they do not fit it; ``path`` is the file.
    """
    try:
        network.load_state_dict({k: v.float() for k, v in stored.weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"weights do not fit the network of the contract ({reason})",
            where=path,
            hint="the checkpoint is of another network",
        ) from error
