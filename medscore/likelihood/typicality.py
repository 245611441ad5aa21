r"""How typical an image is for a prior: its bound beside those of validation images.

Every image gets the same noises at the same, equally spaced quantiles of the times (common random
numbers), so that the number is a property of the image,

.. math:: \ell(x) = L^{DSM}(x, \epsilon) / D, \qquad
          z(x) = (\ell(x) - \text{mean}) / \text{deviation},

with mean and deviation over images that the prior was validated on. Large z is unlike them; small
(negative) z is too smooth or too plain, which likelihoods alone would call likely. What is typical
of a prior lies beside it in ``NAME.typical.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from medscore.datasets.collections.slices import FULL
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.specs import Strict, validated
from medscore.likelihood.bound import denoising_draw
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior
from medscore.types import Images, Times
from medscore.white_noise import Noise

DRAWS = 16
"""Times and noises that every image is looked at with."""

UNUSUAL = 4.0
"""|z| from which an image is called unusual."""


class Typical(Strict):
    """What validation images of a prior are like.

    Attributes:
        prior: its weights' hash. mean, deviation: of :func:`nats_per_dim`. count: of images.
    """

    prior: str
    mean: float
    deviation: float = Field(gt=0)
    count: int = Field(ge=2)

    @staticmethod
    def of(values: Times, prior: str) -> Typical:
        """Of :func:`nats_per_dim` of two images or more.

        Raises:
            ValueError: fewer, or all alike.
        """
        if len(values) < 2 or not float(values.std()) > 0:
            alike = "" if len(values) < 2 else ", all alike,"
            raise ValueError(f"{len(values)} images{alike} say nothing of their deviation")
        return Typical(
            prior=prior, mean=float(values.mean()), deviation=float(values.std()),
            count=len(values),
        )  # fmt: skip

    def z(self, values: Times) -> Times:
        """Deviations from the mean."""
        return (values - self.mean) / self.deviation


@torch.no_grad()
def nats_per_dim(prior: Prior, x: Images) -> Times:
    """The bound over D of images in the prior's range, with the same draws for all."""
    u = (torch.arange(DRAWS) + 0.5).to(x) / DRAWS
    z = Noise(range(DRAWS))(x[:1].expand(DRAWS, *x.shape[1:]))
    found = [denoising_draw(prior, image.expand_as(z), u, z).mean() for image in x]
    return torch.stack(found) / x[0].numel()


def network_range(values: NDArray[np.float32], contract: ImageDomain) -> Tensor:
    """Slices (n, H, W) in HU or as magnitudes, as the prior was trained on them: (n, 1, H, W).

    HU are clipped to the prior's range; magnitudes are in units of their slice's 99.5th percentile.
    """
    images = torch.from_numpy(values)[:, None].float()
    if contract.quantity == "HU":
        return ((images - contract.low) / contract.scale).clamp(0, 1)
    full = torch.quantile(images.flatten(1), FULL, dim=1)
    return (images / torch.where(full > 0, full, 1.0)[:, None, None, None] - contract.low) / (
        contract.scale
    )


def z_scores(
    typical: Typical, prior: NetworkPrior, contract: ImageDomain, values: NDArray[np.float32]
) -> Times:
    """z of slices (n, H, W) in HU or as magnitudes, on the CPU."""
    x = network_range(values, contract).to(next(prior.parameters()).device)
    return typical.z(nats_per_dim(prior, x).cpu())


def warning(z: Times) -> str | None:
    """What to say of slices, where there is something to say."""
    unusual = z.abs() > UNUSUAL
    if not bool(unusual.any()):
        return None
    return (
        f"{int(unusual.sum())} of {len(z)} slice(s) are unlike what the prior was validated on: z "
        f"up to {float(z[z.abs().argmax()]):+.1f}, {UNUSUAL:g} is unusual"
    )


def beside(prior_file: Path) -> Path:
    """Where what is typical of a prior lies."""
    return prior_file.with_name(f"{prior_file.stem}.typical.json")


def read_typical(prior_file: Path, sha256: str) -> Typical | None:
    """What is typical of a prior, if anybody has said so.

    Args:
        sha256: of the prior's weights.

    Raises:
        MedscoreError: the file is broken, or of other weights.
    """
    path = beside(prior_file)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise MedscoreError(
            f"cannot be read as JSON ({error})", where=path, hint="write it again, or remove it"
        ) from error
    found = validated(Typical, content, path)
    if found.prior != sha256:
        raise MedscoreError(
            "is of other weights than the prior's", where=path,
            hint="write it again with `medscore likelihood ... --typical`, or remove it",
        )  # fmt: skip
    return found


def write_typical(prior_file: Path, typical: Typical) -> Path:
    """Write it beside the prior, atomically; where."""
    path = beside(prior_file)
    atomic_write(path, (typical.model_dump_json(indent=1) + "\n").encode())
    return path
