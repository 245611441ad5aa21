r"""The noise level from the data themselves, when nobody gives it.

All estimates rest on the median of absolute values, :math:`\sigma = \mathrm{median}|e| / 0.6745`
for normal e, which a few large entries (edges, signal) hardly move. Where noise is fainter than the
image's own detail, or than the beam hardening and partial volume that metal causes, the estimates
are of the two together: too much noise, too few photons. These do not grow with the line integral
as counted photons' noise does, so one deviation for all rays describes them better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medscore.types import Kspace, Sinogram

NORMAL_MEDIAN = 0.6744897501960817
"""Median of |z| for standard normal z."""

LEAST = 32
"""Fewest numbers an estimate is made from."""

DIFFERENCE = (1.0, -4.0, 6.0, -4.0, 1.0)
"""Fourth difference: what is a cubic over five detectors vanishes, white noise grows by sqrt 70."""


def kspace_corners(kspace: Kspace, mask: Tensor, *, share: float = 0.05) -> Tensor:
    """Deviation of the real and of the imaginary part each, one for each sample (batch,): from the
    ``share`` of the measured samples that are farthest from the centre, all coils, where hardly
    any signal is left.

    Args:
        mask: (ky, kx) or (batch, 1, ky, kx), 1 where a sample was taken.

    Raises:
        ValueError: fewer than 32 numbers to judge by.
    """
    ny, nx = kspace.shape[-2:]
    y = (torch.arange(ny, device=kspace.device) - ny // 2) / (ny / 2)
    x = (torch.arange(nx, device=kspace.device) - nx // 2) / (nx / 2)
    radius = (y[:, None] ** 2 + x**2).sqrt()
    taken = mask.bool().expand(len(kspace), 1, ny, nx)
    levels = []
    for sample, here in zip(kspace, taken[:, 0], strict=True):
        inside = radius[here]
        count = max(1, math.ceil(share * inside.numel()))
        far = here & (radius >= inside.topk(min(count, inside.numel())).values.min())
        values = torch.view_as_real(sample[:, far]).flatten()
        levels.append(_deviation(values, "corner samples of k-space"))
    return torch.stack(levels)


def repeated_differences(sinogram: Sinogram, mask: Tensor) -> Tensor:
    """Deviation of every ray, the same for all of a sample, (batch,): from fourth differences
    along the detectors of each measured view.

    Args:
        mask: broadcastable to the sinogram, 1 where a ray was measured.

    Raises:
        ValueError: fewer than 32 runs of five measured rays.
    """
    return _by_sample(_differences(sinogram, mask))


def photons(sinogram: Sinogram, mask: Tensor) -> Tensor:
    r"""I_0 of a transmission scan, one for each sample (batch,): the photons that explain its
    fourth differences, a ray of line integral y having the variance :math:`e^y / I_0`.

    Args:
        sinogram: line integrals, no unit. mask: as in :func:`repeated_differences`.

    Raises:
        ValueError: fewer than 32 runs of five measured rays, or no noise at all.
    """
    size = torch.tensor(DIFFERENCE).square().to(sinogram)
    variance = _filter(torch.exp(sinogram), size) / size.sum()
    level = _by_sample(
        [values / variance[i][kept].sqrt() for i, (values, kept) in enumerate(
            _kept(sinogram, mask)
        )]
    )  # fmt: skip
    if not bool((level > 0).all()):
        raise ValueError("the sinogram shows no noise: it has no number of photons")
    return 1 / level**2


def background(sinogram: Sinogram, mask: Tensor, *, below: float = 0.02) -> Tensor:
    """Deviation of rays through air alone, one for each sample (batch,): of the measured rays whose
    line integral, averaged over five detectors, is under ``below``. In a transmission scan it is
    1 / sqrt(I_0).

    Raises:
        ValueError: fewer than 32 such rays.
    """
    smooth = _filter(sinogram, torch.full((5,), 0.2).to(sinogram))
    levels = []
    for i, (values, kept) in enumerate(_kept(sinogram, mask)):
        levels.append(_deviation(values[smooth[i][kept].abs() < below], "rays through air"))
    return torch.stack(levels)


def _differences(sinogram: Sinogram, mask: Tensor) -> list[Tensor]:
    return [values for values, _ in _kept(sinogram, mask)]


def _kept(sinogram: Sinogram, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each sample the fourth differences over measured rays alone, in units of one ray's
    deviation, and where they are.
    """
    weights = torch.tensor(DIFFERENCE).to(sinogram)
    differences = _filter(sinogram, weights) / weights.square().sum().sqrt()
    whole = _filter(mask.to(sinogram).expand(sinogram.shape), torch.ones_like(weights)) > 4.5
    return [(d[w], w) for d, w in zip(differences, whole, strict=True)]


def _filter(z: Tensor, weights: Tensor) -> Tensor:
    """Along the last axis, valid part."""
    windows = z.unfold(-1, len(weights), 1)
    return windows @ weights


def _by_sample(values: list[Tensor]) -> Tensor:
    return torch.stack([_deviation(v, "runs of five measured rays") for v in values])


def _deviation(values: Tensor, what: str) -> Tensor:
    if values.numel() < LEAST:
        raise ValueError(f"{values.numel()} {what}, at least {LEAST} are needed for a noise level")
    return values.abs().median() / NORMAL_MEDIAN
