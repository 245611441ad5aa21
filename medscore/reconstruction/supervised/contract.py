"""A supervised network on disk: its weights, the task it was trained for, and its training data."""

from __future__ import annotations

from pathlib import Path

from medscore.io.specs import Side, Strict
from medscore.io.weights import WeightsFile
from medscore.measurements.spec import ScanSpec
from medscore.priors.contract import Provenance
from medscore.reconstruction.supervised.networks import ModelSpec, Reconstructor


class SupervisedContract(Strict):
    """Header of a supervised network's file.

    Attributes:
        name: name of the network.
        modality: ``CT`` or ``MR``.
        low: image value that is 0 in the network's range.
        high: image value that is 1 in the network's range.
        size: side of the images in pixels.
        spacing_mm: pixel size of the simulated measurements in mm.
        scan: the one task that the network was trained on.
        model: architecture and parameters of the network.
        provenance: data, training steps and licence.
    """

    name: str
    modality: str
    low: float
    high: float
    size: Side
    spacing_mm: float
    scan: ScanSpec
    model: ModelSpec
    provenance: Provenance

    @property
    def scale(self) -> float:
        """Width of the value range that is mapped to [0, 1]."""
        return self.high - self.low


SUPERVISED = WeightsFile(
    format="medscore-supervised-1",
    contract=SupervisedContract,
    what="network",
    where_from="train it with `medscore train configs/supervised/...`",
    made_by="`medscore train` with a supervised recipe",
    renew="train it again",
)


def load_reconstructor(path: str | Path) -> tuple[Reconstructor, SupervisedContract]:
    """Load a supervised network in float32 and without gradients.

    Args:
        path: file to read.

    Returns:
        The network and its contract.

    Raises:
        MedscoreError: the file does not exist, is of another kind, or is damaged.
    """
    model, stored = SUPERVISED.load(path, lambda contract: contract.model.build())
    return model, stored.contract
