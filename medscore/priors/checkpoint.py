"""Priors on disk: safetensors weights with the data contract as a JSON header. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.weights import (
    Kind,
    WeightsFile,
    check_hash,
    fill_network,
    read_weights,
    write_weights,
)
from medscore.priors.contract import PREPROCESSING, DataContract
from medscore.priors.network import NetworkPrior

PRIOR = Kind(
    format="medscore-prior-1",
    contract=DataContract,
    what="prior",
    where_from="see `medscore priors list`",
    made_by="`medscore train`",
    renew="retrain or re-export the prior",
)

Checkpoint = WeightsFile[DataContract]
"""A prior file's content: the contract, the stored hash and the weights."""


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
    """Write weights with the contract (:func:`~medscore.io.weights.write_weights`)."""
    write_weights(path, PRIOR, contract, weights)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a prior file and check its header.

    Raises:
        MedscoreError: no such file, not safetensors, another format or preprocessing version,
            or a header that breaks the contract's schema.
    """
    stored = read_weights(path, PRIOR)
    if stored.contract.preprocessing != PREPROCESSING:
        raise MedscoreError(
            f"preprocessing version {stored.contract.preprocessing}, this medscore has "
            f"{PREPROCESSING}",
            where=path,
            hint="use the medscore that trained it, or retrain",
        )
    return stored


def verify(path: Path) -> Checkpoint:
    """Read a prior file and check its weights against the stored hash.

    Raises:
        MedscoreError: as :func:`read_checkpoint`, and when the hash differs.
    """
    checkpoint = read_checkpoint(path)
    check_hash(path, checkpoint)
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
    fill_network(prior.network, checkpoint, path)
