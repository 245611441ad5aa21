"""Inverse problems that the conditioners are compared on, one slice of a real scan each.

CT: 10 slices of the COVID-19-NY-SBU validation patients. MRI: 20 slices of the TCGA-LGG validation
patients. Settings are tuned on slices of training patients. Images and measurements are in the
prior's range; the README of the development data lists the sources.

CT is what ``medscore simulate --size 128`` measures and what ``medscore recon`` reconstructs: with
photons, the slice in its own matrix, at least twice as fine as the reconstruction, is measured by
detectors with a width, and the noise is the recorded one, with the estimated discretisation error.
Without noise it is the protocol of the dissertation: the pixels of the reconstruction, measured by
its projector (an inverse crime). So is MRI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from development_data import MRI, SIZE, ct_images, ct_volumes, held_out_mri
from prior_quality import calibration_scale, score
from torch import Tensor
from torch.nn import functional

from medscore.datasets.fit import reduce
from medscore.datasets.load import load_image
from medscore.datasets.volume import Volume
from medscore.measurements.noise_std import whiten
from medscore.measurements.simulation import simulate
from medscore.measurements.units import NetworkUnits
from medscore.metrics.image_quality import quality
from medscore.operators.base import Operator
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.hartley import Hartley, coefficients, kspace_mask
from medscore.operators.mri.masks import equispaced
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.reconstruction.baselines.classical import classical
from medscore.registry.noise import noise_std_of

CT_PRIOR = "ct-128"
"""Name of the prior of CT."""


@dataclass(frozen=True)
class Problem:
    """One slice to reconstruct.

    Attributes:
        prior: name of the shipped prior.
        operator: the measurement process, whitened if there is noise.
        y: the measurements (1, ...) in the prior's range.
        noise_std: standard deviation of the noise in ``y``; 0 without noise.
        score: PSNR in dB and SSIM of an image (1, 1, H, W) in the prior's range.
        classical: reconstructions in closed form (1, 1, H, W), by name.
    """

    prior: str
    operator: Operator
    y: Tensor
    noise_std: float
    score: Callable[[Tensor], tuple[float, float]]
    classical: dict[str, Tensor]


def ct_slices(data: Path) -> list[Volume]:
    """The CT validation slices in HU, in their own matrix.

    Args:
        data: folder of the development data.
    """
    _, paths, _ = ct_images(data)
    return ct_volumes(paths)


def ct_train_slices(data: Path, count: int) -> list[Volume]:
    """CT slices of training patients in HU, one slice a patient, of 256 x 256 pixels.

    Args:
        data: folder of the development data.
        count: the number of slices.
    """
    path = data / "ct/tcga-lung-slices-train.npz"
    with np.load(path, allow_pickle=False) as archive:
        _, first = np.unique(archive["patient"], return_index=True)
    chosen = [int(i) for i in first[:: max(1, len(first) // count)][:count]]
    return [load_image(path, modality="CT", array="hu", slices=(i, i + 1)) for i in chosen]


def mri_slices(data: Path) -> list[Tensor]:
    """The 20 MRI validation slices.

    The middle slice of each contrast of each patient makes 19, because one patient has one contrast
    only. The twentieth is the fifth slice of the first patient's first contrast.

    Args:
        data: folder of the development data.

    Returns:
        Magnitudes (1, 1, H, W) in the file's own units.
    """
    with np.load(data / MRI, allow_pickle=False) as archive:
        stack = archive["image"]
        who = list(zip(archive["patient"], archive["contrast"], strict=True))
    first = [i for i, other in enumerate(who) if other == sorted(set(who))[0]]
    more = torch.from_numpy(stack[first[4] : first[4] + 1]).float()[:, None]
    return [*held_out_mri(data).split(1), functional.avg_pool2d(more, 2)]


def mri_train_slices(data: Path, count: int) -> list[Tensor]:
    """Middle slices of training patients, of both contrasts.

    Args:
        data: folder of the development data.
        count: the number of slices.

    Returns:
        Magnitudes (1, 1, H, W) in the file's own units.
    """
    with np.load(data / "mri/tcga-lgg-slices-train.npz", allow_pickle=False) as archive:
        who = list(zip(archive["patient"], archive["contrast"], strict=True))
        pairs = sorted(set(who))
        pairs = pairs[:: max(1, len(pairs) // count)][:count]
        rows = [[i for i, other in enumerate(who) if other == pair] for pair in pairs]
        stack = archive["image"][[r[len(r) // 2] for r in rows]]
    return list(functional.avg_pool2d(torch.from_numpy(stack).float()[:, None], 2).split(1))


def mri(acceleration: float) -> Callable[[Tensor, int], Problem]:
    """Equispaced lines of the k-space of a real image; the scale comes from the centre lines alone.

    Args:
        acceleration: number of lines over the number of sampled lines.

    Returns:
        A function that makes a problem from an image (1, 1, H, W) and its index.
    """
    mask = equispaced((SIZE, SIZE), acceleration)
    operator = Hartley(kspace_mask(mask))

    def make(image: Tensor, number: int) -> Problem:
        kspace = fft2c(image.to(torch.complex64)) * mask
        unit = calibration_scale(kspace, mask)
        return Problem(
            "mri-128",
            operator,
            coefficients(kspace, mask) / unit,
            0.0,
            lambda x: score((unit * x)[0], image[0]),
            {"zero-filled": ifft2c(kspace).abs() / unit},
        )

    return make


def ct(task: str, noise: str, **options: float) -> Callable[[Volume, int], Problem]:
    """A task of ``medscore simulate``, with the noise as ``medscore recon`` takes it from the scan.

    Metal implants count neither in the image nor in its reference.

    Args:
        task: name of the task.
        noise: noise model.
        options: parameters of the task.

    Returns:
        A function that makes a problem from a slice in HU and its index.
    """

    def make(image: Volume, number: int) -> Problem:
        domain = read_checkpoint(prior_path(CT_PRIOR)).contract
        m = simulate(image, task, noise=noise, seed=number, size=SIZE, **options)
        reference = reduce(image, SIZE).values
        units = NetworkUnits.of(domain, m)
        y = units.measurements(m.operator, torch.from_numpy(m.data))
        std = noise_std_of("recorded", m, task)
        white = whiten(m.operator, y, None if std is None else std / units.of_slices(None, y))
        convention, metal = ("ct", None) if m.metal is None else ("thesis-mar", m.metal_mask)

        def rate(x: Tensor) -> tuple[float, float]:
            found = quality(units.to_values(x)[:, 0].numpy(), reference, convention, metal)
            return found.psnr, found.ssim

        name, hu = classical(m)
        known = {name: (torch.from_numpy(hu)[:, None] - domain.low) / domain.scale}
        return Problem(CT_PRIOR, *white, rate, known)

    return make
