"""Prior files: safetensors weights with the data contract as JSON header; pickle is never used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.weights import StoredWeights, WeightsFile, fill_network
from medscore.priors.contract import PREPROCESSING, DataContract
from medscore.priors.covariance_file import load_beside
from medscore.priors.neighbours_file import neighbours_beside
from medscore.priors.network import NetworkPrior

Checkpoint = StoredWeights[DataContract]
"""A prior file's content: the contract, the stored hash and the weights."""


def _check_preprocessing(contract: DataContract, path: Path) -> None:
    if contract.preprocessing != PREPROCESSING:
        raise MedscoreError(
            f"preprocessing version {contract.preprocessing}, this medscore has {PREPROCESSING}",
            where=path,
            hint="use the version of medscore that trained it, or retrain",
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
        contract: the data contract.
    """
    return NetworkPrior(
        contract.network.build(),
        contract.sde.build(),
        contract,
        preconditioning=contract.prediction.preconditioning(contract.data_std),
        condition=contract.prediction.time_variable(),
        data_mean=contract.data_mean,
    )


def save_prior(path: str | Path, contract: DataContract, weights: Mapping[str, Tensor]) -> None:
    """Write a prior, atomically (:meth:`~medscore.io.weights.WeightsFile.save`).

    Args:
        path: file to write.
        contract: the data contract, which becomes the header of the file.
        weights: state dict of the prior's ``network``.
    """
    PRIOR.save(path, contract, weights)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a prior file and check its header, without verifying its weights.

    Args:
        path: file to read.

    Raises:
        MedscoreError: the file does not exist, is not safetensors, has another format or
            preprocessing version, or has a header that violates the contract's schema.
    """
    return PRIOR.read(path)


def verify(path: str | Path) -> Checkpoint:
    """Read a prior file and verify its weights against the stored hash.

    Args:
        path: file to read.

    Raises:
        MedscoreError: as :func:`read_checkpoint`, or the hash differs.
    """
    return PRIOR.verify(path)


def load_prior(path: str | Path, *, device: torch.device | str = "cpu") -> NetworkPrior:
    """Load and verify a prior, with the learned covariance and the 2.5-D network beside its file.

    All weights are in float32 and frozen.

    Args:
        path: file to read.
        device: device of the prior.

    Raises:
        MedscoreError: as :func:`verify`, the weights do not fit the network, or one of the files
            beside it belongs to another prior.
    """
    prior, checkpoint = PRIOR.load(path, build_prior)
    prior.file, prior.sha256 = Path(path), checkpoint.sha256
    load_beside(prior, path)
    neighbours_beside(prior, path)
    return prior.to(device)


def fill(prior: NetworkPrior, checkpoint: Checkpoint, path: str | Path) -> None:
    """Load the weights of a file into an existing prior.

    Args:
        prior: the prior to load them into.
        checkpoint: content of the file.
        path: the file, for error messages.

    Raises:
        MedscoreError: the weights do not fit the prior's network.
    """
    fill_network(prior.network, checkpoint, path)
