"""A trained dequantization flow: its recipe, its training run, and the file it is kept in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from medscore.checkpoint import load_prior, verify
from medscore.contract import DataContract, Provenance
from medscore.datasets.augment import draw_batch
from medscore.datasets.slices import Slices
from medscore.errors import MedscoreError
from medscore.likelihood.bits import Levels
from medscore.likelihood.dequantization import DequantizationFlow, dequantization_loss
from medscore.noise import derive_seed
from medscore.prior import Prior
from medscore.recipe import ImageRecipe
from medscore.strict import Strict, read_yaml, validated
from medscore.training.loop import Loss
from medscore.training.plan import TrainingPlan
from medscore.training.prepare import held_out, identity_of, training_slices
from medscore.training.validation import Validation
from medscore.weights_file import Kind, check_hash, fill_network, read_weights, write_weights


class FlowSpec(Strict):
    """Sizes of a :class:`~medscore.likelihood.dequantization.DequantizationFlow`."""

    bits: int = Field(ge=1, le=16)
    hidden: int = Field(default=32, gt=0)
    couplings: int = Field(default=4, gt=0)

    def build(self) -> DequantizationFlow:
        """The untrained flow: uniform dequantization."""
        return DequantizationFlow(Levels(self.bits), hidden=self.hidden, couplings=self.couplings)


class DequantizerContract(Strict):
    """What the header holds. ``prior`` and ``prior_sha256`` are whose likelihood it serves."""

    name: str
    prior: str
    prior_sha256: str
    flow: FlowSpec
    provenance: Provenance


DEQUANTIZER = Kind(
    format="medscore-dequantizer-1",
    contract=DequantizerContract,
    what="dequantizer",
    where_from="train it with `medscore train configs/train/dequantizer-...`",
    made_by="`medscore train` with a recipe that has `dequantizes`",
    renew="train it again",
)


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
    recipe: DequantizerRecipe
    plan: TrainingPlan
    slices: Slices
    objective: Loss[DequantizationFlow]
    validation: Validation | None
    identity: dict[str, str]

    def batch(self, generator: torch.Generator, part: slice) -> Tensor:
        """Augmented images (part, 1, size, size) of the batch that the generator draws."""
        return draw_batch(
            self.slices.images, self.recipe.augmentation, generator, batch=self.plan.batch,
            part=part, oversample=self.recipe.oversample,
        )  # fmt: skip


def bound_loss(prior: Prior) -> Loss[DequantizationFlow]:
    """Eq. 9.13 over D, in nats; v is Phi(z), and the draws of the bound are seeded by u."""

    def loss(flow: DequantizationFlow, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        v = torch.special.ndtr(z).clamp(2**-24, 1 - 2**-24)
        seeds = [derive_seed(int(value * 2**53), 2) for value in u.tolist()]
        k = flow.levels.quantise(x0)
        return dequantization_loss(flow, prior, k, v, seeds) / x0[0].numel()

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
    :func:`medscore.training.prepare.prepare`.
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
        provenance=Provenance(
            data=", ".join(recipe.data), patients=len(set(slices.patients)),
            slices=len(slices.images), steps=plan.steps, seed=plan.seed, licence=recipe.licence,
            config_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        ),
    )  # fmt: skip
    return DequantizerRun(
        recipe.flow.build(), contract, recipe, plan, slices, objective,
        None if few is None else Validation(few, objective, plan.batch),
        {**identity_of(recipe, plan, slices), "prior": checkpoint.sha256},
    )  # fmt: skip


def save_dequantizer(path: Path, contract: DequantizerContract, weights: dict[str, Any]) -> None:
    """Write weights with the contract, atomically."""
    write_weights(path, DEQUANTIZER, contract, weights)


def load_dequantizer(path: Path, prior_sha256: str) -> DequantizationFlow:
    """The flow in float32, frozen.

    Args:
        prior_sha256: of the weights of the prior that it is used with.

    Raises:
        MedscoreError: no such file, another kind of file, a damaged one, or one trained for another
            prior.
    """
    stored = read_weights(path, DEQUANTIZER)
    check_hash(path, stored)
    if stored.contract.prior_sha256 != prior_sha256:
        raise MedscoreError(
            f"was trained for prior {stored.contract.prior} "
            f"({stored.contract.prior_sha256[:12]}), not for this one",
            where=path, mend="use that prior, or train another dequantizer",
        )  # fmt: skip
    flow = stored.contract.flow.build()
    fill_network(flow.network, stored, path)
    return flow.eval().requires_grad_(False)


def _check_images(recipe: DequantizerRecipe, contract: DataContract, path: Path) -> None:
    for key in ("modality", "quantity", "low", "high", "size"):
        own, its = getattr(recipe, key), getattr(contract, key)
        if own != its:
            raise MedscoreError(
                f"{key} is {own}, that of prior {contract.name} is {its}", where=path,
                mend="describe the images as the prior's recipe does",
            )  # fmt: skip
