r"""Latent codes by the probability flow (Song et al. 2022, section 7.4 and B.5.4).

The flow of Eq. 7.13 from eps to 1 encodes an image, from 1 to eps decodes it. Codes are about
Gaussian: between two of them one goes along the sphere, and multiplying them by a temperature makes
images plainer or wilder. They do not depend on the network, only on the data, as far as it has
learnt the score. Encoding stretches what the data hardly do, so tolerances are tight: take the
prior and its images in float64 where codes are to be decoded again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medscore.priors.base import Prior
from medscore.samplers.ode import solve_each
from medscore.types import State


@torch.no_grad()
def encode(prior: Prior, x: State, *, rtol: float = 1e-8, atol: float = 1e-8) -> State:
    """The latent code x_1 of each image, solved by itself."""
    return _each(prior, x, prior.sde.eps, 1.0, rtol, atol)


@torch.no_grad()
def decode(prior: Prior, code: State, *, rtol: float = 1e-8, atol: float = 1e-8) -> State:
    """The image x_eps of each latent code, solved by itself."""
    return _each(prior, code, 1.0, prior.sde.eps, rtol, atol)


def slerp(a: State, b: State, weight: float) -> State:
    r"""Spherical interpolation of codes, ``a`` at weight 0 and ``b`` at 1.

    .. math:: \frac{\sin((1 - w)\theta)}{\sin\theta} a + \frac{\sin(w\theta)}{\sin\theta} b,

    theta the angle between them; where it vanishes, or they are opposite, a straight line.
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
    """How alike two priors' codes of the same images are (Fig. B.42).

    Attributes:
        difference: mean absolute difference of a number, over the codes' deviation. shuffled: the
            same with the second prior's codes given to other images. correlation: of all numbers.
    """

    difference: float
    shuffled: float
    correlation: float


def agreement(first: Prior, second: Prior, x: State) -> Agreement:
    """:func:`compare` the codes of two images or more under two priors on one SDE.

    Raises:
        ValueError: a single image, or priors on different SDEs.
    """
    if first.sde != second.sde:
        raise ValueError(f"the priors are on different SDEs, {first.sde} and {second.sde}")
    return compare(encode(first, x), encode(second, x))


def compare(first: State, second: State) -> Agreement:
    """Codes of the same images under two priors.

    Raises:
        ValueError: a single image.
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
