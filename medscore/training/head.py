"""Training a learned covariance: a second output on the frozen network of a prior."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.configs import config_path
from medscore.io.opening import file_sha256, is_regular
from medscore.nets.any_size import without_grid
from medscore.nets.context import InContext
from medscore.nets.covariance_head import head_spec
from medscore.nets.spec import Positive
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.covariance_file import COVARIANCE, CovarianceContract
from medscore.priors.network import NetworkPrior
from medscore.training.data import slice_summary
from medscore.training.head_images import load_images
from medscore.training.loop import Objective
from medscore.training.objective_specs import SecondOrderObjective, with_levels
from medscore.training.recipe import TrainingRecipe, read_recipe
from medscore.training.run import TrainingRun


class HeadRecipe(TrainingRecipe):
    """The recipe of a learned covariance, a second output of a prior's network.

    Attributes:
        head: kind of the output, ``covariance``.
        body: name or path of the prior, whose weights stay as they are.
        images: the prior's own recipe, for the images that it describes: the name of a shipped
            recipe, or a path, which may be relative to the folder of this recipe. Its plan and
            objective are not used.
        width: channels between the features of the prior's network and the output.
        objective: the loss.
    """

    head: Literal["covariance"]
    body: str
    images: str
    width: Positive = 32
    objective: SecondOrderObjective = Field(
        default=SecondOrderObjective(kind="second_order"), validate_default=True
    )

    def images_path(self, path: Path) -> Path:
        """The file of the images' recipe.

        Args:
            path: file of this recipe.
        """
        beside = path.parent / self.images
        return beside if is_regular(beside) else config_path(self.images, "train")

    @model_validator(mode="after")
    def _body_is_frozen(self) -> HeadRecipe:
        if self.objective.gamma:
            raise ValueError("objective.gamma must be 0: the body is not trained")
        return self


class HeadOnBody(nn.Module):
    """A prior whose learned covariance is trained, while its network stays as it is.

    Args:
        prior: the prior, with a head.
    """

    def __init__(self, prior: NetworkPrior) -> None:
        super().__init__()
        self.prior = prior
        prior.network.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The part that is trained."""
        assert self.prior.head is not None
        return self.prior.head.network

    def train(self, mode: bool = True) -> HeadOnBody:
        """Leave all layers as they are for use: dropout of the body would change the denoiser.

        Args:
            mode: not used.
        """
        super().train(False)
        return self


@dataclass(frozen=True)
class HeadLoss:
    """An objective of the prior in a :class:`HeadOnBody`.

    Attributes:
        objective: the loss of a prior with a learned covariance.
        channels: channels of the images; context maps lie behind them in a batch.
    """

    objective: Objective
    channels: int

    def __call__(self, model: HeadOnBody, batch: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """The loss of each sample, (batch,).

        Args:
            model: the prior and its head.
            batch: images and context maps (batch, channels + maps, H, W).
            u: uniform draws (batch,).
            z: white noise of the shape of ``batch``, of which the first channels are used.
        """
        images, context = batch[:, : self.channels], batch[:, self.channels :]
        prior = model.prior
        if context.shape[1]:
            prior = prior.around(InContext(prior.network, context))
        return self.objective(prior, images, u, z[:, : self.channels])


def prepare_head(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[HeadOnBody]:
    """Prepare the training of a learned covariance.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of those of the images' recipe.

    Raises:
        MedscoreError: a recipe is invalid or contradicts the prior, the data cannot be loaded, or a
            patient is in both data and validation.
    """
    recipe = read_recipe(path, HeadRecipe, steps=steps)
    prior = load_prior(file := prior_path(recipe.body))
    body = prior.contract
    assert body is not None
    if body.spatial_dims != 2:
        raise MedscoreError(
            f"prior {body.name} is one of volumes", where=path, hint="use a prior of slices"
        )
    torch.manual_seed(recipe.plan.seed)  # network initialisation takes no generator
    rank, network = recipe.objective.factors, without_grid(prior.network)
    blocks = recipe.objective.form == "blocks"
    spec = head_spec(network, body.channels, body.data_std, rank, recipe.width, blocks=blocks)
    prior.head = spec.build()
    found = load_images(recipe.images_path(path), recipe.plan, body, root, cache, patterns)
    objective = HeadLoss(
        with_levels(recipe.objective.build(body.data_std), found.bits), body.channels
    )
    data = found.data
    provenance = data.provenance.model_copy(
        update={"licence": recipe.licence, "config_sha256": file_sha256(path)}
    )
    own = recipe.model_dump_json(exclude={"plan", "name", "licence", "folder", "images"})
    return TrainingRun(
        recipe=path,
        plan=recipe.plan,
        data=data,
        model=HeadOnBody(prior),
        objective=objective,
        contract=CovarianceContract(
            name=recipe.name, body=body.name, body_sha256=prior.sha256, head=spec,
            provenance=provenance,
        ),
        file=COVARIANCE,
        describe=lambda: f"{slice_summary(data)}, for prior {body.name} ({file.name})",
        identity={
            "body": prior.sha256, "head": hashlib.sha256(own.encode()).hexdigest()[:12],
        },
        validator=found.validator(objective),
    )  # fmt: skip
