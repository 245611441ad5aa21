r"""Cross-validation by held-out measurements, which needs no references (Batson and Royer 2019).

Some views, lines or samples are held out, the rest is reconstructed, and the score is the
signal-to-error ratio in dB of the held-out measurements that the image predicts,

.. math:: -10 \log_{10} \frac{\|\Lambda_o (y - T \hat x)\|^2}{\|\Lambda_o y\|^2},

where Lambda_o is the mask of the held-out measurements; higher is better. The reconstruction uses
fewer measurements than were acquired, which shifts the best settings slightly; docs/evaluation.md
shows by how much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.hounsfield import hu_to_mu
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.real_images import Phased
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled, unwrapped, with_inner
from medscore.operators.wrappers.restricted import Restricted
from medscore.reconstruction.result import Solve

EVERY = 8
"""One in this number of measured views, lines or samples is held out."""


def held_out_score(
    solve: Solve, m: Measurement, *, folds: Iterable[int] = (0,), every: int = EVERY
) -> float:
    """The score in dB, over all slices of a measurement and all folds.

    Errors and energies of the folds are summed before the ratio is taken, so lines with little
    energy, which are mostly noise, have as little weight as in PSNR.

    Args:
        solve: the method.
        m: the measurement.
        folds: numbers of the folds, from 0 to ``every`` - 1.
        every: number of folds; one in ``every`` measured views, lines or samples is held out.

    Raises:
        MedscoreError: too few measurements to hold any out, or complex images whose phase the
            method does not reconstruct.
    """
    y = torch.from_numpy(m.data)
    error = energy = 0.0
    for fold in folds:
        kept, left_out = split(m, fold=fold, every=every)
        images = torch.from_numpy(solve(kept).mean)[:, None]
        error += float((left_out * (predicted(m, images) - y)).abs().square().sum())
        energy += float((left_out * y).abs().square().sum())
    return -10 * math.log10(max(error / energy, 1e-30))


def split(m: Measurement, *, fold: int = 0, every: int = EVERY) -> tuple[Measurement, Tensor]:
    """Split a measurement into a part to reconstruct and a mask of held-out measurements.

    Whole views of a CT scan are held out, and whole lines of k-space if whole lines were measured;
    the fully sampled centre of k-space is kept.

    Args:
        m: the measurement.
        fold: number of the fold, from 0.
        every: number of folds.

    Returns:
        The measurement without the held-out data, and their mask on the full grid.

    Raises:
        MedscoreError: too few measurements.
    """
    full = m.operator.diagonal
    axes = 3 if m.whole else 2
    plane = m.operator.grid_shape[-axes:]
    seen = full.expand(*full.shape[:-axes], *plane)
    flat = seen.reshape(-1, *plane)
    out = _chosen(m, flat.any(0), fold, every)
    left_out, remaining = seen & out, flat & ~out
    if not (bool(left_out.any()) and bool(remaining.flatten(1).any(1).all())):
        raise MedscoreError(
            f"too little was measured to hold out one in {every}", hint="tune with references"
        )
    operator = restricted(m.operator, ~out)
    keep = operator.mask(torch.from_numpy(m.data)).numpy()
    data = (m.data * keep).astype(m.data.dtype)
    return replace(m, operator=operator, data=data), left_out.float()


def restricted(operator: Operator, keep: Tensor) -> Operator:
    """An operator with fewer measurements, of the same type if methods depend on the type.

    Args:
        operator: the operator.
        keep: bool mask of the measurements to keep, on the full grid.
    """
    if isinstance(operator, Radon):
        mask = operator.diagonal & keep
        if bool((mask == mask[..., :1]).all()):
            mask = mask[..., :1]
        return Radon(operator.geometry, mask, operator.noise_model)
    if isinstance(operator, ConeBeam):
        mask = operator.diagonal & keep
        whole = mask[..., :1, :1]
        mask = whole if bool((mask == whole).all()) else mask
        return ConeBeam(operator.geometry, mask, operator.noise_model)
    if isinstance(operator, Padded | Resampled):
        return with_inner(operator, lambda inner: restricted(inner, keep))
    if isinstance(operator, Phased):
        return Phased(restricted(operator.inner, keep), operator.phase)
    return Restricted(operator, keep)


def predicted(m: Measurement, images: Tensor) -> Tensor:
    """The measurements T x on the full grid that images predict.

    Args:
        m: the measurement.
        images: images (slices, 1, H, W) in HU or as magnitudes.

    Raises:
        MedscoreError: the images are complex, and their magnitudes do not determine k-space.
    """
    first = m.operator.select([0]).adjoint(torch.from_numpy(m.data[:1]))
    if first.is_complex():
        raise MedscoreError(
            "the images are complex, and the reconstruction is a magnitude, which does not "
            "determine k-space",
            hint="tune on simulated scans of such images, with references",
        )
    if m.image_unit == ATTENUATION:
        assert m.mu_water is not None
        images = hu_to_mu(images, m.mu_water)
    if m.whole:
        return m.operator.T(images.transpose(0, 1)[None])
    grids = [m.operator.select([i]).T(image[None]) for i, image in enumerate(images)]
    return torch.cat(grids)


def _chosen(m: Measurement, seen: Tensor, fold: int, every: int) -> Tensor:
    """The mask of the held-out places, given those measured in any slice or by any coil."""
    if isinstance(unwrapped(m.operator)[0], Radon | ConeBeam):
        views = seen.flatten(1).any(1).nonzero()[:, 0]
        chosen = _every(views, fold, every, seen.shape[0])
        return chosen.reshape(-1, *(1,) * (seen.ndim - 1)).expand(seen.shape)
    if torch.from_numpy(m.data[:1]).is_complex():
        outside = seen & ~_centre(seen)
        for axis in (0, 1):  # whole lines along the other axis
            if bool((seen == seen.narrow(1 - axis, 0, 1)).all()):
                lines = outside.any(1 - axis).nonzero()[:, 0]
                chosen = _every(lines, fold, every, seen.shape[axis])
                wide = chosen[:, None] if axis == 0 else chosen
                return wide.expand(seen.shape) & outside
        seen = outside
    samples = seen.flatten().nonzero()[:, 0]
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    return _every(samples[order], fold, every, seen.numel()).reshape(seen.shape)


def _every(places: Tensor, fold: int, every: int, length: int) -> Tensor:
    """A mask of every ``every``-th place, starting from ``fold``; at least one if there are any."""
    chosen = torch.zeros(length, dtype=torch.bool)
    start = fold % every if len(places) >= every else fold % max(1, len(places))
    chosen[places[start::every]] = True
    return chosen


def _centre(mask: Tensor) -> Tensor:
    inside = torch.zeros_like(mask)
    whole = [bool((mask == mask.narrow(1 - a, 0, 1)).all()) for a in (0, 1)]
    try:
        height, width = calibration_region(mask)
    except ValueError:
        return inside
    ny, nx = mask.shape
    top, left = ny // 2 - height // 2, nx // 2 - width // 2
    inside[top : top + height, left : left + width] = True
    # if whole lines were measured, the lines of the centre are kept whole
    return inside.any(1, keepdim=True).expand_as(mask) if whole[0] else (
        inside.any(0, keepdim=True).expand_as(mask) if whole[1] else inside
    )  # fmt: skip
