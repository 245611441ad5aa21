"""The Python interface: load, simulate, reconstruct, assess and save in a few lines.

The command line calls the same functions::

    import medscore as ms

    image = ms.load_image("scan.dcm", size=128)
    scan = ms.simulate(image, "sparse-ct", views=23)
    result = ms.reconstruct(scan, samples=8)
    print(ms.quality(result, image))
    ms.save(result, "out", reference=image)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.datasets.volume import Volume
from medscore.engine.loop import UNCONDITIONAL, Batch, Job, Samples, StepInfo, run
from medscore.errors import MedscoreError
from medscore.metrics.convention import CONVENTIONS, Convention
from medscore.metrics.image_quality import Quality, quality as compare
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path, shipped_priors
from medscore.priors.checkpoint import load_prior as read_prior, read_checkpoint
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.result import Reconstruction
from medscore.registry.build import build_grid, build_sampler
from medscore.registry.checks import check_ranges, resolve_device
from medscore.registry.presets import parse_parameters, split_parameters
from medscore.samplers.base import Sampler
from medscore.samplers.grids import Grid
from medscore.white_noise import derive_seed

Image: TypeAlias = Volume | Reconstruction | NDArray[np.floating] | Tensor


def load_prior(name_or_path: str | Path, *, device: str = "cpu") -> NetworkPrior:
    """Load a prior: its network in float32, frozen.

    Args:
        name_or_path: name of a shipped prior ("ct-128", "ct-128-vp", "mri-128"), or a path.
        device: auto, cpu or cuda.

    Raises:
        MedscoreError: no such prior, or a damaged file.
    """
    return read_prior(prior_path(str(name_or_path)), device=resolve_device(device))


def list_priors() -> dict[str, DataContract]:
    """The data contracts of the shipped priors, by name."""
    return {name: read_checkpoint(path).contract for name, path in shipped_priors().items()}


def sample(
    prior: Prior | str | Path,
    count: int = 1,
    *,
    shape: tuple[int, ...] | None = None,
    sampler: Sampler | str = "dpm-solver++",
    grid: Grid | str = "angular",
    steps: int = 50,
    parameters: Mapping[str, Any] | Sequence[str] = (),
    conditioner: Conditioner = UNCONDITIONAL,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Samples:
    """Draw samples from a prior; sample i does not depend on the number of samples.

    Args:
        prior: a prior, the name of a shipped prior, or a path.
        count: number of samples.
        shape: shape of a sample, (channel, H, W); by default the domain's.
        sampler: name of a sampler, or a sampler object.
        grid: name of the time grid, or a function of SDE and number of steps.
        steps: number of steps of the time grid.
        parameters: parameters of sampler and grid, such as ``{"sampler.eta": 1}``.
        conditioner: guidance, such as
            :class:`~medscore.conditioners.guidance.EnergyGuidance`; by default none.
        seed: seed of all random draws.
        batch_size: number of samples that are processed together; the result does not depend on it.
        device: auto, cpu or cuda.
        on_step: called after every sampling step.

    Returns:
        The samples (count, channel, H, W) in the network's range, and the NFE.

    Raises:
        MedscoreError: an invalid parameter, or a prior whose image size is unknown.
    """
    check_ranges(
        ("count", count, 1, 10**7), ("steps", steps, 1, 100_000), ("seed", seed, 0, 2**63 - 1),
        ("batch_size", batch_size, 1, 10**6),
    )  # fmt: skip
    chosen = resolve_device(device)
    if isinstance(prior, str | Path):
        prior = load_prior(prior, device=chosen)
    elif isinstance(prior, torch.nn.Module):
        prior.to(chosen)
    if not isinstance(parameters, Mapping):
        parameters = parse_parameters(parameters)
    own = split_parameters(parameters)
    if isinstance(sampler, str):
        sampler = build_sampler(sampler, own["sampler"])
    if isinstance(grid, str):
        grid = build_grid(grid, own["grid"])
    job = Job(
        seeds=[derive_seed(seed, i) for i in range(count)],
        shape=_shape_of(prior) if shape is None else shape,
        times=grid(prior.sde, steps),
        batches=lambda items: Batch(prior, sampler, conditioner),
        batch_size=batch_size,
        device=chosen,
    )
    return run(job, on_step)


def quality(image: Image, reference: Image, convention: str | Convention | None = None) -> Quality:
    """PSNR, SSIM and NMSE of an image, averaged over its slices.

    Args:
        image: a reconstruction, whose mean is compared, a volume, or an array (slices, H, W) in HU
            or as magnitudes.
        reference: ground truth on the same grid.
        convention: name of a convention ("ct", "mr", "fastmri", ...), or a convention; by default
            that of the modality of a volume or reconstruction, else "ct".

    Raises:
        MedscoreError: no such convention, or images of different shapes.
    """
    if convention is None:
        modalities = [m for m in (_modality(image), _modality(reference)) if m is not None]
        convention = "mr" if modalities and modalities[0] == "MR" else "ct"
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise MedscoreError(
                f"`convention` {convention!r}", hint=f"use one of: {', '.join(CONVENTIONS)}"
            )
        convention = CONVENTIONS[convention]
    x, r = _values(image), _values(reference)
    if x.shape != r.shape:
        raise MedscoreError(
            f"`image` has shape {x.shape}, `reference` {r.shape}",
            hint="use arrays of slices x rows x columns on the same grid",
        )
    return compare(x, r, convention)


def _shape_of(prior: Prior) -> tuple[int, ...]:
    domain = prior.domain
    if domain is None or domain.size is None:
        raise MedscoreError(
            f"the prior {type(prior).__name__} does not specify the size of its images",
            hint="set `shape` to the shape of a sample, (channel, H, W)",
        )
    return domain.channels, domain.size, domain.size


def _modality(image: Image) -> str | None:
    if isinstance(image, Reconstruction):
        return image.measurement.modality
    return image.modality if isinstance(image, Volume) else None


def _values(image: Image) -> NDArray[np.float32]:
    if isinstance(image, Reconstruction):
        return image.mean
    if isinstance(image, Volume):
        return image.values
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    return np.asarray(values[None] if values.ndim == 2 else values, dtype=np.float32)
