"""Which images to draw: unconditional, conditioned on observations, or of chosen classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.binding import ConditionerFactory
from medscore.conditioners.guidance import ClassifierGuidance
from medscore.engine.job import Batch
from medscore.errors import MedscoreError
from medscore.generation.classifier import NoisyClassifier, load_classifier
from medscore.generation.completion import Completion
from medscore.generation.observations import Observations
from medscore.operators.base import Operator
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract
from medscore.samplers.base import Sampler
from medscore.white_noise import derive_seed


@dataclass(frozen=True)
class ClassChoice:
    """Classes that the images take in turn, imposed by a classifier of noisy images.

    Attributes:
        classifier: the classifier.
        labels: class indices (classes,); image i is of class i modulo their number.
        strength: factor on the classifier's gradient; 1 is Bayes' rule.
        origin: name and hash of the classifier, for the provenance.
    """

    classifier: NoisyClassifier
    labels: Tensor
    strength: float
    origin: dict[str, Any]

    def guidance(self, items: Sequence[int]) -> ClassifierGuidance:
        """The guidance of some images.

        Args:
            items: indices of the images.
        """
        turns = self.labels[torch.tensor(list(items)) % len(self.labels)]
        return ClassifierGuidance(self.classifier, turns, self.strength)


@dataclass(frozen=True)
class Request:
    """Images to draw.

    Attributes:
        seeds: one seed per image.
        batch: the engine's batch for the images with some indices, from prior and sampler.
        origin: what the images are conditioned on, for the provenance and the fingerprint of the
            run.
        sheet: the images of the contact sheet and its number of columns, from the drawn images.
    """

    seeds: list[int]
    batch: Callable[[Prior, Sampler, Sequence[int]], Batch] = lambda p, s, items: Batch(p, s)
    origin: dict[str, Any] = field(default_factory=dict)
    sheet: Callable[[Tensor], tuple[Tensor, int | None]] = lambda x: (x, None)

    def guided(self, classes: ClassChoice) -> Request:
        """The same request, drawn from p(x | class) instead of the prior.

        Args:
            classes: the classes.
        """

        def batch(prior: Prior, sampler: Sampler, items: Sequence[int]) -> Batch:
            return self.batch(classes.guidance(items).prior(prior), sampler, items)

        return replace(self, batch=batch, origin={**self.origin, **classes.origin})


def unconditional(count: int, seed: int) -> Request:
    """Draws from the prior alone.

    Args:
        count: number of images.
        seed: seed of all draws.
    """
    return Request([derive_seed(seed, i) for i in range(count)])


def conditional(
    count: int,
    seed: int,
    task: str,
    observations: Observations,
    make: ConditionerFactory,
    device: str,
    *,
    keep_identity: bool = False,
) -> Request:
    """Draw ``count`` samples for each observed image; every sample fits its observation exactly.

    Args:
        count: samples per observed image.
        seed: seed of all draws.
        task: name of the observation's task, for the provenance.
        observations: noise-free measurements.
        make: makes the conditioner of a batch.
        device: device of the measurements.
        keep_identity: whether the provenance states the names of the image files too.

    Raises:
        MedscoreError: the conditioner cannot use the operator.
    """

    def rule(operator: Operator, y: Tensor) -> Conditioner:
        return make(operator, y, 0.0)

    operator, y = observations.operator, observations.y.to(device)
    rule(operator, y[:1])  # an unsuitable conditioner is refused before sampling begins
    content = hashlib.sha256(observations.y.numpy().tobytes())
    content.update(operator.mask(observations.y).numpy().tobytes())
    labels = observations.images.labels
    named = {"files": observations.images.names} if keep_identity else {}

    def sheet(x: Tensor) -> tuple[Tensor, int]:
        rows = torch.cat([observations.shown[:, None], x.unflatten(0, (len(labels), count))], 1)
        return rows.flatten(0, 1), count + 1

    return Request(
        [derive_seed(seed, i, k) for i in range(len(labels)) for k in range(count)],
        Completion(operator, y, count, rule).batch,
        {"known": {"task": task, "operator": str(operator), "images": labels,
                   "sha256": content.hexdigest(), **named}},
        sheet,
    )  # fmt: skip


def choose_classes(
    file: Path, label: str, strength: float, contract: DataContract, device: str
) -> ClassChoice:
    """The classes that ``label`` names, with the classifier in a file.

    Args:
        file: a classifier of noisy images.
        label: names of classes, separated by commas.
        strength: factor on the classifier's gradient.
        contract: data contract of the prior.
        device: device of the classifier.

    Raises:
        MedscoreError: the classifier does not fit the prior, or has no such class.
    """
    model, sha256 = load_classifier(file)
    its = model.contract
    if (its.size, its.quantity, its.sde) != (contract.side, contract.quantity, contract.sde):
        raise MedscoreError(
            f"the classifier is for {its.quantity} images of side {its.size} on {its.sde}, prior "
            f"{contract.name} for {contract.quantity} images of side {contract.side} on "
            f"{contract.sde}",
            where=file, hint="train one with `classifies` set to that prior",
        )  # fmt: skip
    numbers = []
    for name in (part.strip() for part in label.split(",")):
        if name not in its.classes:
            raise MedscoreError(
                f"`label`: no class {name!r}", where=file,
                hint=f"use one of: {', '.join(its.classes)}",
            )  # fmt: skip
        numbers.append(its.classes.index(name))
    origin = {"classifier": {"name": its.name, "sha256": sha256}}
    return ClassChoice(
        model.to(device), torch.tensor(numbers, device=device), strength, origin
    )  # fmt: skip
