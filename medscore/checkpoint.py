"""Priors on disk: safetensors weights with the data contract as a JSON header. Never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medscore.contract import PREPROCESSING, DataContract
from medscore.errors import MedscoreError
from medscore.files import atomic_write
from medscore.prior import NetworkPrior

FORMAT = "medscore-prior-1"


@dataclass(frozen=True)
class Checkpoint:
    """A prior file's content: the contract, the stored hash and the weights."""

    contract: DataContract
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


def build_prior(contract: DataContract) -> NetworkPrior:
    """An untrained prior of the contract's network, SDE and data statistics."""
    return NetworkPrior(
        contract.network.build(),
        contract.sde.build(),
        contract,
        preconditioning=contract.prediction.preconditioning(contract.data_std),
        condition=contract.prediction.told(),
        data_mean=contract.data_mean,
    )


def save_prior(path: Path, contract: DataContract, weights: Mapping[str, Tensor]) -> None:
    """Write weights with the contract, atomically: matrices and kernels as float16 (a relative
    rounding of 5e-4), what has one axis (biases, scales, frequencies of features) as float32.
    """
    kept = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
    half = {k: v.to(torch.float16 if v.ndim > 1 else torch.float32) for k, v in kept.items()}
    header = {
        "format": FORMAT,
        "contract": contract.model_dump_json(),
        "sha256": weights_hash(half),
    }
    atomic_write(path, save(half, metadata=header))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a prior file and check its header.

    Raises:
        MedscoreError: no such file, not safetensors, another format or preprocessing version,
            or a header that breaks the contract's schema.
    """
    if not path.is_file():
        raise MedscoreError("no such prior", where=path, mend="see `medscore priors list`")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise MedscoreError(
                    f"format is {header.get('format')!r}, expected {FORMAT!r}",
                    where=path,
                    mend="use a checkpoint written by `medscore train`",
                )
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MedscoreError(
            f"not a safetensors file ({error})",
            where=path,
            mend="only safetensors checkpoints are read; pickled ones are refused",
        ) from error
    try:
        contract = DataContract.model_validate(json.loads(header["contract"]))
    except (KeyError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"broken data contract ({reason})", where=path, mend="retrain or re-export the prior"
        ) from error
    if contract.preprocessing != PREPROCESSING:
        raise MedscoreError(
            f"preprocessing version {contract.preprocessing}, this medscore has {PREPROCESSING}",
            where=path,
            mend="use the medscore that trained it, or retrain",
        )
    return Checkpoint(contract, header.get("sha256", ""), weights)


def verify(path: Path) -> Checkpoint:
    """Read a prior file and check its weights against the stored hash.

    Raises:
        MedscoreError: as :func:`read_checkpoint`, and when the hash differs.
    """
    checkpoint = read_checkpoint(path)
    actual = weights_hash(checkpoint.weights)
    if actual != checkpoint.sha256:
        raise MedscoreError(
            f"weights hash to {actual[:12]}, header says {checkpoint.sha256[:12] or 'nothing'}",
            where=path,
            mend="the file is damaged or was altered: fetch it again",
        )
    return checkpoint


def load_prior(path: Path, *, device: torch.device | str = "cpu") -> NetworkPrior:
    """Build the prior a file describes, verify it, and load its weights in float32, frozen.

    Raises:
        MedscoreError: as :func:`verify`, and when the weights do not fit the network.
    """
    checkpoint = verify(path)
    prior = build_prior(checkpoint.contract)
    fill(prior, checkpoint, path)
    prior.to(device).eval().requires_grad_(False)
    return prior


def fill(prior: NetworkPrior, checkpoint: Checkpoint, path: Path) -> None:
    """Load a file's weights into a prior.

    Raises:
        MedscoreError: they do not fit its network; ``path`` is the file.
    """
    try:
        prior.network.load_state_dict({k: v.float() for k, v in checkpoint.weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"weights do not fit the network of the contract ({reason})",
            where=path,
            mend="the checkpoint is of another network",
        ) from error
