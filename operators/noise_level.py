r"""Estimates of the noise level from the measurements themselves.

All estimates use the median of absolute values, :math:`\sigma = \mathrm{median}|e| / 0.6745` for
normal e, which is robust against a few large entries (edges, signal). Where the noise is weaker
than the detail of the image, or than the beam hardening and partial volume effects of metal, the
estimates include both: too much noise, too few photons. Such errors do not grow with the line
integral as photon noise does, so one standard deviation for all rays describes them better.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from medscore.operators.grid import OperatorError
from medscore.types import Kspace, Readings

NORMAL_MEDIAN = 0.6744897501960817
"""Median of |z| for standard normal z."""

UPPER_QUARTILE = 1.1503493803760079
"""Upper quartile of |z| for standard normal z."""

LEAST = 32
"""Smallest number of values that an estimate may use."""

DIFFERENCE = (1.0, -4.0, 6.0, -4.0, 1.0)
"""Fourth difference: it vanishes for a cubic and scales white noise by sqrt(70)."""


def kspace_corners(kspace: Kspace, mask: Tensor, *, share: float = 0.05) -> Tensor:
    """Noise standard deviation of the real and the imaginary part each, (batch,).

    It is estimated from the measured k-space samples farthest from the centre, in all coils, which
    contain hardly any signal.

    Args:
        kspace: (batch, coil, ky, kx).
        mask: (ky, kx) or (batch, 1, ky, kx), 1 where a sample was taken.
        share: share of the measured samples that is used.

    Raises:
        OperatorError: fewer than 32 values to estimate from.
    """
    ny, nx = kspace.shape[-2:]
    y = (torch.arange(ny, device=kspace.device) - ny // 2) / (ny / 2)
    x = (torch.arange(nx, device=kspace.device) - nx // 2) / (nx / 2)
    radius = (y[:, None] ** 2 + x**2).sqrt()
    taken = mask.bool().expand(len(kspace), 1, ny, nx)
    return _farthest(kspace, taken[:, 0], radius, share)


def trajectory_ends(
    kspace: Tensor, mask: Tensor, trajectory: Tensor, *, share: float = 0.05
) -> Tensor:
    """Noise standard deviation of the real and the imaginary part each, (batch,).

    As :func:`kspace_corners`, of k-space along a trajectory.

    Args:
        kspace: (batch, coil, samples).
        mask: (samples,) or (batch, 1, samples), 1 where a sample was taken.
        trajectory: (2, samples), positions in k-space.
        share: share of the measured samples that is used.

    Raises:
        OperatorError: fewer than 32 values to estimate from.
    """
    taken = mask.bool().expand(len(kspace), 1, kspace.shape[-1])
    radius = trajectory.norm(dim=0).float()  # equal within rounding at the ends of spokes
    return _farthest(kspace, taken[:, 0], radius.to(kspace.device), share)


def _farthest(kspace: Tensor, taken: Tensor, radius: Tensor, share: float) -> Tensor:
    """Noise of the ``share`` of the taken samples (batch, *grid) of largest radius (*grid)."""
    levels = []
    for sample, here in zip(kspace, taken, strict=True):
        inside = radius[here]
        count = max(1, math.ceil(share * inside.numel()))
        far = here & (radius >= inside.topk(min(count, inside.numel())).values.min())
        values = torch.view_as_real(sample[:, far]).flatten()
        levels.append(_std(values, "corner samples of k-space"))
    return torch.stack(levels)


def repeated_differences(sinogram: Readings, mask: Tensor) -> Tensor:
    """Noise standard deviation of a ray, the same for all rays of a sample, (batch,).

    It is estimated from fourth differences along the detectors of each measured view.

    Args:
        sinogram: line integrals (batch, channel, views, detectors), dimensionless.
        mask: broadcastable to the sinogram, 1 where a ray was measured.

    Raises:
        OperatorError: fewer than 32 runs of five measured rays.
    """
    return _by_sample(_differences(sinogram, mask))


def photons(sinogram: Readings, mask: Tensor) -> Tensor:
    r"""I_0 of a transmission scan, the number of photons per ray, (batch,).

    It is the one that explains the fourth differences along the detectors, if a ray of line
    integral y has the variance :math:`e^y / I_0`.

    Args:
        sinogram: line integrals (batch, channel, views, detectors), dimensionless.
        mask: broadcastable to the sinogram, 1 where a ray was measured.

    Raises:
        OperatorError: fewer than 32 runs of five measured rays, or no noise at all.
    """
    size = torch.tensor(DIFFERENCE).square().to(sinogram)
    variance = _filter(torch.exp(sinogram), size) / size.sum()
    level = _by_sample(
        [values / variance[i][kept].sqrt() for i, (values, kept) in enumerate(
            _kept(sinogram, mask)
        )]
    )  # fmt: skip
    if not bool((level > 0).all()):
        raise OperatorError("the sinogram shows no noise: the number of photons is undefined")
    return 1 / level**2


def unexplained(sinogram: Readings, mask: Tensor, std: Tensor) -> Tensor:
    r"""Standard deviation s of what known noise does not explain, the same for all rays, (batch,).

    It makes the upper quartile of :math:`|d| / \sqrt{v + s^2}` that of a normal variable, with the
    fourth differences d along the detectors and their variance v by the known noise; it is 0 where
    the noise explains them. The upper quartile is a compromise: partial volume errors are largest
    at edges, which the median would ignore, and the highest values are the image's own edges.

    Args:
        sinogram: line integrals (batch, channel, views, detectors), dimensionless.
        mask: broadcastable to the sinogram, 1 where a ray was measured.
        std: standard deviation of the known noise, of the shape of the sinogram.

    Returns:
        The standard deviations; 0 for fewer than 32 runs of five measured rays, which tell nothing.
    """
    size = torch.tensor(DIFFERENCE).square().to(std)
    variance = _filter(std.square(), size) / size.sum()
    kept = zip(_kept(sinogram, mask), variance, strict=True)
    levels = [_excess(d.square(), v[where]) for (d, where), v in kept]
    return torch.tensor(levels, dtype=sinogram.dtype, device=sinogram.device)


def _excess(square: Tensor, variance: Tensor) -> float:
    """The s of :func:`unexplained`, of squared differences (n,) with the variances (n,)."""
    if len(square) < LEAST:
        return 0.0
    d2, v = square.double().cpu().numpy(), variance.double().cpu().numpy()

    def surplus(s2: float) -> float:
        return float(np.quantile(d2 / (v + s2), 0.75)) - UPPER_QUARTILE**2

    if surplus(0.0) <= 0:
        return 0.0
    most = float(np.quantile(d2, 0.75)) / UPPER_QUARTILE**2
    return math.sqrt(brentq(surplus, 0.0, most, xtol=1e-6 * most))


def background(sinogram: Readings, mask: Tensor, *, below: float = 0.02) -> Tensor:
    """Noise standard deviation of rays through air, (batch,); 1 / sqrt(I_0) in a transmission scan.

    Args:
        sinogram: line integrals (batch, channel, views, detectors), dimensionless.
        mask: broadcastable to the sinogram, 1 where a ray was measured.
        below: rays whose line integral, averaged over five detectors, is smaller pass through air.

    Raises:
        OperatorError: fewer than 32 such rays.
    """
    smooth = _filter(sinogram, torch.full((5,), 0.2).to(sinogram))
    levels = []
    for i, (values, kept) in enumerate(_kept(sinogram, mask)):
        levels.append(_std(values[smooth[i][kept].abs() < below], "rays through air"))
    return torch.stack(levels)


def _differences(sinogram: Readings, mask: Tensor) -> list[Tensor]:
    return [values for values, _ in _kept(sinogram, mask)]


def _kept(sinogram: Readings, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The fourth differences of each sample over measured rays only, scaled to the standard
    deviation of one ray, and their positions.

    Runs of equal readings, such as air set to zero, say nothing of the noise and are left out
    where others remain.
    """
    weights = torch.tensor(DIFFERENCE).to(sinogram)
    differences = _filter(sinogram, weights) / weights.square().sum().sqrt()
    whole = _filter(mask.to(sinogram).expand(sinogram.shape), torch.ones_like(weights)) > 4.5
    windows = sinogram.unfold(-1, len(weights), 1)
    telling = whole & (windows != windows[..., :1]).any(-1)
    used = [some if int(some.sum()) >= LEAST else w for some, w in zip(telling, whole, strict=True)]
    return [(d[w], w) for d, w in zip(differences, used, strict=True)]


def _filter(z: Tensor, weights: Tensor) -> Tensor:
    """Correlation along the last axis, valid part."""
    windows = z.unfold(-1, len(weights), 1)
    return windows @ weights


def _by_sample(values: list[Tensor]) -> Tensor:
    return torch.stack([_std(v, "runs of five measured rays") for v in values])


def _std(values: Tensor, what: str) -> Tensor:
    if values.numel() < LEAST:
        raise OperatorError(
            f"{values.numel()} {what}, at least {LEAST} are needed for a noise level"
        )
    return values.abs().median() / NORMAL_MEDIAN
