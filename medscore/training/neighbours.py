"""Training a 2.5-D network, which improves denoised slices by their neighbours, beside a prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medscore.datasets.collections.stacks import MAPS, Stacks, Volume3D, load_volumes
from medscore.errors import MedscoreError
from medscore.io.specs import Side, Strict
from medscore.nets.neighbours import NeighboursDenoiser, NeighboursSpec
from medscore.objectives.denoising import LogNormalTimes
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.contract import DataContract
from medscore.priors.neighbours_file import NEIGHBOURS, NeighboursContract
from medscore.priors.network import NetworkPrior
from medscore.sdes.base import expand
from medscore.training.data import TrainingData, provenance_of, slice_summary
from medscore.training.identity import identity_of
from medscore.training.recipe import TrainingRecipe, read_recipe
from medscore.training.run import TrainingRun
from medscore.training.validation import Validation

FLOOR = 1e-3
"""Root mean square error of a denoised stack, in the prior's range, below which it does not count
more: air."""

HELD_OUT, HELD_OUT_SEED = 32, 50_000
"""Number of validation stacks, and the seed that chooses them."""


class StackSpec(Strict):
    """The stacks of neighbouring slices that a 2.5-D network is trained on.

    Attributes:
        size: rows and columns.
        slices: number of slices.
    """

    size: Side = 128
    slices: Annotated[int, Field(ge=2, le=1000)] = 10


class NeighboursRecipe(TrainingRecipe):
    """The recipe of a 2.5-D network.

    Attributes:
        volumes: patterns of the training volumes, relative to the data folder.
        validation: patterns of the validation volumes, of other patients.
        body: name or path of the prior of slices, whose weights stay as they are.
        stacks: the stacks that are cut out of the volumes.
        network: parameters of the network.
        log_ratio_mean: mean of log(sigma/alpha) over the training times.
        log_ratio_std: standard deviation of log(sigma/alpha).
    """

    volumes: tuple[str, ...] = Field(min_length=1)
    validation: tuple[str, ...] = ()
    body: str
    stacks: StackSpec = StackSpec()
    network: NeighboursSpec = NeighboursSpec()
    log_ratio_mean: float = -2.8
    log_ratio_std: float = Field(default=1.2, gt=0)

    @property
    def ratios(self) -> tuple[float, float]:
        """Ratios that the training covers: three standard deviations around the mean logarithm."""
        mean, most = self.log_ratio_mean, 3 * self.log_ratio_std
        return math.exp(mean - most), math.exp(mean + most)

    @model_validator(mode="after")
    def _stacks_have_an_inside(self) -> NeighboursRecipe:
        least = 2 * self.network.reach + 1
        if self.stacks.slices < least:
            raise ValueError(f"stacks.slices must be {least} or more for that reach")
        return self


class NeighboursOnBody(nn.Module):
    """A prior of slices, which stays as it is, and the 2.5-D network that is trained beside it.

    Args:
        prior: the prior.
        denoiser: the 2.5-D network.
    """

    def __init__(self, prior: NetworkPrior, denoiser: NeighboursDenoiser) -> None:
        super().__init__()
        self.prior, self.denoiser = prior, denoiser

    @property
    def network(self) -> nn.Module:
        """The part that is trained."""
        return self.denoiser.network

    def train(self, mode: bool = True) -> NeighboursOnBody:
        """Leave all layers as they are for use: dropout of the prior would change its denoiser.

        Args:
            mode: not used.
        """
        super().train(False)
        return self


@dataclass(frozen=True)
class NeighboursLoss:
    r"""The error of the improved slices relative to that of the slices denoised one by one.

    .. math:: \frac{\|D' - x\|^2}{\|D - x\|^2 + \mathrm{floor}}, \qquad
              \log \tilde\sigma \sim N(\mathrm{mean}, \mathrm{std}^2),

    over the inner slices of each stack. It weighs all noise levels alike.

    Attributes:
        times: draws the noise-to-signal ratio.
    """

    times: LogNormalTimes

    def __call__(self, model: NeighboursOnBody, batch: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """The loss of each stack, (batch,).

        Args:
            model: the prior and the 2.5-D network.
            batch: slices, distance of the slices and pixel size, (batch, slices + 2, H, W).
            u: uniform draws (batch,).
            z: white noise of the shape of ``batch``, of which the first slices are used.
        """
        x, maps = batch.tensor_split([batch.shape[1] - MAPS], 1)
        t = self.times(model.prior.sde, u)
        stacks = zip(x, z, t, maps[:, :, 0, 0].tolist(), strict=False)
        return torch.stack(
            [_relative_error(model, *stack, *distances) for *stack, distances in stacks]
        )


def _relative_error(
    model: NeighboursOnBody, x: Tensor, z: Tensor, t: Tensor, slice_mm: float, pixel_mm: float
) -> Tensor:
    """The loss of a stack."""
    sde = model.prior.sde
    times, ratio = t.expand(len(x)), sde.ratio(t)
    y = x + ratio * z[: len(x)]
    with torch.no_grad():
        prior = model.prior.on_grid((x.shape[-2], x.shape[-1]), pixel_mm, allow_mismatch=True)
        noisy = expand(sde.alpha(times), y[:, None]) * y[:, None]
        slices = prior.denoise(noisy, times)[:, 0]
    improved = model.denoiser.improved(slices, (y - slices) / ratio, ratio, slice_mm, pixel_mm)
    r = model.denoiser.spec.reach
    inner = slice(r, len(x) - r)
    before = (slices[inner] - x[inner]).square().mean()
    return (improved - x[inner]).square().mean() / (before + FLOOR**2)


def prepare_neighbours(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[NeighboursOnBody]:
    """Prepare the training of a 2.5-D network.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: not used; volumes are read anew in every run.
        patterns: patterns of the training volumes, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid or its prior is not one of CT slices, the volumes
            cannot be loaded, or a patient is in both volumes and validation.
    """
    recipe = read_recipe(path, NeighboursRecipe, steps=steps)
    if patterns:
        recipe = recipe.model_copy(update={"volumes": tuple(patterns), "validation": ()})
    prior = load_prior(file := prior_path(recipe.body))
    body = prior.contract
    assert body is not None
    if body.quantity != "HU" or body.size is not None:
        raise MedscoreError(
            f"prior {body.name} is not one of CT slices of any matrix", where=path,
            hint="use such a prior as `body`",
        )  # fmt: skip
    limits, least = (body.low, body.high), recipe.stacks.slices
    volumes = load_volumes(recipe.volumes, root, limits=limits, least=least)
    held_out = load_volumes(recipe.validation, root, limits=limits, least=least)
    patients = {volume.patient for volume in volumes}
    if both := sorted(patients & {volume.patient for volume in held_out}):
        raise MedscoreError(
            f"patient {both[0]} is in volumes and in validation", where=path,
            hint="split the data by patient",
        )  # fmt: skip
    torch.manual_seed(recipe.plan.seed)  # network initialisation takes no generator
    objective = NeighboursLoss(LogNormalTimes(recipe.log_ratio_mean, recipe.log_ratio_std))
    stacks = _stacks(volumes, recipe, body)
    count = sum(len(volume.slices) for volume in volumes)
    provenance = provenance_of(recipe, path, recipe.volumes, patients=len(patients), images=count)
    distances = [volume.slice_mm for volume in volumes]
    data = TrainingData(
        batch=lambda generator, part: stacks.batch(recipe.plan.batch, generator, part),
        validation=None,
        provenance=provenance,
        identity=identity_of(recipe, [volume.slices for volume in volumes]),
    )
    return TrainingRun(
        recipe=path,
        plan=recipe.plan,
        data=data,
        model=NeighboursOnBody(prior, recipe.network.build()),
        objective=objective,
        contract=NeighboursContract(
            name=recipe.name, body=body.name, body_sha256=prior.sha256, network=recipe.network,
            slice_mm=(min(distances), max(distances)), ratios=recipe.ratios,
            provenance=provenance,
        ),
        file=NEIGHBOURS,
        describe=lambda: f"{slice_summary(data)}, for prior {body.name} ({file.name})",
        identity={"body": prior.sha256},
        validator=_validator(_stacks(held_out, recipe, body), objective) if held_out else None,
    )  # fmt: skip


def _stacks(volumes: Sequence[Volume3D], recipe: NeighboursRecipe, body: DataContract) -> Stacks:
    return Stacks(volumes, recipe.stacks.slices, recipe.stacks.size, body.spacing_mm[1])


def _validator(stacks: Stacks, objective: NeighboursLoss) -> Validation:
    """The loss on fixed stacks, times and noise."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    images = stacks.batch(HELD_OUT, generator, slice(None))
    return Validation(images, objective, batch=1)
