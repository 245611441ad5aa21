"""A training recipe: the YAML of ``medscore train`` made into data, prior and plan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from torch import Tensor
from torch.nn import functional

from medscore.checkpoint import build_prior
from medscore.contract import DataContract, Provenance, SDESpec
from medscore.datasets.slices import Slices, augment, load_slices
from medscore.errors import MedscoreError
from medscore.ncsnv2 import largest_distance
from medscore.nets.unet import UNetSpec
from medscore.prior import NetworkPrior
from medscore.training import TrainingPlan, data_statistics


class Recipe(BaseModel):
    """What a training configuration may say; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    modality: Literal["CT"]
    quantity: Literal["HU"]
    low: float
    high: float
    size: int = Field(gt=0)
    zoom: tuple[float, float] = (1.0, 1.0)
    data: tuple[str, ...] = Field(min_length=1)
    licence: str
    sde: SDESpec
    network: UNetSpec
    plan: TrainingPlan

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        self.network.check_size(self.size)
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom {self.zoom} must be positive and increasing")
        return self


@dataclass(frozen=True)
class Run:
    """Everything :func:`medscore.training.train` needs, and the contract of what comes out."""

    prior: NetworkPrior
    contract: DataContract
    plan: TrainingPlan
    slices: Slices
    zoom: tuple[float, float]

    def largest_distance(self) -> float:
        """Between two training images at the prior's size: what sigma_max should be about."""
        return largest_distance(functional.avg_pool2d(self.slices.images[:, None].float(), 2))

    def batch(self, generator: torch.Generator) -> Tensor:
        """Draw augmented images (batch, 1, size, size) in [0, 1]."""
        index = torch.randint(len(self.slices.images), (self.plan.batch,), generator=generator)
        return augment(self.slices.images[index][:, None].float(), generator, zoom=self.zoom)


def read_recipe(path: Path) -> Recipe:
    """Read and validate a training configuration.

    Raises:
        MedscoreError: no such file, not YAML, an unknown, missing or ill-typed key.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedscoreError(
            f"cannot be read as YAML ({str(error).splitlines()[0]})",
            where=path,
            mend="see configs/train/ct-128.yaml for a working one",
        ) from error
    try:
        return TypeAdapter(Recipe).validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise MedscoreError(f"{key}: {first['msg']}", where=path, mend="correct that key") from None


def prepare(path: Path, data_root: Path, *, device: str = "cpu", steps: int | None = None) -> Run:
    """Load the recipe's slices and build its untrained prior, seeded by the plan.

    Args:
        steps: train this many steps instead of the recipe's.

    Raises:
        MedscoreError: as :func:`read_recipe` and :func:`~medscore.datasets.slices.load_slices`.
    """
    recipe = read_recipe(path)
    plan = recipe.plan
    if steps is not None:
        plan = replace(plan, steps=steps, restarts=tuple(r for r in plan.restarts if r < steps))
    slices = load_slices(
        recipe.data, root=data_root, side=2 * recipe.size, low=recipe.low, high=recipe.high
    )
    mean, std = data_statistics(functional.avg_pool2d(slices.images[:, None].float(), 2))
    spacing = 2 * slices.spacing_mm
    contract = DataContract(
        name=recipe.name,
        modality=recipe.modality,
        quantity=recipe.quantity,
        low=recipe.low,
        high=recipe.high,
        size=recipe.size,
        spacing_mm=(
            round(float(spacing.min()) / max(1.0, recipe.zoom[1]), 3),
            round(float(spacing.max()) / min(1.0, recipe.zoom[0]), 3),
        ),
        data_mean=round(mean, 4),
        data_std=round(std, 4),
        sde=recipe.sde,
        network=recipe.network,
        provenance=Provenance(
            data=", ".join(recipe.data),
            patients=len(set(slices.patients)),
            slices=len(slices.images),
            steps=plan.steps,
            seed=plan.seed,
            licence=recipe.licence,
            config_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        ),
    )
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    prior = build_prior(contract).to(device)
    return Run(prior, contract, plan, slices, recipe.zoom)
