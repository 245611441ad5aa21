"""Priors on disk: safetensors weights with the data contract as a JSON header. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.weights import StoredWeights, WeightsFile, fill_network
from medscore.priors.contract import PREPROCESSING, DataContract
from medscore.priors.network import NetworkPrior

Checkpoint = StoredWeights[DataContract]
"""A prior file's content: the contract, the stored hash and the weights."""


def _check_preprocessing(contract: DataContract, path: Path) -> None:
    if contract.preprocessing != PREPROCESSING:
        raise MedscoreError(
            f"preprocessing version {contract.preprocessing}, this medscore has {PREPROCESSING}",
            where=path,
            hint="use the medscore that trained it, or retrain",
        )


PRIOR = WeightsFile(
    format="medscore-prior-1",
    contract=DataContract,
    what="prior",
    where_from="see `medscore priors list`",
    made_by="`medscore train`",
    renew="retrain or re-export the prior",
    check=_check_preprocessing,
)


def build_prior(contract: DataContract) -> NetworkPrior:
    """An untrained prior with the network, SDE and data statistics of a contract.

    Args:
        contract: what the prior's images, SDE and network are.
    """
    return NetworkPrior(
        contract.network.build(),
        contract.sde.build(),
        contract,
        preconditioning=contract.prediction.preconditioning(contract.data_std),
        condition=contract.prediction.told(),
        data_mean=contract.data_mean,
    )


def save_prior(path: str | Path, contract: DataContract, weights: Mapping[str, Tensor]) -> None:
    """Write a prior, atomically (:meth:`~medscore.io.weights.WeightsFile.save`).

    Args:
        path: file to write.
        contract: what the prior's images are; the header of the file.
        weights: state dict of the prior's ``network``.
    """
    PRIOR.save(path, contract, weights)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a prior file and check its header, but not its weights.

    Args:
        path: file to read.

    Raises:
        MedscoreError: no such file, not safetensors, another format or preprocessing version,
            or a header that breaks the contract's schema.
    """
    return PRIOR.read(path)


def verify(path: str | Path) -> Checkpoint:
    """Read a prior file and check its weights against the stored hash.

    Args:
        path: file to read.

    Raises:
        MedscoreError: as :func:`read_checkpoint`, and when the hash differs.
    """
    return PRIOR.verify(path)


def load_prior(path: str | Path, *, device: torch.device | str = "cpu") -> NetworkPrior:
    """Build the prior a file describes, verify it, and load its weights in float32, frozen.

    Args:
        path: file to read.
        device: where the prior is to be.

    Raises:
        MedscoreError: as :func:`verify`, and when the weights do not fit the network.
    """
    prior, checkpoint = PRIOR.load(path, build_prior)
    prior.file, prior.sha256 = Path(path), checkpoint.sha256
    return prior.to(device)


def fill(prior: NetworkPrior, checkpoint: Checkpoint, path: str | Path) -> None:
    """Load a file's weights into a prior.

    Args:
        prior: what they are loaded into.
        checkpoint: content of the file.
        path: the file, for the error message.

    Raises:
        MedscoreError: the weights do not fit the prior's network.
    """
    fill_network(prior.network, checkpoint, path)
