"""Training a dequantization flow: the images of a prior, which is fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import read_yaml, validated
from medscore.likelihood.dequantization import DequantizationFlow, dequantization_loss
from medscore.likelihood.dequantizer import DequantizerContract, FlowSpec
from medscore.priors.checkpoint import load_prior, verify
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.training.data import augmented, held_out, identity_of, provenance_of, training_slices
from medscore.training.loop import Batches, Loss
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import ImageRecipe
from medscore.training.validation import Validation
from medscore.white_noise import seeds_from


class DequantizerRecipe(ImageRecipe):
    """What a dequantizer's training configuration may say.

    Attributes:
        dequantizes: the prior, by name or path; its images are like those here.
    """

    dequantizes: str
    flow: FlowSpec


@dataclass(frozen=True)
class DequantizerRun:
    """What :func:`medscore.training.loop.train` needs, and the contract of its outcome."""

    model: DequantizationFlow
    contract: DequantizerContract
    batch: Batches
    objective: Loss[DequantizationFlow]
    plan: TrainingPlan
    validation: Validation | None
    identity: dict[str, str]


def bound_loss(prior: NetworkPrior) -> Loss[DequantizationFlow]:
    """Eq. 9.13 over D, in nats; v is Phi(z), and the draws of the bound are seeded by u."""

    def loss(flow: DequantizationFlow, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        prior.to(x0.device)
        v = torch.special.ndtr(z).clamp(2**-24, 1 - 2**-24)
        k = flow.levels.quantise(x0)
        return dequantization_loss(flow, prior, k, v, seeds_from(u, 2)) / x0[0].numel()

    return loss


def prepare_dequantizer(
    path: Path,
    data_root: Path,
    *,
    steps: int | None = None,
    find_prior: Callable[[str], Path] = Path,
    cache: Path | None = None,
) -> DequantizerRun:
    """Load the recipe, its prior and its slices; arguments and errors as of
    :func:`medscore.training.prior.prepare`.
    """
    recipe: DequantizerRecipe = validated(DequantizerRecipe, read_yaml(path), path)
    plan = recipe.plan if steps is None else recipe.plan.shortened(steps)
    file = find_prior(recipe.dequantizes)
    checkpoint = verify(file)
    _check_images(recipe, checkpoint.contract, path)
    prior = load_prior(file)
    slices = training_slices(recipe, recipe.data, data_root, cache)
    objective = bound_loss(prior)
    torch.manual_seed(plan.seed)  # network initialisation takes no generator
    few = held_out(path, recipe, slices, data_root, cache)
    contract = DequantizerContract(
        name=recipe.name, prior=checkpoint.contract.name, prior_sha256=checkpoint.sha256,
        flow=recipe.flow,
        provenance=provenance_of(recipe, plan, slices, path),
    )  # fmt: skip
    return DequantizerRun(
        recipe.flow.build(), contract, augmented(recipe, plan, slices), objective, plan,
        None if few is None else Validation(few, objective, plan.batch),
        {**identity_of(recipe, plan, slices.images), "prior": checkpoint.sha256},
    )  # fmt: skip


def _check_images(recipe: DequantizerRecipe, contract: DataContract, path: Path) -> None:
    for key in ("modality", "quantity", "low", "high", "size"):
        own, its = getattr(recipe, key), getattr(contract, key)
        if own != its:
            raise MedscoreError(
                f"{key} is {own}, that of prior {contract.name} is {its}", where=path,
                hint="describe the images as the prior's recipe does",
            )  # fmt: skip
