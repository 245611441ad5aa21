"""What only the user knows of a foreign checkpoint, and the data contract made from it.

A prior's affine map sends ``low`` to 0 and ``high`` to 1 in the network's range. A network that was
trained with ``low`` at a and ``high`` at b (``network_range: [a, b]``) needs

.. math:: low' = low - a w, \\qquad high' = low' + w, \\qquad w = (high - low) / (b - a),

for [-1, 1] the middle of the range and its upper end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import Strict, first_fault
from medscore.nets.spec import NetworkSpec
from medscore.priors.contract import (
    DataContract,
    DDPMSpec,
    Network,
    PredictionSpec,
    Provenance,
    SDESpec,
)
from medscore.priors.importers.read import Source, read_settings, sha256, some

LARGEST = torch.finfo(torch.float16).max
"""The largest number of float16, in which priors are stored."""

Value = TypeVar("Value")


class ImportedProvenance(Strict):
    """Where the weights come from; a number that is not known is 0."""

    data: str
    licence: str
    patients: int = Field(default=0, ge=0)
    slices: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    seed: int = 0


class ImportContract(Strict):
    """The user's YAML; ``sde`` and ``prediction`` are for sources that do not say them.

    Attributes:
        low, high: image values (in ``quantity``) that the network was shown as the two ends of
            ``network_range``.
        size: side of the images, of a 3D network of its cubes.
        data_std: of the images in the network's range; only further training depends on it.
    """

    name: str
    modality: str
    quantity: str
    low: float
    high: float
    network_range: tuple[float, float]
    size: int
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
        """The values that the network sees as 0 and as 1."""
        a, b = self.network_range
        width = (self.high - self.low) / (b - a)
        return self.low - a * width, self.low - a * width + width


@dataclass(frozen=True)
class Mapped:
    """What a source says: the network, its weights by the names of the adapter, and, where it
    says them, the SDE, the prediction and the training steps.
    """

    network: Network
    weights: dict[str, Tensor]
    sde: SDESpec | None = None
    prediction: PredictionSpec | None = None
    steps: int = 0


def read_contract(path: Path) -> ImportContract:
    """Read and validate the user's YAML.

    Raises:
        MedscoreError: no such file, an unknown, missing or impossible key.
    """
    settings = read_settings(path)
    try:
        return ImportContract.model_validate(settings)
    except ValidationError as error:
        raise MedscoreError(first_fault(error), where=path, hint="see docs/import.md") from None


def assemble(asked: ImportContract, mapped: Mapped, source: Source, where: Path) -> DataContract:
    """The data contract; ``where`` is the file of ``asked``.

    Raises:
        MedscoreError: the source and the user contradict each other, neither says SDE or
            prediction, or the images do not fit the network.
    """
    sde = _one(mapped.sde, asked.sde, "sde", where)
    prediction = _one(mapped.prediction, asked.prediction, "prediction", where)
    if isinstance(sde, DDPMSpec) and prediction.condition == "level":
        _same(prediction.levels, sde.scales, "prediction.levels", "sde.scales", where)
    channels = 2 if asked.quantity == "complex" else 1
    held = getattr(mapped.network, "image_channels", 1)
    if held != channels:
        raise MedscoreError(
            f"the network takes images of {held} channels, {asked.quantity} images have {channels}",
            where=source.path,
            hint="colour and latent-space networks cannot be medscore priors",
        )
    low, high = asked.ends()
    try:
        return DataContract.model_validate(
            {
                **asked.model_dump(exclude={"network_range", "provenance"}),
                "low": low,
                "high": high,
                "data_mean": 0.0,
                "sde": sde.model_dump(),
                "prediction": prediction.model_dump(),
                "network": mapped.network.model_dump(),
                "provenance": _provenance(asked, mapped, source),
            }
        )
    except ValidationError as error:
        raise MedscoreError(first_fault(error), where=where, hint="correct that key") from None


def fitted(
    spec: NetworkSpec, weights: dict[str, Tensor], where: Path, *, prefix: str = ""
) -> dict[str, Tensor]:
    """The weights in float32 under the names of ``spec``'s network, which begin with ``prefix``.

    Raises:
        MedscoreError: a name too few or too many, another shape, or a number that float16 cannot
            hold.
    """
    with torch.device("meta"):
        state = spec.build().state_dict()
    shapes = {name.removeprefix(prefix): tuple(value.shape) for name, value in state.items()}
    wrong = [
        f"{name} {tuple(weights[name].shape)} for {shape}"
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    faults = {
        "missing": [name for name in shapes if name not in weights],
        "unknown": [name for name in weights if name not in shapes],
        "of another shape": wrong,
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {some(names)}" for kind, names in faults.items() if names)
        raise MedscoreError(
            f"the weights do not fit the network - {listed}",
            where=where,
            hint="give the --config the network was made with; other variants cannot be mapped",
        )
    bad = [n for n, w in weights.items() if not bool((w.float().abs() <= LARGEST).all())]
    if bad:
        raise MedscoreError(
            f"not finite, or beyond the {LARGEST:g} that float16 holds: {some(bad)}",
            where=where,
            hint="priors are stored in float16: such weights cannot be",
        )
    return {prefix + name: value.float() for name, value in weights.items()}


def _one(said: Value | None, asked: Value | None, key: str, where: Path) -> Value:
    """What the source or the user says; they may both, if it is the same."""
    if said is not None and asked is not None:
        _same(asked, said, key, "the checkpoint", where)
    value = asked if said is None else said
    if value is None:
        raise MedscoreError(
            f"no {key}, and the checkpoint does not say it",
            where=where,
            hint=f"add {key}: as the network was trained with (docs/import.md)",
        )
    return value


def _same(ours: object, theirs: object, key: str, other: str, where: Path) -> None:
    if ours != theirs:
        raise MedscoreError(
            f"{key} is {ours}, {other} says {theirs}", where=where, hint="make them the same"
        )


def _provenance(asked: ImportContract, mapped: Mapped, source: Source) -> Provenance:
    given = asked.provenance
    origin = f"imported from {source.path.name}, sha256 {sha256(source.path)}"
    fields = given.model_dump() | {
        "data": f"{given.data} ({origin})",
        "steps": given.steps or mapped.steps,
    }
    return Provenance.model_validate(fields)
