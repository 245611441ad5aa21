r"""A classifier of noisy images, p_t(y | x), trained on any SDE (Song et al. 2022, section 7.5).

It sees :math:`(x_t/\alpha - m) / \sqrt{s^2 + d^2}` of unit variance and is told log s, where
s = sigma/alpha, m and d are mean and deviation of the data; it is trained by cross-entropy at times
whose log s is uniform.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from medscore.io.specs import Strict
from medscore.io.weights import WeightsFile
from medscore.objectives.denoising import ImportanceTimes
from medscore.priors.contract import Provenance, SDESpec
from medscore.sdes.base import expand
from medscore.types import Images, Times

TIMES = ImportanceTimes()
SIDE = 4


class ClassifierSpec(Strict):
    """Sizes of a :class:`NoisyClassifier`: channels of each resolution, finest first."""

    channels: tuple[int, ...] = Field(default=(32, 64, 128), min_length=1)


class ClassifierContract(Strict):
    """What the header of a classifier's file holds; ``classes`` are its labels in order."""

    name: str
    classes: tuple[str, ...] = Field(min_length=2)
    quantity: str
    size: int
    image_channels: int
    data_mean: float
    data_std: float
    sde: SDESpec
    spec: ClassifierSpec
    provenance: Provenance


CLASSIFIER = WeightsFile(
    format="medscore-classifier-1",
    contract=ClassifierContract,
    what="classifier",
    where_from="train it with `medscore train` and a recipe that has `classifies`",
    made_by="`medscore train` with a recipe that has `classifies`",
    renew="train it again",
)


def save_classifier(
    path: str | Path, contract: ClassifierContract, weights: Mapping[str, Tensor]
) -> None:
    """Write a classifier, atomically.

    Args:
        path: file to write.
        contract: its header.
        weights: state dict of the classifier's ``network``.
    """
    CLASSIFIER.save(path, contract, weights)


def load_classifier(path: str | Path) -> tuple[NoisyClassifier, str]:
    """Load a classifier in float32 and without gradients.

    Args:
        path: file to read.

    Returns:
        The classifier and the hash of its weights.

    Raises:
        MedscoreError: the file does not exist, is of another kind, or is damaged.
    """
    model, stored = CLASSIFIER.load(path, NoisyClassifier)
    return model, stored.sha256


class NoisyClassifier(nn.Module):
    """Logits (batch, classes) of noisy images."""

    def __init__(self, contract: ClassifierContract) -> None:
        super().__init__()
        self.sde, self.contract = contract.sde.build(), contract
        self.network = Layers(
            contract.image_channels, contract.spec.channels, contract.size, len(contract.classes)
        )

    def forward(self, x: Images, t: Times) -> Tensor:
        s = self.sde.ratio(t)
        u = x / expand(self.sde.alpha(t), x) - self.contract.data_mean
        u = u / expand(torch.sqrt(s**2 + self.contract.data_std**2), x)
        logits: Tensor = self.network(u, torch.log(s))
        return logits


class Layers(nn.Module):
    """Two convolutions at each resolution, shifted by what is known of the noise, then all that a
    map of ``SIDE`` x ``SIDE`` means shows: under much noise a class is told by where things are.
    """

    def __init__(
        self, image_channels: int, channels: tuple[int, ...], size: int, classes: int
    ) -> None:
        super().__init__()
        into = (image_channels, *channels[:-1])
        self.side = max(1, min(SIDE, size // 2 ** (len(channels) - 1)))
        self.first = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1)
                                   for a, b in zip(into, channels, strict=True))  # fmt: skip
        self.second = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for b in channels)
        self.noise = nn.ModuleList(nn.Linear(16, b) for b in channels)
        self.last = nn.Linear(channels[-1] * self.side**2, classes)

    def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
        """Args: u (batch, channel, H, W); log_s (batch,)."""
        waves = log_s[:, None] * 2.0 ** torch.arange(-3, 5, device=u.device)
        told = torch.cat([torch.sin(waves), torch.cos(waves)], 1)
        layers = list(zip(self.first, self.second, self.noise, strict=True))
        for number, (first, second, noise) in enumerate(layers):
            u = functional.silu(first(u) + noise(told)[:, :, None, None])
            u = functional.silu(second(u))
            if number + 1 < len(layers):
                u = functional.avg_pool2d(u, 2)
        scores: Tensor = self.last(functional.adaptive_avg_pool2d(u, self.side).flatten(1))
        return scores


def labelled(images: Tensor, labels: Tensor) -> Tensor:
    """Images (n, channel, H, W) with their labels (n,) as one channel more, so that they are drawn
    together.
    """
    plane = labels.to(images)[:, None, None, None].expand(-1, 1, *images.shape[2:])
    return torch.cat([images, plane], 1)


def cross_entropy(model: NoisyClassifier, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
    """The loss of each sample, (batch,).

    Args:
        x0: :func:`labelled` clean images. u: uniform in [0, 1), which become times. z: white noise
            like ``x0``, whose last channel is not used.
    """
    clean, labels = x0[:, :-1], x0[:, -1, 0, 0].long()
    t = TIMES(model.sde, u)
    logits = model(model.sde.marginal(clean, t, z[:, :-1]), t)
    return functional.cross_entropy(logits.float(), labels, reduction="none")
