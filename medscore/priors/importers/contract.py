"""The part of an import that only the user knows, and the data contract that is made of it.

A prior maps ``low`` to 0 and ``high`` to 1 in the network's range. If a network was trained with
``low`` at a and ``high`` at b (``network_range: [a, b]``), the prior's values are

.. math:: low' = low - a w, \\qquad high' = low' + w, \\qquad w = (high - low) / (b - a),

which for [-1, 1] are the middle and the upper end of the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import Side, Strict, faults
from medscore.io.weights import LARGEST
from medscore.nets.spec import NetworkSpec
from medscore.priors.contract import (
    DataContract,
    DDPMSpec,
    Network,
    PredictionSpec,
    Provenance,
    SDESpec,
)
from medscore.priors.importers.read import Source, first_names, read_settings, sha256

Value = TypeVar("Value")


class ImportedProvenance(Strict):
    """The origin of the weights; numbers that are not known are 0.

    Attributes:
        data: description of the training data.
        licence: licence of the weights.
        patients: number of patients.
        slices: number of training images.
        steps: number of training steps.
        seed: seed of the training.
    """

    data: str
    licence: str
    patients: int = Field(default=0, ge=0)
    slices: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    seed: int = 0


class ImportContract(Strict):
    """The user's description of a foreign checkpoint.

    Attributes:
        name: name of the prior.
        modality: ``CT`` or ``MR``.
        quantity: ``HU``, ``mu``, ``magnitude`` or ``complex``.
        low: image value that the network was trained with at the lower end of ``network_range``.
        high: image value that the network was trained with at the upper end of ``network_range``.
        network_range: values in the network's input for ``low`` and ``high``.
        size: side of the images in pixels, for a 3D network of its cubes.
        spacing_mm: smallest and largest pixel size in mm.
        provenance: origin of the weights.
        sde: forward diffusion, for checkpoints that do not define it.
        prediction: what the network predicts and is conditioned on, for checkpoints that do not
            define it.
        data_std: standard deviation of the images in the network's range; only further training
            depends on it.
    """

    name: str
    modality: str
    quantity: str
    low: float
    high: float
    network_range: tuple[float, float]
    size: Side
    spacing_mm: tuple[float, float]
    provenance: ImportedProvenance
    sde: SDESpec | None = None
    prediction: PredictionSpec | None = None
    data_std: float = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> ImportContract:
        if not self.network_range[0] < self.network_range[1]:
            raise ValueError(f"network_range {self.network_range} must be increasing")
        return self

    def ends(self) -> tuple[float, float]:
        """The image values that are 0 and 1 in the network's input."""
        a, b = self.network_range
        width = (self.high - self.low) / (b - a)
        return self.low - a * width, self.low - a * width + width


@dataclass(frozen=True)
class ImportedNetwork:
    """The properties that a checkpoint defines.

    Attributes:
        network: specification of the network.
        weights: weights by the names that the network has in medscore.
        sde: forward diffusion, if the checkpoint defines it.
        prediction: what the network predicts and is conditioned on, if the checkpoint defines it.
        steps: number of training steps; 0 if unknown.
    """

    network: Network
    weights: dict[str, Tensor]
    sde: SDESpec | None = None
    prediction: PredictionSpec | None = None
    steps: int = 0


def read_contract(path: Path) -> ImportContract:
    """Read and validate the user's contract.

    Args:
        path: JSON or YAML file.

    Raises:
        MedscoreError: the file does not exist, or a key is unknown, missing or invalid.
    """
    settings = read_settings(path)
    try:
        return ImportContract.model_validate(settings)
    except ValidationError as error:
        raise MedscoreError(
            faults(error, ImportContract), where=path, hint="see docs/import.md"
        ) from None


def assemble(
    contract: ImportContract, imported: ImportedNetwork, source: Source, where: Path
) -> DataContract:
    """Make the prior's data contract of what the user and the checkpoint define.

    Args:
        contract: the user's contract.
        imported: what the checkpoint defines.
        source: the checkpoint.
        where: file of the user's contract.

    Raises:
        MedscoreError: the two contradict each other, neither defines the SDE or the prediction, or
            the images do not fit the network.
    """
    sde = _either(imported.sde, contract.sde, "sde", where)
    prediction = _either(imported.prediction, contract.prediction, "prediction", where)
    if isinstance(sde, DDPMSpec) and prediction.condition == "level":
        _check_equal(prediction.levels, sde.scales, "prediction.levels", "sde.scales", where)
    channels = 2 if contract.quantity == "complex" else 1
    network_channels = getattr(imported.network, "image_channels", 1)
    if network_channels != channels:
        raise MedscoreError(
            f"the network takes images of {network_channels} channels, {contract.quantity} images "
            f"have {channels}",
            where=source.path,
            hint="colour and latent-space networks cannot be medscore priors",
        )
    low, high = contract.ends()
    try:
        return DataContract.model_validate(
            {
                **contract.model_dump(exclude={"network_range", "provenance"}),
                "low": low,
                "high": high,
                "data_mean": 0.0,
                "sde": sde.model_dump(),
                "prediction": prediction.model_dump(),
                "network": imported.network.model_dump(),
                "provenance": _provenance(contract, imported, source),
            }
        )
    except ValidationError as error:
        raise MedscoreError(
            faults(error, DataContract), where=where, hint="correct that key"
        ) from None


def fitted(
    spec: NetworkSpec, weights: dict[str, Tensor], where: Path, *, prefix: str = ""
) -> dict[str, Tensor]:
    """Check that weights fit a network, and return them in float32 with the network's names.

    Args:
        spec: specification of the network.
        weights: weights by name.
        where: file of the weights.
        prefix: start of the network's names that the weights' names lack.

    Raises:
        MedscoreError: weights are missing or unknown or have another shape, or hold a number that
            float16 cannot represent.
    """
    with torch.device("meta"):
        state = spec.build().state_dict()
    shapes = {name.removeprefix(prefix): tuple(value.shape) for name, value in state.items()}
    reshaped = [
        f"{name} {tuple(weights[name].shape)} for {shape}"
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    faults = {
        "missing": [name for name in shapes if name not in weights],
        "unknown": [name for name in weights if name not in shapes],
        "of another shape": reshaped,
    }
    if any(faults.values()):
        listed = "; ".join(
            f"{kind}: {first_names(names)}" for kind, names in faults.items() if names
        )
        raise MedscoreError(
            f"the weights do not fit the network - {listed}",
            where=where,
            hint="give the `config` that the network was made with; other variants cannot be "
            "imported",
        )
    bad = [n for n, w in weights.items() if not bool((w.float().abs() <= LARGEST).all())]
    if bad:
        raise MedscoreError(
            f"not finite, or beyond the largest float16 number {LARGEST:g}: {first_names(bad)}",
            where=where,
            hint="such weights cannot be imported, since priors are stored in float16",
        )
    return {prefix + name: value.float() for name, value in weights.items()}


def _either(source: Value | None, user: Value | None, key: str, where: Path) -> Value:
    """The value from the checkpoint or from the user; if both have one, they must agree."""
    if source is not None and user is not None:
        _check_equal(user, source, key, "the checkpoint", where)
    value = user if source is None else source
    if value is None:
        raise MedscoreError(
            f"no {key}, and the checkpoint does not define it",
            where=where,
            hint=f"add the {key} that the network was trained with (docs/import.md)",
        )
    return value


def _check_equal(ours: object, theirs: object, key: str, other: str, where: Path) -> None:
    if ours != theirs:
        raise MedscoreError(
            f"{key} is {ours}, but {theirs} in {other}", where=where, hint="make them the same"
        )


def _provenance(contract: ImportContract, imported: ImportedNetwork, source: Source) -> Provenance:
    user = contract.provenance
    origin = f"imported, sha256 {sha256(source.path)}"
    fields = user.model_dump() | {
        "data": f"{user.data} ({origin})",
        "steps": user.steps or imported.steps,
    }
    return Provenance.model_validate(fields)
