r"""Stein's unbiased risk estimate (SURE) of a reconstruction from noisy measurements (Stein 1981).

For whitened data with unit noise variance, n measured numbers and :math:`\hat y(y) = A \hat x(y)`,

.. math:: E\,\|\hat y - A x\|^2 = E\left[\|\hat y - y\|^2 - n + 2\, \mathrm{div}_y\, \hat y\right].

The divergence is estimated with one random direction b of entries 1 and -1 as
:math:`b^T (\hat y(y + \epsilon b) - \hat y(y)) / \epsilon` (Ramani et al. 2008). The risk is that
of the predicted measurements; errors in the null space of A do not contribute.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Solve
from medscore.tuning.held_out import predicted
from medscore.white_noise import derive_seed

STEP = 0.1
"""The step epsilon in noise standard deviations."""


def sure_score(solve: Solve, m: Measurement, std: Tensor | None, *, seed: int = 0) -> float:
    """The negative estimated risk per measured number in noise variances; higher is better.

    Args:
        solve: a method that draws the same random numbers in every call.
        m: the measurement.
        std: noise standard deviation, broadcastable to the data; None for noise-free data.
        seed: seed of the random direction.

    Raises:
        MedscoreError: noise-free measurements, or complex images.
    """
    if std is None:
        raise MedscoreError(
            "SURE needs noisy measurements, these are noise-free", hint="use `score` held-out"
        )
    y = torch.from_numpy(m.data)
    mask = m.operator.mask(y).expand(y.shape)
    deviation = torch.where(mask > 0, std.expand(y.shape), 1.0)
    generator = torch.Generator().manual_seed(derive_seed(seed, 0))
    direction = _signs(y, generator) * mask
    moved: Any = (y + STEP * deviation * direction).numpy().astype(m.data.dtype)
    here = _fit(solve, m, mask) / deviation
    there = _fit(solve, replace(m, data=moved), mask) / deviation
    divergence = float((direction.conj() * (there - here)).real.sum()) / STEP
    numbers = float(mask.sum()) * (2 if y.is_complex() else 1)
    misfit = float((mask * (here - y / deviation)).abs().square().sum())
    return -(misfit - numbers + 2 * divergence) / numbers


def _fit(solve: Solve, m: Measurement, mask: Tensor) -> Tensor:
    images = torch.from_numpy(np.ascontiguousarray(solve(m).mean))[:, None]
    return mask * predicted(m, images)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    def draw() -> Tensor:
        return 2.0 * torch.randint(0, 2, like.shape, generator=generator) - 1.0

    return torch.complex(draw(), draw()) if like.is_complex() else draw()
