"""A supervised network on disk: its weights, what it was trained to reconstruct, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from medscore.io.specs import Strict
from medscore.io.weights import Kind, check_hash, fill_network, read_weights, write_weights
from medscore.measurements.spec import ScanSpec
from medscore.priors.contract import Provenance
from medscore.reconstruction.supervised.networks import ModelSpec, Reconstructor


class SupervisedContract(Strict):
    """What the header holds.

    Attributes:
        low, high, size: of the images, as in :class:`~medscore.priors.contract.DataContract`.
        scan: the one measurement that the network was trained on. spacing_mm: of its pixels.
    """

    name: str
    modality: str
    low: float
    high: float
    size: int
    spacing_mm: float
    scan: ScanSpec
    model: ModelSpec
    provenance: Provenance

    @property
    def scale(self) -> float:
        """Value of 1 in the network's range, less that of 0."""
        return self.high - self.low


SUPERVISED = Kind(
    format="medscore-supervised-1",
    contract=SupervisedContract,
    what="network",
    where_from="train it with `medscore train configs/supervised/...`",
    made_by="`medscore train` with a supervised recipe",
    renew="train it again",
)


def save_reconstructor(
    path: Path, contract: SupervisedContract, weights: Mapping[str, Tensor]
) -> None:
    """Write weights with the contract, atomically."""
    write_weights(path, SUPERVISED, contract, weights)


def load_reconstructor(path: Path) -> tuple[Reconstructor, SupervisedContract]:
    """The network in float32, frozen, and its contract.

    Raises:
        MedscoreError: no such file, another kind of file, or a damaged one.
    """
    stored = read_weights(path, SUPERVISED)
    check_hash(path, stored)
    model = stored.contract.model.build()
    fill_network(model.network, stored, path)
    return model.eval().requires_grad_(False), stored.contract
