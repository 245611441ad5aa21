"""Training a dequantization flow for a fixed prior."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.likelihood.dequantization import DequantizationFlow, dequantization_loss
from medscore.likelihood.dequantizer import DEQUANTIZER, DequantizerContract, FlowSpec
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior, verify
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.training.data import load_slice_data, slice_summary
from medscore.training.loop import Loss
from medscore.training.recipe import ImageRecipe, read_recipe
from medscore.training.run import TrainingRun
from medscore.white_noise import seeds_from


class DequantizerRecipe(ImageRecipe):
    """The recipe of a dequantization flow.

    Attributes:
        dequantizes: name or path of the prior whose likelihood it serves; its images must be
            described as those of this recipe.
        flow: parameters of the flow.
    """

    dequantizes: str
    flow: FlowSpec


def prepare_dequantizer(
    path: Path,
    root: Path,
    *,
    steps: int | None = None,
    cache: Path | None = None,
    patterns: Sequence[str] = (),
) -> TrainingRun[DequantizationFlow]:
    """Prepare the training of a dequantization flow.

    Args:
        path: file of the recipe.
        root: data folder.
        steps: number of training steps, instead of the recipe's.
        cache: folder that keeps the slices for later runs; None keeps none.
        patterns: patterns of the training files, instead of the recipe's.

    Raises:
        MedscoreError: the recipe is invalid or contradicts the prior, the data cannot be loaded, or
            a patient is in both data and validation.
    """
    recipe = read_recipe(path, DequantizerRecipe, steps=steps, patterns=patterns)
    file = prior_path(recipe.dequantizes)
    checkpoint = verify(file)
    _check_images(recipe, checkpoint.contract, path)
    objective = bound_loss(load_prior(file))
    _, data = load_slice_data(recipe, path, root, cache)
    torch.manual_seed(recipe.plan.seed)  # network initialisation takes no generator
    contract = DequantizerContract(
        name=recipe.name,
        prior=checkpoint.contract.name,
        prior_sha256=checkpoint.sha256,
        flow=recipe.flow,
        provenance=data.provenance,
    )
    return TrainingRun(
        recipe=path,
        plan=recipe.plan,
        data=data,
        model=recipe.flow.build(),
        objective=objective,
        contract=contract,
        file=DEQUANTIZER,
        describe=lambda: f"{slice_summary(data)}, for prior {contract.prior}",
        identity={"prior": checkpoint.sha256},
    )


def bound_loss(prior: NetworkPrior) -> Loss[DequantizationFlow]:
    """The loss of a dequantization flow: the bound of Eq. 9.13 divided by D, in nats.

    The uniform draws v are Phi(z); the random draws of the bound are seeded by u.

    Args:
        prior: the fixed prior.
    """

    def loss(flow: DequantizationFlow, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        prior.to(x0.device)
        v = torch.special.ndtr(z).clamp(2**-24, 1 - 2**-24)
        k = flow.levels.quantise(x0)
        return dequantization_loss(flow, prior, k, v, seeds_from(u, 2)) / x0[0].numel()

    return loss


def _check_images(recipe: DequantizerRecipe, contract: DataContract, path: Path) -> None:
    if contract.size is None:
        raise MedscoreError(
            f"prior {contract.name} is for {contract.matrix}",
            where=path,
            hint="use a prior of one matrix size",
        )
    for key in ("modality", "quantity", "low", "high", "size"):
        ours, theirs = getattr(recipe, key), getattr(contract, key)
        if ours != theirs:
            raise MedscoreError(
                f"{key} is {ours}, but {theirs} in prior {contract.name}",
                where=path,
                hint="describe the images as the prior's recipe does",
            )
