"""Weights in safetensors with a contract as JSON header: hashed, written atomically."""

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
    """Kind of weights that a file holds.

    Attributes:
        format: identifier in the header.
        contract: type of the contract in the header.
        what: the kind in words, such as "prior".
        where_from: hint where the file does not exist.
        made_by: command that writes such files.
        renew: hint where the header is invalid.
    """

    format: str
    contract: type[Contract]
    what: str
    where_from: str
    made_by: str
    renew: str


@dataclass(frozen=True)
class WeightsFile(Generic[Contract]):
    """Content of a file of weights.

    Attributes:
        contract: contract in the header.
        sha256: hash of the weights, as the header states it.
        weights: tensors by name.
    """

    contract: Contract
    sha256: str
    weights: dict[str, Tensor]


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of the names.

    Args:
        weights: tensors by name.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(
    path: str | Path, kind: Kind[Contract], contract: Contract, weights: Mapping[str, Tensor]
) -> None:
    """Write weights with their contract, atomically.

    Matrices and kernels are stored as float16 (a relative rounding of 5e-4), tensors with one axis
    (biases, scales, frequencies of features) as float32.

    Args:
        path: file to write.
        kind: kind of the weights.
        contract: contract for the header.
        weights: tensors by name.

    Raises:
        MedscoreError: the folder cannot be written.
    """
    kept = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    half = {k: v.to(torch.float16 if v.ndim > 1 else torch.float32) for k, v in kept.items()}
    header = {
        "format": kind.format,
        "contract": contract.model_dump_json(),
        "sha256": weights_hash(half),
    }
    atomic_write(path, save(half, metadata=header))


def read_weights(path: str | Path, kind: Kind[Contract]) -> WeightsFile[Contract]:
    """Read a file of weights and validate its header.

    Args:
        path: safetensors file.
        kind: expected kind of the weights.

    Raises:
        MedscoreError: there is no such file, it is not safetensors or of another format, or its
            contract is invalid.
    """
    path = Path(path)
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
    return WeightsFile(contract, header.get("sha256", ""), weights)


def check_hash(path: str | Path, stored: WeightsFile[Contract]) -> None:
    """Refuse weights whose hash differs from that in the header.

    Args:
        path: file to name in the error.
        stored: its content.

    Raises:
        MedscoreError: the hashes differ.
    """
    actual = weights_hash(stored.weights)
    if actual != stored.sha256:
        raise MedscoreError(
            f"the weights hash to {actual[:12]}, the header states {stored.sha256[:12] or 'none'}",
            where=path,
            hint="the file is damaged or was altered: fetch it again",
        )


def fill_network(network: nn.Module, stored: WeightsFile[Contract], path: str | Path) -> None:
    """Load the weights of a file into a network.

    Args:
        network: network of the contract.
        stored: content of the file.
        path: file to name in the error.

    Raises:
        MedscoreError: the weights do not fit the network.
    """
    try:
        network.load_state_dict({k: v.float() for k, v in stored.weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"the weights do not fit the network of the contract ({reason})",
            where=path,
            hint="use the checkpoint of that network",
        ) from error
