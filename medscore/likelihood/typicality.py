r"""How typical an image is for a prior: its likelihood bound, compared with validation images.

Every image gets the same noises at the same, equally spaced quantiles of the times (common random
numbers), so that the result is a property of the image,

.. math:: \ell(x) = L^{DSM}(x, \epsilon) / D, \qquad
          z(x) = (\ell(x) - \mu) / s,

with the mean mu and the standard deviation s over images that the prior was validated on. A large z
marks images unlike them; a very negative z marks images that are smoother or simpler, which
likelihood alone would call likely. The statistics of a prior are stored beside it in
``NAME.typical.json``. Priors for any matrix may be judged on one grid, to which images are reduced.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from medscore.datasets.collections.slices import FULL
from medscore.datasets.fit import fit_grid
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import read_json
from medscore.io.opening import is_there
from medscore.io.specs import LARGEST_SIDE, Strict, validated
from medscore.likelihood.bound import denoising_draw
from medscore.likelihood.unusual import ImageTest, Judgement, judge
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior
from medscore.types import Images, Times
from medscore.white_noise import Noise

DRAWS = 16
"""Pairs of a time and a noise that every image is evaluated with."""

UNUSUAL = 4.0
"""|z| above which an image is called unusual."""


class Typical(Strict):
    """Statistics of :func:`nats_per_dim` over a prior's validation images.

    Attributes:
        prior: hash of the prior's weights.
        mean: mean over the images.
        deviation: standard deviation over the images.
        count: number of images.
        tests: further tests (:mod:`medscore.likelihood.unusual`), fitted to training images.
        side: rows and columns that images are reduced to before they are judged; by default they
            keep their own.
        pixel_mm: pixel size in mm that the prior is given for the reduced images.
    """

    prior: str
    mean: float
    deviation: float = Field(gt=0)
    count: int = Field(ge=2)
    tests: tuple[ImageTest, ...] = ()
    side: int | None = Field(default=None, ge=8, le=LARGEST_SIDE)
    pixel_mm: float = Field(default=1.0, gt=0)

    def seen(self, prior: NetworkPrior, x: Images) -> tuple[NetworkPrior, Images]:
        """The prior and the images on the grid on which they are judged.

        Args:
            prior: the prior, on the grid of the images.
            x: images (n, channel, H, W) in the prior's range.
        """
        if self.side is None:
            return prior, x
        fit = fit_grid(x.shape[-2:], (1.0, 1.0), self.side)
        reduced = torch.from_numpy(fit.apply(x.cpu().numpy())).to(x)
        grid = self.side, self.side
        return prior.on_grid(grid, self.pixel_mm, allow_mismatch=True), reduced

    @staticmethod
    def of(values: Times, prior: str) -> Typical:
        """The statistics of two images or more.

        Args:
            values: :func:`nats_per_dim` of the images, (n,).
            prior: hash of the prior's weights.

        Raises:
            ValueError: there are fewer than two images, or all values are equal.
        """
        if len(values) < 2 or not float(values.std()) > 0:
            equal = "" if len(values) < 2 else " of equal value"
            raise ValueError(f"{len(values)} images{equal} do not determine a standard deviation")
        return Typical(
            prior=prior, mean=float(values.mean()), deviation=float(values.std()),
            count=len(values),
        )  # fmt: skip

    def z(self, values: Times) -> Times:
        """Standard deviations from the mean.

        Args:
            values: :func:`nats_per_dim` of images, (n,).
        """
        return (values - self.mean) / self.deviation


@torch.no_grad()
def nats_per_dim(prior: Prior, x: Images) -> Times:
    """The bound over D of each image, with the same draws for all images.

    Args:
        prior: the prior.
        x: images (n, channel, H, W) in the prior's range.
    """
    u = (torch.arange(DRAWS) + 0.5).to(x) / DRAWS
    z = Noise(range(DRAWS))(x[:1].expand(DRAWS, *x.shape[1:]))
    found = [denoising_draw(prior, image.expand_as(z), u, z).mean() for image in x]
    return torch.stack(found) / x[0].numel()


def network_range(values: NDArray[np.float32], contract: ImageDomain) -> Tensor:
    """Slices in the prior's range, scaled as its training images were: (n, channel, H, W).

    HU are clipped to the prior's range; magnitudes are divided by the 99.5th percentile of their
    slice. For a prior of complex images the magnitudes have no phase, which is one of the phases
    that it knows.

    Args:
        values: slices (n, H, W) in HU or as magnitudes.
        contract: data contract of the prior.
    """
    images = torch.from_numpy(values)[:, None].float()
    if contract.quantity == "HU":
        return ((images - contract.low) / contract.scale).clamp(0, 1)
    full = torch.quantile(images.flatten(1), FULL, dim=1)
    scaled = images / torch.where(full > 0, full, 1.0)[:, None, None, None]
    if contract.channels == 2:
        return torch.cat([scaled, torch.zeros_like(scaled)], dim=1)
    return (scaled - contract.low) / contract.scale


def z_scores(
    typical: Typical, prior: NetworkPrior, contract: ImageDomain, values: NDArray[np.float32]
) -> Times:
    """z of slices, (n,) on the CPU.

    Args:
        typical: statistics of the prior's validation images.
        prior: the prior.
        contract: its data contract.
        values: slices (n, H, W) in HU or as magnitudes.
    """
    x = network_range(values, contract).to(next(prior.parameters()).device)
    return typical.z(nats_per_dim(*typical.seen(prior, x)).cpu())


def judged(
    typical: Typical, prior: NetworkPrior, contract: ImageDomain, values: NDArray[np.float32]
) -> tuple[Judgement, ...]:
    """What the further tests say about the slices of one scan.

    Args:
        typical: statistics of the prior.
        prior: the prior.
        contract: its data contract.
        values: slices (n, H, W) in HU or as magnitudes.
    """
    x = network_range(values, contract).to(next(prior.parameters()).device)
    prior, x = typical.seen(prior, x)
    return judge(typical.tests, prior, contract, x)


def warning(z: Times) -> str | None:
    """A warning if any slice is unusual, else None.

    Args:
        z: :func:`z_scores` of the slices, (n,).
    """
    unusual = z.abs() > UNUSUAL
    if not bool(unusual.any()):
        return None
    return (
        f"{int(unusual.sum())} of {len(z)} slice(s) are unlike the prior's validation images: z up "
        f"to {float(z[z.abs().argmax()]):+.1f}, |z| above {UNUSUAL:g} is unusual"
    )


def beside(prior_file: Path) -> Path:
    """The file with the statistics of a prior.

    Args:
        prior_file: the prior's checkpoint.
    """
    return prior_file.with_name(f"{prior_file.stem}.typical.json")


def read_typical(prior_file: Path, sha256: str) -> Typical | None:
    """The statistics of a prior; None if there is no file with them.

    Args:
        prior_file: the prior's checkpoint.
        sha256: hash of the prior's weights.

    Raises:
        MedscoreError: the file is damaged, or belongs to other weights.
    """
    path = beside(prior_file)
    if not is_there(path):
        return None
    content = read_json(
        path, hint="write it again with `medscore likelihood` and `typical`, or remove it"
    )
    found = validated(Typical, content, path)
    if found.prior != sha256:
        raise MedscoreError(
            "belongs to other weights than the prior's", where=path,
            hint="write it again with `medscore likelihood` and `typical`, or remove it",
        )  # fmt: skip
    return found


def write_typical(prior_file: Path, typical: Typical) -> Path:
    """Write the statistics beside the prior, atomically, and return the file.

    Args:
        prior_file: the prior's checkpoint.
        typical: the statistics.
    """
    path = beside(prior_file)
    atomic_write(path, (typical.model_dump_json(indent=1) + "\n").encode())
    return path
