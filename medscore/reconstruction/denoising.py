r"""Denoised images with their uncertainty (Song 2022, section 4.5 and Fig. 4.2 to 4.4).

An image with white noise, :math:`y = x_0 + n` with :math:`n \sim N(0, S^2 I)`, is the state
:math:`x_t = \alpha y` of the diffusion at the time of :math:`\sigma / \alpha = S`. The mean of x_0
given y is therefore the denoised image D itself, and its covariance that of
:mod:`medscore.uncertainty.covariance`: no sampling is needed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import medscore
from medscore.datasets.fit import Fit, fitted
from medscore.datasets.load import load_image
from medscore.datasets.volume import Volume, guess
from medscore.engine.items import Item, ItemFolder, fingerprint_of, run_items
from medscore.errors import MedscoreError
from medscore.measurements.fitting import fit_note, fit_to
from medscore.priors.base import Prior
from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.contrast import ESTIMATE, check_contrast
from medscore.reconstruction.noise_level import ESTIMATED, level_of, scales_of
from medscore.registry.checks import check_counts, resolve_device
from medscore.uncertainty.covariance import PosteriorCovariance
from medscore.uncertainty.eigenvectors import covariance_eigenvectors
from medscore.white_noise import Noise, derive_seed

OnPart = Callable[[int, int, str], None]
"""Called with the number of finished slices, that of all, and what is being computed."""

MOST = 100
"""Largest number of eigenvectors of a slice."""


@dataclass(frozen=True)
class Denoised:
    """Denoised slices, and how certain they are.

    Attributes:
        mean: the posterior mean, (slices, H, W) in the unit of the image.
        std: the posterior standard deviation of each pixel, (slices, H, W) in that unit.
        eigenvectors: directions of the largest posterior variance, of length 1, (slices, count, H,
            W).
        eigenvalues: the posterior variance along them, (slices, count) in the square of the unit.
        noisy: the image on the grid of the prior, with the geometry of all the others.
        noise_std: standard deviation of the noise in ``noisy``, in the unit of the image.
        record: settings and results for provenance, as JSON values.
        notes: what was done to fit the image to the prior's grid, one sentence each.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    eigenvectors: NDArray[np.float32]
    eigenvalues: NDArray[np.float64]
    noisy: Volume
    noise_std: float
    record: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of the image: HU, or empty for MR magnitudes."""
        return "HU" if self.noisy.modality == "CT" else ""


def denoise(
    image: Volume | str | Path,
    prior: NetworkPrior | str | Path | None = None,
    *,
    noise_std: float | str = ESTIMATED,
    probes: int = 16,
    eigenvectors: int = 3,
    seed: int = 0,
    contrast: str | None = None,
    device: str = "cpu",
    allow_mismatch: bool = False,
    state: Path | None = None,
    on_part: OnPart = lambda done, count, what: None,
) -> Denoised:
    """Denoise a CT or MR image slice by slice: mean, standard deviation, leading eigenvectors.

    The noise is taken as white. That of MR magnitudes is not Gaussian where the signal is weak, and
    that of a filtered CT image is correlated, which makes the results too certain or too uncertain.

    Args:
        image: a volume, or the path of a CT or MR image.
        prior: a prior, the name of one, or a path; by default that of the modality.
        noise_std: standard deviation of the noise in the unit of the image, or "estimate".
        probes: number of random probes of the standard deviation, one backward pass each.
        eigenvectors: number of eigenvectors of each slice; 0 for none.
        seed: seed of the probes.
        contrast: MR contrast, for priors that know contrasts; by default none.
        device: auto, cpu or cuda.
        allow_mismatch: whether the prior works on the grid of the image, even outside its image
            domain; by default the image is fitted to its grid.
        state: folder in which finished slices are kept, so that the call can be resumed.
        on_part: called before each part of the work and after each slice.

    Raises:
        MedscoreError: the image does not fit the prior, the noise is outside the levels that the
            prior knows, or another parameter is invalid.
    """
    check_counts(
        ("probes", probes, 1, 10**6), ("eigenvectors", eigenvectors, 0, MOST),
        ("seed", seed, 0, 2**63 - 1),
    )  # fmt: skip
    chosen = resolve_device(device)
    volume = load_image(image) if isinstance(image, str | Path) else image
    if not isinstance(volume, Volume):
        raise MedscoreError(
            f"`image` is {image!r:.80}", hint="use a Volume or the path of an image"
        )
    volume = replace(volume, modality=guess(volume))
    network = _prior_for(volume, prior, contrast, chosen)
    domain = network.domain
    assert domain is not None
    fit = None if allow_mismatch else _fit(volume, network)
    notes = () if fit is None else (fit_note(volume, fit, domain.name),)
    noisy = volume if fit is None else fitted(volume, fit)
    rows, columns = noisy.values.shape[1:]
    level = level_of(noise_std, noisy.values, domain, fit)
    low, scales = scales_of(noisy.values, domain)
    ratios = level / scales
    own = level if noise_std == ESTIMATED else float(noise_std)  # on the grid of the image
    _check_levels(own, ratios, network)
    placed = network.on_grid((rows, columns), noisy.spacing[0], allow_mismatch=allow_mismatch)

    def work(index: int) -> Item:
        y = torch.from_numpy((noisy.values[index] - low) / scales[index])[None, None].float()
        t = placed.sde.time(torch.tensor([float(ratios[index])])).to(chosen)
        x = placed.sde.alpha(t)[:, None, None, None] * y.to(chosen)
        on_part(index, len(noisy.values), "standard deviation")
        posterior = PosteriorCovariance.at(placed, x, t)
        seeds = [derive_seed(seed, index)]
        variance = posterior.diagonal(Noise(seeds), probes)
        tensors = {"mean": posterior.mean[0, 0], "variance": variance[0, 0]}
        if eigenvectors:
            products = 0

            def count() -> None:
                nonlocal products
                products += 1
                on_part(index, len(noisy.values), f"eigenvectors, {products} products")

            found = covariance_eigenvectors(
                placed, x, t, eigenvectors, seeds=seeds, on_product=count
            )
            tensors |= {"values": found.values[0], "vectors": found.vectors[0, :, 0]}
        return Item(tensors=tensors)

    begin = time.perf_counter()
    settings = {
        "noise_std": own, "probes": probes, "eigenvectors": eigenvectors, "seed": seed,
        "contrast": contrast, "allow_mismatch": allow_mismatch,
    }  # fmt: skip
    digest = hashlib.sha256(noisy.values.tobytes()).hexdigest()
    run = fingerprint_of(medscore.__version__, settings, network.sha256, digest)
    items = run_items(
        len(noisy.values), work, None if state is None else ItemFolder(state, run),
        lambda done, item: on_part(done, len(noisy.values), "slice"),
    )  # fmt: skip
    wide = scales[:, None, None]
    found = {
        name: np.stack([item.tensors[name].cpu().numpy() for item in items])
        for name in items[0].tensors
    }
    none = np.zeros((len(items), 0, rows, columns), np.float32)
    values = found.get("values", np.zeros((len(items), 0)))
    return Denoised(
        mean=(found["mean"] * wide + low).astype(np.float32),
        std=(np.sqrt(found["variance"].clip(0)) * wide).astype(np.float32),
        eigenvectors=found.get("vectors", none),
        eigenvalues=values.astype(np.float64) * scales[:, None] ** 2,
        noisy=noisy,
        noise_std=float(level),
        record={
            "settings": settings,
            "noise": "given" if noise_std != ESTIMATED else ESTIMATED,
            "prior": {"name": domain.name, "sha256": network.sha256},
            "sigma": {"min": float(ratios.min()), "max": float(ratios.max())},
            "source_sha256": volume.source.sha256,
            "notes": [*volume.source.notes, *notes],
            "seconds": round(time.perf_counter() - begin, 2),
        },
        notes=notes,
    )


def _prior_for(
    volume: Volume, prior: NetworkPrior | str | Path | None, contrast: str | None, device: str
) -> NetworkPrior:
    """The prior, which must be of real images of the same modality, told its contrast."""
    if prior is None:
        prior = DEFAULT_PRIORS[volume.modality]
    if isinstance(prior, str | Path):
        prior = load_prior(prior_path(str(prior)), device=device)
    if not isinstance(prior, NetworkPrior) or prior.domain is None:
        name = type(prior).__name__ if isinstance(prior, Prior) else f"{prior!r:.80}"
        raise MedscoreError(
            f"`prior` is {name}", hint="use the name of a prior, or a NetworkPrior with a domain"
        )
    domain, quantity = prior.domain, "HU" if volume.modality == "CT" else "magnitude"
    for what, ours, theirs in (
        ("modality", volume.modality, domain.modality),
        ("quantity", quantity, domain.quantity),
    ):
        if ours != theirs:
            raise MedscoreError(
                f"the {what} of the image is {ours}, prior {domain.name} has {theirs}",
                hint="use a prior of such images (`medscore priors list`)",
            )
    if domain.spatial_dims != 2:
        raise MedscoreError(
            f"the prior {domain.name} is of {domain.spatial_dims}-D images",
            hint="use one of slices",
        )
    check_contrast(contrast, domain)
    if contrast == ESTIMATE:
        raise MedscoreError(
            "`contrast` is 'estimate', which needs an image without noise",
            hint=f"use one of: {', '.join(domain.classes)}, none",
        )
    return prior.to(device) if contrast is None else prior.of_class(contrast).to(device)


def _fit(volume: Volume, prior: NetworkPrior) -> Fit | None:
    """The fit of the image to the prior's grid, on which its noise stays white."""
    assert prior.domain is not None
    fit = fit_to(prior.domain, volume.values.shape[1:], volume.spacing[:2])
    if fit is not None and min(fit.rows.step, fit.columns.step) < 1 - 1e-6:
        raise MedscoreError(
            f"the pixels of {volume.spacing[0]:.3g} mm are larger than those of prior "
            f"{prior.domain.name}, and finer ones would have correlated noise",
            hint="use another prior, or set `allow_mismatch`",
        )
    return fit


def _check_levels(level: float, ratios: NDArray[np.float64], prior: NetworkPrior) -> None:
    """Reject noise that is weaker or stronger than that of the prior's diffusion."""
    ends: Sequence[float] = [float(prior.sde.ratio(torch.tensor(t))) for t in (prior.sde.eps, 1.0)]
    scale = level / ratios
    if float(ratios.min()) < ends[0] or float(ratios.max()) > ends[1]:
        assert prior.domain is not None
        raise MedscoreError(
            f"`noise_std` is {level:.4g}, prior {prior.domain.name} knows "
            f"{ends[0] * scale.max():.4g} to {ends[1] * scale.min():.4g} in this image",
            hint="use the standard deviation of its noise, in the unit of the image",
        )
