"""Inverse problems that the conditioners are compared on, one slice of a real scan each.

CT: 10 slices of the COVID-19-NY-SBU validation patients. MRI: 20 slices of the TCGA-LGG validation
patients. Settings are tuned on slices of training patients. Images and measurements are in the
prior's range; the README of the development data lists the sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from development_data import MRI, SIZE, ct_images, ct_volumes, held_out_mri
from prior_quality import calibration_scale, score
from torch import Tensor
from torch.nn import functional

from medscore.hounsfield import MU_WATER, hu_to_mu, mu_to_hu
from medscore.measurements.noise_std import uniform_std
from medscore.measurements.units import NetworkUnits
from medscore.metrics.image_quality import CT_CONVENTION, quality
from medscore.operators.base import Operator
from medscore.operators.ct.metal import interpolate_trace, without_metal
from medscore.operators.ct.metal_simulation import discs, simulate_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import limited_angle, sparse_view
from medscore.operators.ct.xray import tube_spectrum
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.hartley import Hartley, coefficients, kspace_mask
from medscore.operators.mri.masks import equispaced
from medscore.operators.noise import PoissonNoise
from medscore.operators.wrappers.whitened import Whitened
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.white_noise import derive_seed

PHOTONS = 1e4
"""Photons per ray of the noisy CT task."""


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
        plain: operator and measurements before whitening; ``None`` without noise.
    """

    prior: str
    operator: Operator
    y: Tensor
    noise_std: float
    score: Callable[[Tensor], tuple[float, float]]
    classical: dict[str, Tensor]
    plain: tuple[Operator, Tensor] | None = None


Maker = Callable[[Tensor, float, int], Problem]
"""Makes a problem from an image in HU (1, 1, H, W), its pixel spacing in mm and its index."""


def ct_slices(data: Path) -> list[tuple[Tensor, float]]:
    """The CT validation slices.

    Args:
        data: folder of the development data.

    Returns:
        Images in HU (1, 1, H, W) with their pixel spacing in mm.
    """
    _, paths, _ = ct_images(data)
    return [
        (torch.from_numpy(v.values).float()[None].clamp_min(-1000), v.spacing[0])
        for v in ct_volumes(paths, SIZE)
    ]


def ct_train_slices(data: Path, count: int) -> list[tuple[Tensor, float]]:
    """CT slices of training patients, one slice a patient.

    Args:
        data: folder of the development data.
        count: the number of slices.

    Returns:
        Images in HU (1, 1, H, W) with their pixel spacing in mm.
    """
    with np.load(data / "ct/tcga-lung-slices-train.npz", allow_pickle=False) as archive:
        _, first = np.unique(archive["patient"], return_index=True)
        chosen = first[:: max(1, len(first) // count)][:count]
        hu, spacing = archive["hu"][chosen], archive["pixel_spacing_mm"][chosen]
    small = functional.avg_pool2d(torch.from_numpy(hu).float()[:, None], 2).clamp_min(-1000)
    return [
        (image[None], 2 * float(np.ravel(mm)[0])) for image, mm in zip(small, spacing, strict=True)
    ]


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


def views(count: int, photons: float | None = None) -> Maker:
    """Sparse-view CT with equally spaced views over 180 degrees.

    Args:
        count: the number of views.
        photons: incident photons per ray; ``None`` for no noise.
    """

    def make(hu: Tensor, spacing: float, number: int) -> Problem:
        operator = sparse_view(SIZE, spacing, count)
        ideal = operator.forward(hu_to_mu(hu))
        if photons is None:
            return _ct(hu, operator, ideal)
        generator = torch.Generator().manual_seed(derive_seed(0, number))
        measured = PoissonNoise(photons)(ideal, operator.mask(ideal), generator)
        return _ct(hu, operator, measured, std=torch.exp(measured / 2) / math.sqrt(photons))

    return make


def limited(degrees: float) -> Maker:
    """Limited-angle CT: all views of an arc.

    Args:
        degrees: the arc.
    """

    def make(hu: Tensor, spacing: float, number: int) -> Problem:
        operator = limited_angle(SIZE, spacing, 0.0, math.radians(degrees))
        return _ct(hu, operator, operator.forward(hu_to_mu(hu)))

    return make


def metal(count: int | None) -> Maker:
    """Metal artifact removal: a polychromatic scan with two titanium implants.

    The metal trace is dropped. The noise level is estimated from the sinogram, so it also covers
    beam hardening and partial volume, which are not line integrals of an image.

    Args:
        count: the number of views; ``None`` for all.
    """

    def make(hu: Tensor, spacing: float, number: int) -> Problem:
        full = sparse_view(SIZE, spacing, SIZE if count is None else count)
        reach = 0.15 * SIZE * spacing
        implants = discs(SIZE, spacing, [(-reach, 0.0), (reach, -reach / 3)], [5.0, 7.0])
        scan = simulate_metal(
            hu, implants, full.geometry, tube_spectrum(120.0),
            generator=torch.Generator().manual_seed(derive_seed(1, number)),
        )  # fmt: skip
        taken = without_metal(full.diagonal, scan.trace)
        operator = Radon(full.geometry, taken)
        sinogram = scan.sinogram.float()
        filled = interpolate_trace(sinogram, operator.mask(sinogram))
        seen = operator.mask(sinogram) * sinogram
        problem = _ct(hu, operator, seen, std=uniform_std(seen, operator.mask(seen)))
        image = mu_to_hu(full.fbp(full.mask(filled) * filled), MU_WATER)
        li = (image - CT_CONVENTION.low) / (CT_CONVENTION.high - CT_CONVENTION.low)
        return replace(problem, classical={**problem.classical, "LI": li})

    return make


def _ct(hu: Tensor, operator: Radon, sinogram: Tensor, std: Tensor | None = None) -> Problem:
    contract = load_prior(prior_path("ct-128")).contract
    assert contract is not None
    units = NetworkUnits.of_attenuation(contract, MU_WATER)

    def rate(x: Tensor) -> tuple[float, float]:
        found = quality(units.to_values(x)[:, 0].numpy(), hu[:, 0].numpy(), CT_CONVENTION)
        return found.psnr, found.ssim

    mu = operator.fbp(sinogram)
    classical = {"FBP": (mu - units.shift) / units.unit}
    y = units.measurements(operator, sinogram)
    if std is None:
        return Problem("ct-128", operator, y, 0.0, rate, classical)
    white = Whitened(operator, std / units.unit)
    return Problem("ct-128", white, white.white(y), 1.0, rate, classical, (operator, y))
