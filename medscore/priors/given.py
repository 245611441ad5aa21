"""Priors and images as users give them: a prior by name or path, images as an array or a tensor."""

from __future__ import annotations

from inspect import isclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.numeric import is_number
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior


def given_prior(prior: Prior | str | Path, *, name: str = "prior", device: str = "cpu") -> Prior:
    """A prior given as an object, by the name of a shipped prior, or as a path.

    Args:
        prior: the prior.
        name: name of the parameter in messages.
        device: device of a prior that is loaded.

    Raises:
        MedscoreError: it is none of these, or cannot be loaded.
    """
    if isinstance(prior, str | Path):
        return load_prior(prior_path(str(prior)), device=device)
    if not isinstance(prior, Prior):
        kind = f"the class {prior.__name__}" if isclass(prior) else f"{prior!r:.80}"
        raise MedscoreError(
            f"`{name}` is {kind}", hint="use a prior object, the name of a prior, or a path"
        )
    return prior


def given_images(prior: Prior, x: Tensor | ArrayLike, name: str = "x") -> Tensor:
    """Images or latent codes for a prior; a network's are converted to its precision and device.

    Args:
        prior: the prior.
        x: images (batch, channel, H, W) in the prior's range; vectors (batch, D) only for a prior
            without an image domain.
        name: name of the parameter in messages.

    Raises:
        MedscoreError: no real floating-point numbers, another shape, or NaN or infinity.
    """
    if not isinstance(x, Tensor | np.ndarray):
        raise MedscoreError(
            f"`{name}` is a {type(x).__name__}",
            hint="use a tensor or an array (batch, channel, H, W) in the prior's range",
        )
    kind = str(x.dtype).removeprefix("torch.")
    if not kind.startswith(("float", "bfloat")):
        raise MedscoreError(
            f"`{name}` has the type {kind}", hint="use floating-point numbers in the prior's range"
        )
    images = x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))
    check_shape(prior, tuple(images.shape), name)
    if not bool(torch.isfinite(images).all()):
        raise MedscoreError(f"`{name}` holds NaN or infinity", hint="replace them before use")
    weights = next(prior.parameters(), None) if isinstance(prior, nn.Module) else None
    return images if weights is None else images.to(weights.device, weights.dtype)


def check_shape(prior: Prior, shape: tuple[int, ...], name: str, *, batch: bool = True) -> None:
    """Reject a shape that no images of a prior can have.

    Args:
        prior: the prior.
        shape: shape of images (batch, channel, H, W), or of one (channel, H, W).
        name: name of the parameter in messages.
        batch: whether the shape begins with the number of images.

    Raises:
        MedscoreError: the shape has another number of dimensions or channels, or is empty.
    """
    domain, first = prior.domain, ("batch",) if batch else ()
    verb = "has the shape" if batch else "is"
    space = ("D", "H", "W")[-domain.spatial_dims :] if domain else ("H", "W")
    expected = f"({', '.join((*first, 'channel', *space))})"
    smallest = len(first) + (1 + len(space) if domain else 1)
    fits = len(shape) == smallest if domain else len(shape) >= smallest
    if not fits or min(shape) < 1:
        raise MedscoreError(f"`{name}` {verb} {shape}", hint=f"use {expected}")
    if domain and shape[len(first)] != domain.channels:
        raise MedscoreError(
            f"`{name}` {verb} {shape}, the prior {domain.name} has {domain.channels} "
            f"channel{'s' if domain.channels > 1 else ''}",
            hint=f"use {expected}",
        )


def check_tolerance(**tolerances: float) -> None:
    """Reject tolerances of an ODE solver that are not positive, finite numbers.

    Args:
        tolerances: the tolerances by name.

    Raises:
        MedscoreError: another value; the message names it.
    """
    for name, value in tolerances.items():
        if not is_number(value) or not 0 < value < float("inf"):
            raise MedscoreError(f"`{name}` is {value!r:.80}", hint="use a number > 0, such as 1e-5")
