"""What the shipped priors are worth: denoising, reconstruction, and how far samples are from the
training slices. Held-out patients of the development data; see their README for the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from main_job import images as ct_images, run as reconstruct_ct, volume as ct_volume
from number import Number
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch import Tensor
from torch.nn import functional

from medscore.cli.progress import sampling_bar
from medscore.conditioners.proximal import Proximal
from medscore.datasets.collections.slices import FULL, load_slices
from medscore.engine.loop import Batch, Job, run
from medscore.metrics.image_quality import CT_CONVENTION, quality
from medscore.metrics.memorisation import nearest
from medscore.operators.mri.fourier import fft2c, ifft2c
from medscore.operators.mri.hartley import Hartley, coefficients, kspace_mask
from medscore.operators.mri.masks import acceleration_of, calibration_region, equispaced, mirrored
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior
from medscore.registry.build import build_grid, build_sampler
from medscore.registry.presets import DEFAULTS
from medscore.training.data import reduced
from medscore.training.recipe import read_recipe
from medscore.training.validation import sample
from medscore.white_noise import derive_seed

SIZE = 128
PRECISION = "bf16"
LEVELS = (0.05, 0.1, 0.25, 0.5)
MRI = "mri/tcga-lgg-slices-validation.npz"
SETTINGS = replace(
    DEFAULTS, sampler="pc", conditioner="proximal", steps=200, grid="uniform", precision=PRECISION
)
"""Of all reconstructions here: the dissertation's method with 401 evaluations."""

MRI_METRIC = "per slice, full image, data range the reference's maximum, SSIM uniform 7x7 window"


def shipped(name: str) -> NetworkPrior:
    return load_prior(prior_path(name))


def held_out_ct(data: Path) -> Tensor:
    """The CT validation slices (n, 1, 128, 128) in the prior's range."""
    _, paths, _ = ct_images(data)
    hu = np.concatenate([v.values for v in ct_volume(paths, SIZE)])
    return torch.from_numpy(CT_CONVENTION.unit_range(hu)).float()[:, None]


def held_out_mri(data: Path) -> Tensor:
    """The middle slice of each contrast of each validation patient (n, 1, 128, 128), in the file's
    own units.
    """
    with np.load(data / MRI, allow_pickle=False) as archive:
        stack = archive["image"]
        who = list(zip(archive["patient"], archive["contrast"], strict=True))
    chosen = []
    for pair in sorted(set(who)):
        rows = [i for i, other in enumerate(who) if other == pair]
        chosen.append(rows[len(rows) // 2])
    return functional.avg_pool2d(torch.from_numpy(stack[chosen]).float()[:, None], 2)


def denoising_numbers(names: Sequence[str], images: Tensor) -> list[Number]:
    """Mean square error of ``denoise`` of each prior against scikit-image's denoisers at the best
    of their settings, chosen with the clean image at hand.
    """
    priors = {name: shipped(name) for name in names}
    numbers: dict[str, list[Number]] = {name: [] for name in names}
    generator = torch.Generator().manual_seed(0)
    for sigma in LEVELS:
        noisy = images + sigma * torch.randn(images.shape, generator=generator)
        peers = peer_errors(noisy[:, 0].numpy(), images[:, 0].numpy(), sigma)
        for name, prior in priors.items():
            found = mse(denoised(prior, noisy, sigma).numpy(), images.numpy())
            title = f"{name}, sigma {sigma:g}: mean square error"
            numbers[name] += [
                *(Number(f"{title} of {peer}", error) for peer, error in peers.items()),
                Number(f"{title} of the prior", found, at_most=min(peers.values())),
            ]
    return [number for of_one in numbers.values() for number in of_one]


@torch.no_grad()
def denoised(prior: NetworkPrior, noisy: Tensor, sigma: float) -> Tensor:
    """What the prior makes of images with white noise of that deviation."""
    t = prior.sde.time(torch.full((len(noisy),), sigma))
    x = prior.sde.alpha(t)[:, None, None, None] * noisy
    parts = zip(x.split(8), t.split(8), strict=True)
    return torch.cat([prior.denoise(x, t) for x, t in parts])


def peer_errors(noisy: np.ndarray, images: np.ndarray, sigma: float) -> dict[str, float]:
    """scikit-image's mean square errors, each slice at its best setting."""
    tried = {
        "nl-means": [partial(nl_means, sigma=sigma, h=h) for h in (0.4, 0.6, 0.8, 1.0)],
        "wavelets": [
            partial(wavelet, sigma=sigma, method=m) for m in ("BayesShrink", "VisuShrink")
        ],
    }
    pairs = list(zip(noisy, images, strict=True))
    return {
        name: float(np.mean([min(mse(each(x), clean) for each in settings) for x, clean in pairs]))
        for name, settings in tried.items()
    }


def nl_means(x: np.ndarray, sigma: float, h: float) -> np.ndarray:
    return denoise_nl_means(
        x, patch_size=5, patch_distance=6, h=h * sigma, sigma=sigma, fast_mode=True
    )


def wavelet(x: np.ndarray, sigma: float, method: str) -> np.ndarray:
    return denoise_wavelet(x, sigma=sigma, method=method, mode="soft", rescale_sigma=True)


def mse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a - b) ** 2))


def ct_numbers(
    name: str,
    data: Path,
    samples: int,
    *,
    asked: tuple[float | None, float | None] = (None, None),
    every: int = 1,
) -> list[Number]:
    """23 views of every n-th CT validation slice, noise-free; ``asked`` of mean and one sample."""
    _, paths, validation = ct_images(data)
    paths = paths[::every]
    one, mean = [], []
    for path, v in zip(paths, ct_volume(paths, SIZE), strict=True):
        r, _ = reconstruct_ct(v, replace(SETTINGS, prior=name), samples, batch=8)
        each = [quality(r.samples[:, k], v.values, CT_CONVENTION).psnr for k in range(samples)]
        one.append(float(np.mean(each)))
        mean.append(quality(r.mean, v.values, CT_CONVENTION))
        print(f"{name} {path.stem}: one {one[-1]:.2f}, mean {mean[-1].psnr:.2f} dB", flush=True)
    low_mean, low_one = asked if validation else (None, None)
    name = f"{name}, {len(paths)} slices"
    return [
        Number(f"{name}, 23 views, one sample, PSNR (dB)", float(np.mean(one)), at_least=low_one),
        Number(
            f"{name}, 23 views, mean of {samples}, PSNR (dB)",
            float(np.mean([q.psnr for q in mean])),
            at_least=low_mean,
        ),
        Number(
            f"{name}, 23 views, mean of {samples}, SSIM", float(np.mean([q.ssim for q in mean]))
        ),
    ]


def calibration_scale(kspace: Tensor, mask: Tensor) -> Tensor:
    """The 99.5th percentile of the image that the fully sampled centre alone makes, (n, 1, 1, 1):
    the unit that the prior's magnitudes are in, from the measurement.
    """
    ny, nx = calibration_region(mask)
    y, x = SIZE // 2 - ny // 2, SIZE // 2 - nx // 2
    middle = torch.zeros(SIZE, SIZE)
    middle[y : y + ny, x : x + nx] = 1
    image = ifft2c(kspace * middle).abs().flatten(1)
    return torch.quantile(image, FULL, dim=1)[:, None, None, None]


def mri_numbers(data: Path, samples: int, asked: bool) -> list[Number]:
    """4-fold equispaced k-space of the MRI validation slices, noise-free; and, with two samples,
    the same number of lines in mirrored pairs, where the images' being real is of no help.
    """
    images = held_out_mri(data)
    mask = equispaced((SIZE, SIZE), 4.0)
    numbers = _mri("mri-128, 4-fold equispaced", mask, images, samples, asked)
    paired = mirrored(mask)
    title = f"mri-128, {acceleration_of(paired):.3g}-fold, mirrored pairs"
    return numbers + _mri(title, paired, images, 2, False)


def _mri(title: str, mask: Tensor, images: Tensor, samples: int, asked: bool) -> list[Number]:
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
        low = 33.0 if asked and key.startswith("mean") else None
        numbers += [
            Number(f"{title}, {key}, PSNR (dB)", psnr, at_least=low),
            Number(f"{title}, {key}, SSIM", ssim),
        ]
    gain = numbers[4].value - numbers[0].value
    numbers.append(
        Number(f"{title}, gain over zero-filled (dB)", gain, at_least=5.0 if asked else None)
    )
    gap = operator.residual(found.flatten(0, 1), y.repeat(samples, 1, 1, 1))
    return [*numbers, Number(f"{title}, largest relative residual", float(gap.max()), at_most=1e-3)]


def reconstruct_mri(operator: Hartley, y: Tensor, samples: int) -> Tensor:
    """(slices, samples, H, W) in the prior's range."""
    prior = shipped("mri-128")
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
    with sampling_bar("mri-128") as show:
        return run(job, show).x.reshape(len(y), samples, SIZE, SIZE)


def score(image: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR and SSIM, see MRI_METRIC."""
    a, b = image[0].double().numpy(), reference[0].double().numpy()
    width = float(b.max())
    return (
        peak_signal_noise_ratio(b, a, data_range=width),
        structural_similarity(b, a, data_range=width),
    )


def memory_numbers(name: str, data: Path, held_out: Tensor, count: int = 32) -> list[Number]:
    """How near unconditional samples come to a training slice, beside how near held-out slices do:
    a prior that replays its training slices has a ratio near 0.
    """
    prior = shipped(name)
    assert prior.contract is not None
    recipe = read_recipe(prior_path(name).with_suffix(".yaml"))
    slices = load_slices(
        recipe.data, root=data, side=2 * SIZE, low=recipe.low, high=recipe.high,
        quantity=recipe.quantity,
    )  # fmt: skip
    seen = reduced(slices.images, 2)[:, 0]
    drawn = sample(prior, (1, SIZE, SIZE), count=count)[:, 0]
    of_samples, _ = nearest(drawn, seen)
    of_others, _ = nearest(held_out[:, 0], seen)
    title = f"{name}: distance to the nearest training slice (normalised RMSE)"
    return [
        Number(f"{title}, held-out slices, median", float(of_others.median())),
        Number(f"{title}, {count} samples, median", float(of_samples.median())),
        Number(f"{title}, {count} samples, least", float(of_samples.min())),
        Number(
            f"{name}: median distance of samples over that of held-out slices",
            float(of_samples.median() / of_others.median()),
            at_least=0.5,
        ),
    ]
