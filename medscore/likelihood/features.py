r"""Statistics of an image that show an unusual contrast or anatomy.

*Contrast statistics* need no network. The body is the largest bright object, u the depth in it
relative to the deepest pixel, and b_k = G_k x - G_{k+1} x the details between two Gaussian filters,
in units of the local brightness. The statistics are quantiles of the intensities at several depths,
relative to the median of the inside, and spread and skewness of each b_k: cerebrospinal fluid, for
example, makes bright details in T2 images and dark ones in T1 and FLAIR images.

*Residual statistics* need one network evaluation at each of :data:`LEVELS`,

.. math:: r_\sigma = D(x + \sigma z; \sigma) - x,

with the same noise z for all images: the power of r in four bands of frequency, its mean in the
image and in the body, its third moment, and its correlation with x.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medscore.priors.base import Prior
from medscore.types import Images
from medscore.white_noise import Noise

LEVELS = (0.02, 0.06, 0.2, 0.6)
"""Noise standard deviations, relative to the signal, at which residuals are computed."""

BANDS = (0.0, 0.03, 0.08, 0.2, 1.0)
"""Edges of the bands of frequency, in cycles per pixel."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the intensities at a depth."""

BATCH = 8
"""Images that the network evaluates together."""

FLOOR = 0.02
"""Smallest intensity that logarithms distinguish."""


def body_of(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest bright object with its holes filled; all pixels if there is hardly one.

    Args:
        image: slice (H, W) in the prior's range.
    """
    bright = image > max(0.08, 1.3 * float(np.quantile(image, 0.05)))
    found = ndimage.binary_fill_holes(ndimage.binary_opening(bright))
    labels, count = ndimage.label(found)
    if count:
        found = labels == 1 + np.argmax(ndimage.sum_labels(found, labels, range(1, count + 1)))
    body: NDArray[np.bool_] = found
    return body if body.sum() > 0.004 * body.size else np.ones_like(body)


def contrast_features(x: Images) -> NDArray[np.float64]:
    """Contrast statistics of images, (n, features).

    Args:
        x: images (n, 1, H, W) in the prior's range.
    """
    return np.array([_contrast(image) for image in x[:, 0].float().cpu().numpy()])


@torch.no_grad()
def residual_features(prior: Prior, x: Images) -> NDArray[np.float64]:
    """Residual statistics of images, (n, 8 for each level).

    Args:
        prior: the prior.
        x: images (n, 1, H, W) in the prior's range, on the prior's device.
    """
    z = Noise([0])(x[:1])
    rows = [
        torch.cat([_residual(prior, part, z, level) for level in LEVELS], 1)
        for part in x.split(BATCH)
    ]
    return np.asarray(torch.cat(rows).double().cpu().numpy())


def _residual(prior: Prior, x: Tensor, z: Tensor, level: float) -> Tensor:
    sde = prior.sde
    t = sde.time(torch.tensor([level])).clamp_min(sde.eps).to(x).expand(len(x))
    alpha = sde.alpha(t)[:, None, None, None]
    r = prior.denoise(alpha * (x + level * z), t) - x
    power = torch.fft.fft2(r[:, 0]).abs().square()
    rows, columns = (torch.fft.fftfreq(n, device=x.device) for n in x.shape[-2:])
    radius = torch.hypot(rows[:, None], columns)
    bands = [power[:, (low <= radius) & (radius < high)] for low, high in pairwise(BANDS)]
    third = r.pow(3).mean((1, 2, 3))
    others = [
        third.sign() * third.abs().pow(1 / 3),
        r.mean((1, 2, 3)),
        (r * x).mean((1, 2, 3)) / level,
        (r * (x > 0.1)).mean((1, 2, 3)),
    ]
    return torch.stack([*((band.mean(1) + 1e-6).log() for band in bands), *others], 1)


def _contrast(image: NDArray[np.float32]) -> list[float]:
    body = body_of(image)
    depth = ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1]
    u = depth / depth.max()
    inside = image[body & (u > 1 / 3)]
    middle = _log(float(np.median(inside)))
    around = _log(float(image[~body].mean())) if not body.all() else _log(0.0)
    found = [around, float(np.log(body.mean())), float(np.log(depth.max() / np.sqrt(body.sum())))]
    found.append(middle)
    rim = depth <= 3
    for zone in (rim, ~rim & (u <= 1 / 3), (u > 1 / 3) & (u <= 2 / 3), u > 2 / 3):
        values = _within(image, body & zone, body, 10)
        found += [
            _log(float(q)) - middle for q in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        ]
    smooth = [image, *(ndimage.gaussian_filter(image, std) for std in (1, 2, 4, 8))]
    local = smooth[-1] + 0.05
    for fine, coarse in pairwise(smooth):
        for zone in (~rim & (u <= 0.4), u > 0.4):
            found += _band(_within((fine - coarse) / local, body & zone, body, 20))
    deep = body & (u > 0.3)
    for fine, coarse in list(pairwise(smooth))[1:]:
        found.append(_correlation((fine - coarse)[deep], local[deep]))
    return found


def _band(values: NDArray[np.float32]) -> list[float]:
    """Logarithm of the spread, and three measures of the skewness."""
    low, lower, half, upper, high = (
        float(q) for q in np.quantile(values, [0.02, 0.1, 0.5, 0.9, 0.98])
    )
    width, std = high - low + 1e-3, float(values.std()) + 1e-4
    third = float(((values - values.mean()) ** 3).mean())
    return [
        float(np.log(width)), (high + low - 2 * half) / width, (upper + lower - 2 * half) / width,
        float(np.clip(np.cbrt(third) / std, -4, 4)),
    ]  # fmt: skip


def _within(
    values: NDArray[np.float32], zone: NDArray[np.bool_], body: NDArray[np.bool_], least: int
) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values[zone if zone.sum() > least else body]
    return found


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if len(a) < 2 or not a.std() > 0 or not b.std() > 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _log(value: float) -> float:
    return float(np.log(max(value, 0.0) + FLOOR))
