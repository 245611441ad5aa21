"""A trained supervised network as a reconstruction method."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.measurements.units import UNIT_RANGE
from medscore.operators.base import Operator
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.complex_data import of_complex_images
from medscore.reconstruction.supervised.contract import SupervisedContract, load_reconstructor
from medscore.reconstruction.supervised.networks import Reconstructor, check_channels


class Supervised(Baseline):
    """Reconstruction by a supervised network.

    Measurements must be of images like those that the network was trained on, but the task may
    differ, so that generalisation can be tested.

    Attributes:
        weighted: False: the network takes measurements that are not whitened by their noise.
        real: True: the network returns magnitudes.
        kind: ``supervised``.
        network: file of the network.
    """

    weighted: ClassVar[bool] = False
    real: ClassVar[bool] = True

    kind: Literal["supervised"] = "supervised"
    network: Path

    def solve(self, operator: Operator, y: Tensor) -> Tensor:
        model, _ = loaded(self.network)
        with torch.no_grad():
            image: Tensor = model(operator, y)
        return image

    def check_measurement(self, measurement: Measurement) -> None:
        _, contract = loaded(self.network)
        ours = UNIT_RANGE[contract.modality]
        sides = (
            ("modality", measurement.modality, contract.modality),
            ("matrix size", measurement.size, (contract.size, contract.size)),
            ("range", (ours.low, ours.high), (contract.low, contract.high)),
        )
        for what, here, there in sides:
            if here != there:
                raise MedscoreError(
                    f"{what} is {here}, but {there} for network {contract.name}",
                    where=self.network,
                    hint="train a network for such images",
                )
        check_channels(contract.model, of_complex_images(measurement), contract.name)


@lru_cache(maxsize=8)
def loaded(path: Path) -> tuple[Reconstructor, SupervisedContract]:
    """A supervised network, read once.

    Args:
        path: its file.
    """
    return load_reconstructor(path)
