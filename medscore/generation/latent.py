r"""Latent codes by the probability flow (Song et al. 2022, section 7.4 and B.5.4).

The flow of Eq. 7.13 from eps to 1 encodes an image, and from 1 to eps decodes a code. Codes are
approximately Gaussian: they are interpolated along the sphere, and a temperature, a factor on them,
lowers or raises the diversity of the images. They depend on the data and not on the network, as far
as it has learnt the score. Encoding amplifies directions in which the data hardly vary, so
tolerances are tight: use prior and images in float64 if the codes are to be decoded again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medscore.priors.base import Prior
from medscore.priors.given import check_tolerance, given_images, given_prior
from medscore.samplers.ode import solve_each
from medscore.types import State


@torch.no_grad()
def encode(
    prior: Prior | str | Path,
    x: Tensor | ArrayLike,
    *,
    rtol: float = 1e-8,
    atol: float = 1e-8,
) -> State:
    """The latent code x_1 of each image; each image is solved separately.

    Args:
        prior: a prior, the name of one, or a path.
        x: images (batch, channel, H, W) in the prior's range, as a tensor or array.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.

    Raises:
        MedscoreError: an invalid argument, or a step size that underflowed.
    """
    check_tolerance(rtol=rtol, atol=atol)
    prior = given_prior(prior)
    return _each(prior, given_images(prior, x), prior.sde.eps, 1.0, rtol, atol)


@torch.no_grad()
def decode(
    prior: Prior | str | Path,
    code: Tensor | ArrayLike,
    *,
    rtol: float = 1e-8,
    atol: float = 1e-8,
) -> State:
    """The image x_eps of each latent code; each code is solved separately.

    Args:
        prior: a prior, the name of one, or a path.
        code: latent codes (batch, channel, H, W), as a tensor or array.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance of the solver.

    Raises:
        MedscoreError: an invalid argument, or a step size that underflowed.
    """
    check_tolerance(rtol=rtol, atol=atol)
    prior = given_prior(prior)
    return _each(prior, given_images(prior, code, "code"), 1.0, prior.sde.eps, rtol, atol)


def slerp(a: State, b: State, weight: float) -> State:
    r"""Spherical interpolation between codes.

    .. math:: \frac{\sin((1 - w)\theta)}{\sin\theta} a + \frac{\sin(w\theta)}{\sin\theta} b,

    theta the angle between them. Parallel and opposite codes are interpolated linearly.

    Args:
        a: codes (batch, ...) at weight 0.
        b: codes (batch, ...) at weight 1.
        weight: w, from 0 to 1.
    """
    flat_a, flat_b = a.flatten(1).double(), b.flatten(1).double()
    cosine = torch.nn.functional.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    angle = torch.acos(cosine)[:, None]
    sine = torch.sin(angle)
    straight = sine < 1e-6
    safe = torch.where(straight, 1.0, sine)
    left = torch.where(straight, 1 - weight, torch.sin((1 - weight) * angle) / safe)
    right = torch.where(straight, weight, torch.sin(weight * angle) / safe)
    return (left * flat_a + right * flat_b).reshape(a.shape).to(a)


@dataclass(frozen=True)
class Agreement:
    """Agreement of the codes of the same images under two priors (Fig. B.42).

    Attributes:
        difference: mean absolute difference of the codes' elements, over their standard deviation.
        shuffled: the same difference, with the second prior's codes assigned to other images.
        correlation: correlation of all elements.
    """

    difference: float
    shuffled: float
    correlation: float


def agreement(first: Prior, second: Prior, x: State) -> Agreement:
    """Encode images under two priors on the same SDE and compare the codes.

    Args:
        first: one prior.
        second: the other prior.
        x: two images or more, (batch, ...).

    Raises:
        ValueError: there is a single image, or the SDEs differ.
    """
    if first.sde != second.sde:
        raise ValueError(f"the priors are on different SDEs, {first.sde} and {second.sde}")
    return compare_codes(encode(first, x), encode(second, x))


def compare_codes(first: State, second: State) -> Agreement:
    """Compare codes of the same images under two priors.

    Args:
        first: codes (batch, ...) under one prior.
        second: codes (batch, ...) under the other.

    Raises:
        ValueError: there is a single image.
    """
    if len(first) < 2:
        raise ValueError("two images or more are needed")
    a, b = first.flatten(1).double(), second.flatten(1).double()
    scale = a.std()
    return Agreement(
        difference=float((a - b).abs().mean() / scale),
        shuffled=float((a - b.roll(1, 0)).abs().mean() / scale),
        correlation=float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]),
    )


def _each(prior: Prior, x: State, t: float, s: float, rtol: float, atol: float) -> State:
    one = torch.ones(len(x), dtype=torch.float64)
    return solve_each(prior, x, t * one, s * one, rtol=rtol, atol=atol)
