"""Quality of the shipped priors: reconstruction, and memorisation of training slices.

All images are of held-out patients of the development data, whose README lists the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from development_data import SIZE, ct_images, ct_volumes, held_out_mri
from number import Number
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sparse_ct import THESIS, run as reconstruct_ct, scan
from torch import Tensor

from medscore.conditioners.proximal import Proximal
from medscore.datasets.collections.slices import FULL, load_slices
from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.metrics.image_quality import CT_CONVENTION, quality
from medscore.metrics.memorisation import nearest
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.hartley import Hartley, coefficients, kspace_mask
from medscore.operators.mri.masks import acceleration_of, calibration_region, equispaced, mirrored
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.registry.build import build_grid, build_sampler
from medscore.registry.settings import DEFAULTS
from medscore.training.data import reduced
from medscore.training.recipe import read_recipe
from medscore.training.validation import sample
from medscore.white_noise import derive_seed

PRECISION = "bf16"
SETTINGS = replace(
    DEFAULTS, sampler="pc", conditioner="proximal", steps=200, grid="uniform", precision=PRECISION
)
"""Settings of all reconstructions here: the dissertation's method with 401 network evaluations."""

MRI_METRIC = "per slice, full image, data range the reference's maximum, SSIM uniform 7x7 window"


def ct_numbers(
    name: str,
    data: Path,
    samples: int,
    *,
    targets: tuple[float | None, float | None] = (None, None),
    every: int = 1,
) -> list[Number]:
    """Quality of sparse-view CT in the thesis protocol: 23 views of the CT validation slices.

    The views are noise-free and measured with the projector and on the grid of the reconstruction.

    Args:
        name: the prior.
        data: folder of the development data.
        samples: posterior samples per slice.
        targets: least PSNR in dB of the mean and of one sample.
        every: take every n-th slice.
    """
    _, paths, validation = ct_images(data)
    paths = paths[::every]
    one, mean = [], []
    for path, v in zip(paths, ct_volumes(paths, SIZE), strict=True):
        m = scan(v, THESIS)
        r = reconstruct_ct(m, replace(SETTINGS, prior=name), samples, batch_size=8)
        each = [quality(r.samples[:, k], v.values, CT_CONVENTION).psnr for k in range(samples)]
        one.append(float(np.mean(each)))
        mean.append(quality(r.mean, v.values, CT_CONVENTION))
        print(f"{name} {path.stem}: one {one[-1]:.2f}, mean {mean[-1].psnr:.2f} dB", flush=True)
    low_mean, low_one = targets if validation else (None, None)
    name = f"{name}, {len(paths)} slices, 23 views, {THESIS}"
    psnr, ssim = (float(np.mean(v)) for v in zip(*((q.psnr, q.ssim) for q in mean), strict=True))
    return [
        Number(f"{name}, one sample, PSNR (dB)", float(np.mean(one)), at_least=low_one),
        Number(f"{name}, mean of {samples}, PSNR (dB)", psnr, at_least=low_mean),
        Number(f"{name}, mean of {samples}, SSIM", ssim),
    ]


def calibration_scale(kspace: Tensor, mask: Tensor) -> Tensor:
    """The unit of the prior's magnitudes, estimated from the measurement alone.

    Args:
        kspace: centred k-space (n, 1, H, W), zero where not sampled.
        mask: sampled positions (H, W).

    Returns:
        The 99.5th percentile of the image of the fully sampled centre, (n, 1, 1, 1).
    """
    ny, nx = calibration_region(mask)
    y, x = SIZE // 2 - ny // 2, SIZE // 2 - nx // 2
    middle = torch.zeros(SIZE, SIZE)
    middle[y : y + ny, x : x + nx] = 1
    image = ifft2c(kspace * middle).abs().flatten(1)
    return torch.quantile(image, FULL, dim=1)[:, None, None, None]


def mri_numbers(data: Path, samples: int, *, targets: bool) -> list[Number]:
    """Quality of 4-fold undersampled MRI, with equispaced and with mirrored lines.

    In the thesis protocol: noise-free, with the operator and on the grid of the reconstruction.
    The k-space of a real image is Hermitian, so an equispaced line also determines the line
    opposite the centre. Lines in mirrored pairs do not have this advantage; they get two samples.

    Args:
        data: folder of the development data.
        samples: posterior samples per slice for equispaced lines.
        targets: whether the equispaced lines have targets.
    """
    images = held_out_mri(data)
    mask = equispaced((SIZE, SIZE), 4.0)
    numbers = _mri("mri-128, 4-fold equispaced", mask, images, samples, targets)
    paired = mirrored(mask)
    title = f"mri-128, {acceleration_of(paired):.3g}-fold, mirrored pairs"
    return numbers + _mri(title, paired, images, 2, False)


def _mri(title: str, mask: Tensor, images: Tensor, samples: int, targets: bool) -> list[Number]:
    kspace = fft2c(images.to(torch.complex64)) * mask
    unit = calibration_scale(kspace, mask)
    operator = Hartley(kspace_mask(mask))
    y = coefficients(kspace, mask)
    found = unit * reconstruct_mri(operator, y / unit, samples)[:, :, None].movedim(1, 0)
    zero_filled = ifft2c(kspace).abs()
    scores = {
        "zero-filled": [score(a, b) for a, b in zip(zero_filled, images, strict=True)],
        "one sample": [score(a, b) for each in found for a, b in zip(each, images, strict=True)],
        f"mean of {samples}": [score(a, b) for a, b in zip(found.mean(0), images, strict=True)],
    }
    numbers = []
    for key, values in scores.items():
        psnr, ssim = (float(np.mean(v)) for v in zip(*values, strict=True))
        low = 33.0 if targets and key.startswith("mean") else None
        numbers += [
            Number(f"{title}, {key}, PSNR (dB)", psnr, at_least=low),
            Number(f"{title}, {key}, SSIM", ssim),
        ]
    gain = numbers[4].value - numbers[0].value
    numbers.append(
        Number(f"{title}, gain over zero-filled (dB)", gain, at_least=5.0 if targets else None)
    )
    gap = operator.residual(found.flatten(0, 1), y.repeat(samples, 1, 1, 1))
    return [*numbers, Number(f"{title}, largest relative residual", float(gap.max()), at_most=1e-3)]


def reconstruct_mri(operator: Hartley, y: Tensor, samples: int) -> Tensor:
    """Posterior samples (slices, samples, H, W) in the prior's range.

    Args:
        operator: the measurement process.
        y: measurements (slices, ...) in the prior's range.
        samples: posterior samples per slice.
    """
    prior = load_prior(prior_path("mri-128"))
    times = build_grid(SETTINGS.grid, {})(prior.sde, SETTINGS.steps)
    sampler = build_sampler(SETTINGS.sampler, SETTINGS.parameters_of("sampler"))
    count = len(y) * samples

    def pair(items: Sequence[int]) -> Batch:
        rows = y[[item // samples for item in items]]
        return Batch(
            prior,
            sampler,
            Proximal(operator, rows),
            finish=lambda x: operator.project_exact(x, rows).x,
        )

    job = Job(
        seeds=[derive_seed(0, i // samples, i % samples) for i in range(count)],
        shape=(1, SIZE, SIZE),
        times=times,
        batches=pair,
        bf16=PRECISION == "bf16",
    )
    return run(job).x.reshape(len(y), samples, SIZE, SIZE)


def score(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM, as ``MRI_METRIC`` says.

    Args:
        image: an image (1, H, W).
        reference: the reference image (1, H, W).
    """
    a, b = image[0].double().numpy(), reference[0].double().numpy()
    width = float(b.max())
    return (
        peak_signal_noise_ratio(b, a, data_range=width),
        structural_similarity(b, a, data_range=width),
    )


def memory_numbers(name: str, data: Path, held_out: Tensor, count: int = 32) -> list[Number]:
    """Distance of unconditional samples, and of held-out slices, to the nearest training slice.

    A prior that has memorised its training slices has a ratio near 0.

    Args:
        name: the prior.
        data: folder of the development data.
        held_out: held-out slices (n, 1, H, W) in the prior's range.
        count: samples to draw.
    """
    prior = load_prior(prior_path(name))
    assert prior.contract is not None
    recipe = read_recipe(prior_path(name).with_suffix(".yaml"))
    slices = load_slices(
        recipe.data, root=data, side=2 * SIZE, low=recipe.low, high=recipe.high,
        quantity=recipe.quantity,
    )  # fmt: skip
    seen = reduced(slices.images, 2)[:, 0]
    drawn = sample(prior, (1, SIZE, SIZE), count=count)[:, 0]
    return distance_numbers(name, drawn, held_out[:, 0], seen)


def distance_numbers(name: str, drawn: Tensor, held_out: Tensor, seen: Tensor) -> list[Number]:
    """Distance of samples, and of held-out slices, to the nearest training slice.

    Args:
        name: the prior.
        drawn: samples (n, H, W).
        held_out: held-out slices (n, H, W).
        seen: training slices (n, H, W).
    """
    of_samples, _ = nearest(drawn, seen)
    of_held_out, _ = nearest(held_out, seen)
    title = f"{name}: distance to the nearest training slice (normalised RMSE)"
    return [
        Number(f"{title}, held-out slices, median", float(of_held_out.median())),
        Number(f"{title}, {len(drawn)} samples, median", float(of_samples.median())),
        Number(f"{title}, {len(drawn)} samples, minimum", float(of_samples.min())),
        Number(
            f"{name}: median distance of samples over that of held-out slices",
            float(of_samples.median() / of_held_out.median()),
            at_least=0.5,
        ),
    ]
