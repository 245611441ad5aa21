"""Training on any images: the recipe of a prior of pictures, and its run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor

from medscore.datasets.collections.pictures import Pictures, load_pictures
from medscore.errors import MedscoreError
from medscore.io.specs import Name, Strict, read_yaml, validated
from medscore.priors.checkpoint import build_prior
from medscore.priors.contract import DataContract, Network, PredictionSpec, Provenance, SDESpec
from medscore.priors.network import NetworkPrior
from medscore.training.data import data_statistics, identity_of
from medscore.training.loop import Objective
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import EDMObjective, ObjectiveSpec, on_levels
from medscore.training.validation import Validation


class PictureData(Strict):
    """Which pictures, and how they become a network's images.

    Attributes:
        pictures, validation: patterns of files below the data folder. size: side. colour: three
            channels. white: value of arrays that becomes 1. mirror: half of them left to right.
    """

    name: Name
    pictures: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    size: int = Field(gt=0)
    colour: bool = False
    white: float | None = Field(default=None, gt=0)
    mirror: bool = False
    licence: str
    plan: TrainingPlan

    @property
    def channels(self) -> int:
        """3 of colour, else 1."""
        return 3 if self.colour else 1

    def load(self, patterns: tuple[str, ...], root: Path) -> Pictures:
        """The pictures of patterns.

        Raises:
            MedscoreError: as :func:`~medscore.datasets.collections.pictures.load_pictures`.
        """
        return load_pictures(
            patterns, root=root, size=self.size, colour=self.colour, white=self.white
        )

    def batch(self, images: Tensor) -> Callable[[torch.Generator, slice], Tensor]:
        """Draws batches of ``images`` (n, channel, size, size)."""

        def draw(generator: torch.Generator, part: slice) -> Tensor:
            index, flip = drawn(len(images), self.plan.batch, generator)
            chosen = images[index[part]]
            if not self.mirror:
                return chosen
            return torch.where(flip[part, None, None, None], chosen.flip(3), chosen)

        return draw


def drawn(count: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which of ``count`` images are in a batch, and which of those are mirrored."""
    index = torch.randint(count, (batch,), generator=generator)
    return index, torch.rand(batch, generator=generator) < 0.5


class PictureRecipe(PictureData):
    """What the training configuration of a prior of pictures may say; the rest as in
    :class:`medscore.training.recipe.Recipe`.
    """

    sde: SDESpec
    network: Network
    prediction: PredictionSpec = PredictionSpec()
    objective: ObjectiveSpec = EDMObjective()
    bits: int | None = Field(default=None, ge=1, le=16)

    @model_validator(mode="after")
    def _consistent(self) -> PictureRecipe:
        self.network.check_size(self.size)
        held = getattr(self.network, "image_channels", 1)
        if held != self.channels:
            raise ValueError(f"network image_channels is {held}, the pictures have {self.channels}")
        return self


@dataclass(frozen=True)
class PictureRun:
    """What :func:`medscore.training.loop.train` needs, and the contract of its outcome."""

    prior: NetworkPrior
    contract: DataContract
    batch: Callable[[torch.Generator, slice], Tensor]
    objective: Objective
    plan: TrainingPlan
    validation: Validation | None
    identity: dict[str, str]


def prepare_pictures(path: Path, data_root: Path, *, steps: int | None = None) -> PictureRun:
    """Load the recipe's pictures and build its untrained prior, seeded by the plan.

    Raises:
        MedscoreError: what is wrong with the recipe or the pictures.
    """
    recipe: PictureRecipe = validated(PictureRecipe, read_yaml(path), path)
    plan = recipe.plan if steps is None else recipe.plan.shortened(steps)
    found = recipe.load(recipe.pictures, data_root)
    mean, std = (round(v, 4) for v in data_statistics(found.images))
    if not std > 0:
        raise MedscoreError("the pictures are all of one grey", where=path, hint="give others")
    contract = DataContract(
        name=recipe.name,
        modality="picture",
        quantity="colour" if recipe.colour else "grey",
        low=0,
        high=1 if recipe.white is None else recipe.white,
        size=recipe.size,
        spacing_mm=(1.0, 1.0),
        data_mean=mean,
        data_std=std,
        sde=recipe.sde,
        network=recipe.network,
        prediction=recipe.prediction,
        provenance=provenance(recipe, len(found.images), plan, path),
    )
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    prior = build_prior(contract)
    objective = on_levels(recipe.objective.build(contract.data_std), recipe.bits)
    validation = None
    if recipe.validation:
        few = recipe.load(recipe.validation, data_root).images[:256]
        validation = Validation(few, objective, plan.batch)
    return PictureRun(
        prior, contract, recipe.batch(found.images), objective, plan, validation,
        identity_of(recipe, plan, found.images),
    )  # fmt: skip


def provenance(recipe: PictureData, count: int, plan: TrainingPlan, path: Path) -> Provenance:
    """Of what is trained on ``count`` pictures."""
    return Provenance(
        data=", ".join(recipe.pictures), patients=0, slices=count, steps=plan.steps,
        seed=plan.seed, licence=recipe.licence,
        config_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )  # fmt: skip
