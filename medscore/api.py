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
from dataclasses import replace
from inspect import isclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.datasets.volume import Volume
from medscore.engine.job import UNCONDITIONAL, Batch, Job
from medscore.engine.loop import Samples, StepInfo, run
from medscore.errors import MedscoreError
from medscore.metrics.convention import CONVENTIONS, Convention
from medscore.metrics.image_quality import Quality, quality as compare
from medscore.numeric import is_whole
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior as read_prior
from medscore.priors.contract import DataContract
from medscore.priors.given import check_shape, given_prior
from medscore.priors.known import known_contracts
from medscore.priors.network import NetworkPrior, needs_grid
from medscore.reconstruction.result import Reconstruction
from medscore.registry.build import build_sampler, check_owners, given_grid, times_of
from medscore.registry.checks import check_counts, resolve_device
from medscore.registry.presets import parsed
from medscore.registry.settings import OF_IMAGES, split_parameters
from medscore.samplers.base import Sampler, sampler_object
from medscore.samplers.grids import Grid
from medscore.white_noise import derive_seed

Image: TypeAlias = Volume | Reconstruction | NDArray[np.floating] | Tensor


def load_prior(name_or_path: str | Path, *, device: str = "cpu") -> NetworkPrior:
    """Load a prior: its network in float32, frozen.

    Args:
        name_or_path: name of a shipped prior ("ct-128", "ct-128-vp", "mri-128") or of a fetched
            one, or a path.
        device: auto, cpu or cuda.

    Raises:
        MedscoreError: no such prior, or a damaged file.
    """
    chosen = _device(device)
    if not isinstance(name_or_path, str | Path):
        raise MedscoreError(f"`name_or_path` is {name_or_path!r:.80}", hint="use a name or a path")
    return read_prior(prior_path(str(name_or_path)), device=chosen)


def list_priors() -> dict[str, DataContract]:
    """The data contracts of the shipped and the fetched priors, by name."""
    return known_contracts()


def sample(
    prior: Prior | str | Path,
    count: int = 1,
    *,
    shape: tuple[int, ...] | None = None,
    sampler: Sampler | type[Sampler] | str = "dpm-solver++",
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
        prior: a prior, the name of one, or a path.
        count: number of samples.
        shape: shape of a sample, (channel, H, W); by default the domain's.
        sampler: name of a sampler, a sampler object, or a class with default settings.
        grid: name of the time grid, or a function of SDE and number of steps.
        steps: number of steps of the time grid.
        parameters: parameters of a sampler and grid given by name, such as ``{"sampler.eta": 1}``.
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
    check_counts(
        ("count", count, 1, 10**7), ("steps", steps, 1, 100_000), ("seed", seed, 0, 2**63 - 1),
        ("batch_size", batch_size, 1, 10**6),
    )  # fmt: skip
    chosen = _device(device)
    prior = given_prior(prior, device=chosen)
    if isinstance(prior, torch.nn.Module):
        prior.to(chosen)
    _check_conditioner(conditioner)
    if not callable(on_step):
        raise MedscoreError(f"`on_step` is {on_step!r:.80}", hint="use a function of a StepInfo")
    parameters = parsed(parameters)
    own = split_parameters(parameters, OF_IMAGES)
    check_owners(parameters, {"sampler": sampler, "grid": grid, "conditioner": conditioner})
    if isinstance(sampler, str):
        sampler = build_sampler(sampler, own["sampler"])
    else:
        sampler = sampler_object(sampler)
    job = Job(
        seeds=[derive_seed(seed, i) for i in range(count)],
        shape=_shape_of(prior) if shape is None else _checked_shape(prior, shape),
        times=times_of(given_grid(grid, own["grid"]), prior.sde, steps),
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
            that of the modality of a volume or reconstruction, else "ct", and without the metal of
            a reconstruction with implants.

    Raises:
        MedscoreError: no such convention, or images of other kinds or of different shapes.
    """
    x, r = _values(image, "image"), _values(reference, "reference")
    metal = image.measurement.metal_mask if isinstance(image, Reconstruction) else None
    if convention is None and metal is not None:
        convention = replace(CONVENTIONS["ct"], without_metal=True)
    if convention is None:
        modalities = [m for m in (_modality(image), _modality(reference)) if m is not None]
        convention = "mr" if modalities and modalities[0] == "MR" else "ct"
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise MedscoreError(
                f"`convention` {convention!r}", hint=f"use one of: {', '.join(CONVENTIONS)}"
            )
        convention = CONVENTIONS[convention]
    if not isinstance(convention, Convention):
        raise MedscoreError(
            f"`convention` is {convention!r:.80}", hint=f"use one of: {', '.join(CONVENTIONS)}"
        )
    if x.shape != r.shape:
        raise MedscoreError(
            f"`image` has shape {x.shape}, `reference` {r.shape}",
            hint="use arrays of slices x rows x columns on the same grid",
        )
    return compare(x, r, convention, metal)


def _device(device: object) -> str:
    if not isinstance(device, str | torch.device):
        raise MedscoreError(f"`device` is {device!r:.80}", hint="use auto, cpu or cuda")
    return resolve_device(str(device))


def _check_conditioner(conditioner: object) -> None:
    if not isinstance(conditioner, Conditioner):
        name = f"the class {conditioner.__name__}" if isclass(conditioner) else f"{conditioner!r}"
        raise MedscoreError(
            f"`conditioner` is {name:.80}",
            hint="use an object, such as EnergyGuidance(...), or reconstruct with measurements",
        )


def _checked_shape(prior: Prior, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, Sequence) or not all(is_whole(n) for n in shape):
        raise MedscoreError(f"`shape` is {shape!r:.80}", hint="use (channel, H, W)")
    check_shape(prior, tuple(shape), "shape", batch=False)
    return tuple(shape)


def _shape_of(prior: Prior) -> tuple[int, ...]:
    domain, placed = prior.domain, getattr(prior, "shape", None)
    if isinstance(prior, NetworkPrior) and prior.needs_grid:
        raise needs_grid(prior)
    if domain is not None and placed is not None:
        return domain.channels, *placed
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


def _values(image: Image, name: str) -> NDArray[np.float32]:
    if isinstance(image, Reconstruction):
        return image.mean
    if isinstance(image, Volume):
        return image.values
    if not isinstance(image, Tensor | np.ndarray):
        raise MedscoreError(
            f"`{name}` is a {type(image).__name__}",
            hint="use a reconstruction, a volume, or an array of slices x rows x columns",
        )
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if values.dtype.kind not in "fiu":
        raise MedscoreError(
            f"`{name}` has the type {values.dtype}",
            hint="use real numbers, such as the magnitude of complex ones",
        )
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    return np.asarray(values[None] if values.ndim == 2 else values, dtype=np.float32)
