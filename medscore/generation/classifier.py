r"""A classifier of noisy images, p_t(y | x), trained on any SDE (Song et al. 2022, section 7.5).

Its input is :math:`(x_t/\alpha - m) / \sqrt{s^2 + d^2}`, which has unit variance, and it is
conditioned on log s, where s = sigma/alpha and m and d are the mean and standard deviation of the
data. It is trained with the cross-entropy at times for which log s is uniformly distributed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from medscore.io.specs import LARGEST_SIDE, Strict
from medscore.io.weights import WeightsFile
from medscore.nets.spec import Positive
from medscore.objectives.denoising import ImportanceTimes
from medscore.priors.contract import Provenance, SDESpec
from medscore.sdes.base import expand
from medscore.types import Images, Times

TIMES = ImportanceTimes()
"""Training times, uniform in log s."""

SIDE = 4
"""Side of the map of features before the last layer, at most."""


class ClassifierSpec(Strict):
    """Parameters of a :class:`NoisyClassifier`.

    Attributes:
        channels: channels of each resolution level, finest first.
    """

    channels: tuple[Positive, ...] = Field(default=(32, 64, 128), min_length=1, max_length=16)


class ClassifierContract(Strict):
    """Header of a classifier's file.

    Attributes:
        name: name of the classifier.
        classes: the labels, in the order of the logits.
        quantity: ``colour`` or ``grey``.
        size: side of the images in pixels.
        image_channels: channels of the images.
        data_mean: mean of the data in the network's range.
        data_std: standard deviation of the data in the network's range.
        sde: the forward diffusion.
        spec: parameters of the classifier.
        provenance: data, training steps and licence.
    """

    name: str
    classes: tuple[str, ...] = Field(min_length=2)
    quantity: str
    size: int = Field(gt=0, le=LARGEST_SIDE)
    image_channels: Positive
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
    """Classifier of noisy images.

    Args:
        contract: describes images, noise and layers.
    """

    def __init__(self, contract: ClassifierContract) -> None:
        super().__init__()
        self.sde, self.contract = contract.sde.build(), contract
        self.network = Layers(
            contract.image_channels, contract.spec.channels, contract.size, len(contract.classes)
        )

    def forward(self, x: Images, t: Times) -> Tensor:
        """The logits, (batch, classes).

        Args:
            x: noisy images (batch, channel, H, W).
            t: times (batch,).
        """
        s = self.sde.ratio(t)
        u = x / expand(self.sde.alpha(t), x) - self.contract.data_mean
        u = u / expand(torch.sqrt(s**2 + self.contract.data_std**2), x)
        logits: Tensor = self.network(u, torch.log(s))
        return logits


class Layers(nn.Module):
    """Convolutions at each resolution with a noise-dependent bias, and a linear layer at the end.

    The linear layer sees a map of at most ``SIDE`` x ``SIDE`` mean features instead of one global
    mean, since position helps to recognise a class under strong noise.

    Args:
        image_channels: channels of the images.
        channels: channels of each resolution level, finest first.
        size: side of the images in pixels.
        classes: number of classes.
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
        """The logits, (batch, classes).

        Args:
            u: normalised noisy images (batch, channel, H, W).
            log_s: logarithm of the noise-to-signal ratio, (batch,).
        """
        waves = log_s[:, None] * 2.0 ** torch.arange(-3, 5, device=u.device)
        embedding = torch.cat([torch.sin(waves), torch.cos(waves)], 1)
        layers = list(zip(self.first, self.second, self.noise, strict=True))
        for number, (first, second, noise) in enumerate(layers):
            u = functional.silu(first(u) + noise(embedding)[:, :, None, None])
            u = functional.silu(second(u))
            if number + 1 < len(layers):
                u = functional.avg_pool2d(u, 2)
        scores: Tensor = self.last(functional.adaptive_avg_pool2d(u, self.side).flatten(1))
        return scores


def labelled(images: Tensor, labels: Tensor) -> Tensor:
    """Append labels to images as a further channel, so that both are drawn together.

    Args:
        images: images (n, channel, H, W).
        labels: index of each image's class, (n,).

    Returns:
        Images with labels, (n, channel + 1, H, W).
    """
    plane = labels.to(images)[:, None, None, None].expand(-1, 1, *images.shape[2:])
    return torch.cat([images, plane], 1)


def cross_entropy(model: NoisyClassifier, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
    """The cross-entropy of each sample, (batch,).

    Args:
        model: the classifier.
        x0: clean images with their labels (:func:`labelled`).
        u: uniform draws in [0, 1), (batch,), which become times.
        z: white noise of the shape of ``x0``; its last channel is not used.
    """
    clean, labels = x0[:, :-1], x0[:, -1, 0, 0].long()
    t = TIMES(model.sde, u)
    logits = model(model.sde.marginal(clean, t, z[:, :-1]), t)
    return functional.cross_entropy(logits.float(), labels, reduction="none")
