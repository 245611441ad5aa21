"""What ``medscore generate`` draws: anything or such as agree with a part, of a class or of any."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.guidance import ClassifierGuidance
from medscore.engine.loop import Batch
from medscore.errors import MedscoreError
from medscore.generation.classifier import NoisyClassifier, load_classifier
from medscore.generation.complete import Completion
from medscore.generation.known import Known, Part
from medscore.operators.base import Operator
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract
from medscore.registry.build import build_conditioner
from medscore.samplers.base import Sampler
from medscore.white_noise import derive_seed


@dataclass(frozen=True)
class Wanted:
    """Images to draw.

    Attributes:
        seeds: one for each. batch: how those of some numbers are drawn. origin: for the record, and
            to tell an interrupted run by. sheet: what a sheet shows, and in how many columns.
    """

    seeds: list[int]
    batch: Callable[[Prior, Sampler, Sequence[int]], Batch] = lambda p, s, items: Batch(p, s)
    origin: dict[str, Any] = field(default_factory=dict)
    sheet: Callable[[Tensor], tuple[Tensor, int | None]] = lambda x: (x, None)

    def of(self, classes: Classes) -> Wanted:
        """The same, of classes which take turns: drawn from p(x | class) instead of the prior."""

        def batch(prior: Prior, sampler: Sampler, items: Sequence[int]) -> Batch:
            return self.batch(classes.guidance(items).prior(prior), sampler, items)

        return replace(self, batch=batch, origin={**self.origin, **classes.origin})


@dataclass(frozen=True)
class Classes:
    """Classes that take turns, by a classifier of noisy images.

    Attributes:
        labels: their numbers. origin: for the record.
    """

    classifier: NoisyClassifier
    labels: Tensor
    strength: float
    origin: dict[str, Any]

    def guidance(self, items: Sequence[int]) -> ClassifierGuidance:
        """For images of these numbers."""
        turns = self.labels[torch.tensor(list(items)) % len(self.labels)]
        return ClassifierGuidance(self.classifier, turns, self.strength)


def free(count: int, seed: int) -> Wanted:
    """Whatever the prior gives."""
    return Wanted([derive_seed(seed, i) for i in range(count)])


def classes(
    file: Path, label: str, strength: float, contract: DataContract, device: str
) -> Classes:
    """Those that ``label`` names, by the classifier in a file.

    Raises:
        MedscoreError: the classifier is of other images than the prior, or has no such class.
    """
    model, sha256 = load_classifier(file)
    its = model.contract
    if (its.size, its.quantity, its.sde) != (contract.size, contract.quantity, contract.sde):
        raise MedscoreError(
            f"is of {its.quantity} images of side {its.size} on {its.sde}, prior {contract.name} "
            f"of {contract.quantity} ones of side {contract.size} on {contract.sde}",
            where=file, hint="train one with `classifies` naming that prior",
        )  # fmt: skip
    numbers = []
    for name in (part.strip() for part in label.split(",")):
        if name not in its.classes:
            raise MedscoreError(
                f"--label {name!r}", where=file, hint=f"use one of: {', '.join(its.classes)}"
            )
        numbers.append(its.classes.index(name))
    origin = {"classifier": {"name": its.name, "sha256": sha256}}
    return Classes(
        model.to(device), torch.tensor(numbers, device=device), strength, origin
    )  # fmt: skip


def agreeing(
    count: int, seed: int, part: Part, known: Known, conditioner: str, device: str
) -> Wanted:
    """So many images for each one of which a part is known, all of which agree with it exactly."""
    make = build_conditioner(conditioner, {})

    def rule(operator: Operator, y: Tensor) -> Conditioner:
        return make(operator, y, 0.0)

    y = known.y.to(device)
    rule(known.operator, y[:1])  # refused here if it cannot do with the operator
    content = hashlib.sha256(known.y.numpy().tobytes())
    content.update(known.operator.mask(known.y).numpy().tobytes())
    names = known.images.names

    def sheet(x: Tensor) -> tuple[Tensor, int]:
        rows = torch.cat([known.seen[:, None], x.unflatten(0, (len(names), count))], 1)
        return rows.flatten(0, 1), count + 1

    return Wanted(
        [derive_seed(seed, i, k) for i in range(len(names)) for k in range(count)],
        Completion(known.operator, y, count, rule).batch,
        {"known": {"task": part.task, "operator": str(known.operator), "images": names,
                   "sha256": content.hexdigest()}},
        sheet,
    )  # fmt: skip
