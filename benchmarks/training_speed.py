"""Training speed: medscore's loop beside a plain PyTorch loop, and the time for making batches."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from number import Number

from medscore.datasets.collections.augment import draw_batch
from medscore.objectives.denoising import edm
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import build_prior, read_checkpoint
from medscore.priors.contract import DataContract
from medscore.training.loop import Batches, draw, train_steps
from medscore.training.plan import TrainingPlan
from medscore.training.recipe import PriorRecipe, read_recipe

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "train" / "ct-128.yaml"
STEPS, ROUNDS = 8, 4


def noise_slices(recipe: PriorRecipe) -> Batches:
    """Batches of augmented slices as in a real run, but of noise."""
    side = recipe.oversample * recipe.size
    slices = torch.rand(64, side, side, generator=torch.Generator().manual_seed(0)).half()
    return lambda generator, part: draw_batch(
        slices,
        recipe.augmentation,
        generator,
        batch=recipe.plan.batch,
        part=part,
        oversample=recipe.oversample,
    )


def plain(contract: DataContract, source: Batches, plan: TrainingPlan) -> list[float]:
    """Seconds of each step of a plain loop: float32, contiguous memory format, Adam, averaged
    weights, batches made between the steps.
    """
    prior, average = build_prior(contract).train(), build_prior(contract)
    objective = edm(contract.data_std)
    optimiser = torch.optim.Adam(prior.parameters(), lr=plan.learning_rate)
    seconds = []
    for step in range(1, plan.steps + 1):
        begin = time.perf_counter()
        loss = objective(prior, *draw(source, plan, step, slice(None))).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), plan.clip)
        optimiser.step()
        with torch.no_grad():
            for old, new in zip(average.parameters(), prior.parameters(), strict=True):
                old.lerp_(new, 0.001)
        loss.item()
        seconds.append(time.perf_counter() - begin)
    return seconds


def ours(contract: DataContract, source: Batches, plan: TrainingPlan) -> list[float]:
    """Seconds of each step of :func:`medscore.training.loop.train_steps`."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for _ in train_steps(
            build_prior(contract), source, edm(contract.data_std), plan, Path(folder)
        ):
            seconds.append(time.perf_counter() - begin)
            begin = time.perf_counter()
    return seconds


def data_seconds(source: Batches, plan: TrainingPlan) -> float:
    """Seconds for making a batch: images, augmentation, times and noise."""
    seconds = []
    for step in range(1, 31):
        begin = time.perf_counter()
        draw(source, plan, step, slice(None))
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def speed_numbers() -> list[Number]:
    """Throughput of both loops in the same run, and the share of a step spent on making batches."""
    recipe = read_recipe(RECIPE, PriorRecipe)
    contract = read_checkpoint(prior_path("ct-128")).contract
    plan = replace(recipe.plan, steps=STEPS, warmup=0, cooldown=0, restarts=(), save_every=10**6,
                   validate_every=0, sample_every=0)  # fmt: skip
    source = noise_slices(recipe)
    slow: list[float] = []
    fast: list[float] = []
    for _ in range(ROUNDS):  # in turns, so that both run under the same load
        slow += plain(contract, source, plan)[1:]
        fast += ours(contract, source, plan)[1:-1]  # the last one saves the state
    data = data_seconds(source, plan)
    images = plan.batch
    return [
        Number("plain float32 loop, images a second", images / median(slow)),
        Number("medscore's loop, images a second", images / median(fast)),
        Number("ratio", median(slow) / median(fast), at_least=1.5),
        Number("making the data, share of a step", data / median(fast), at_most=0.05),
    ]
