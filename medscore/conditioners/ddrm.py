r"""Denoising diffusion restoration models, DDRM, for an orthogonal T (Kawar et al. 2022, Eq. 7, 8).

In the coordinates of T the measurement operator is diagonal with singular values 0 and 1. The
unmeasured coordinates of x_s are those of the sampler. The measured ones, divided by alpha(s), are
drawn with sigma~ = sigma(s) / alpha(s), D~ = T D and y~ = y from

.. math:: N\Bigl(\tilde D + \sqrt{1 - \eta^2}\,\tilde\sigma\,\frac{\tilde y - \tilde D}{\sigma_y},
                 \eta^2 \tilde\sigma^2\Bigr) \text{ if } \tilde\sigma < \sigma_y, \qquad
          N\bigl((1 - \eta_b) \tilde D + \eta_b \tilde y,
                 \tilde\sigma^2 - \sigma_y^2 \eta_b^2\bigr) \text{ otherwise.}

With DDIM of the same eta as sampler, this is the algorithm of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner, Seen, corrected
from medscore.operators.base import Operator
from medscore.parameters import NonNegative, Share
from medscore.priors.base import Prior
from medscore.samplers.base import Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DDRM(Conditioner):
    """Restoration in the coordinates of an orthogonal T; it needs no further evaluations.

    Args:
        operator: A, acting on images in the prior's range, with an orthogonal or unitary T.
        y: measurements on the full grid, one per sample.
        noise_std: standard deviation sigma_y of each measured number, of the real and the imaginary
            part each; 0 for noise-free data.
        eta: share of fresh noise in measured coordinates at levels below the measurement noise.
        eta_b: weight of the measurement at levels above the measurement noise.

    Raises:
        ValueError: T is not orthogonal, or a value is out of range.
    """

    operator: Operator
    y: Tensor
    noise_std: NonNegative = 0.0
    eta: Share = 0.85
    eta_b: Share = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.operator.surjective and _is_orthogonal(self.operator, self.y)):
            raise ValueError(f"DDRM needs an orthogonal T; use DiffPIR or DDS with {self.operator}")

    def sampler(self, sampler: Sampler) -> Sampler:
        return corrected(sampler, self.correct)

    def correct(self, prior: Prior, seen: Seen, x_s: State, s: Times, noise: Noise) -> State:
        """The state after a step, with its measured coordinates drawn again.

        Args:
            prior: the score model.
            seen: first evaluation of the step.
            x_s: the state at time s, (batch, channel, ...).
            s: times, (batch,).
            noise: draws white noise in the shape of its argument.
        """
        _, _, denoised = seen
        ratio, alpha = prior.sde.ratio(s), prior.sde.alpha(s)
        spectrum = self.measured(denoised, ratio, noise(x_s))
        mask = self.operator.mask(spectrum)
        return self.operator.proximal(x_s, mask * expand(alpha, spectrum) * spectrum, 1.0)

    def measured(self, denoised: State, ratio: Times, z: State) -> Tensor:
        """A draw of the measured coordinates, divided by alpha.

        Args:
            denoised: denoised image D, (batch, channel, ...).
            ratio: noise-to-signal ratios sigma~, (batch,).
            z: white noise in the shape of ``denoised``.
        """
        d, white = self.operator.T(denoised), self.operator.T(z)
        level, std = expand(ratio, d), self.noise_std
        late = d + (1 - self.eta**2) ** 0.5 * level * (self.y - d) / max(std, 1e-30)
        late = late + self.eta * level * white
        early = (1 - self.eta_b) * d + self.eta_b * self.y
        early = early + (level**2 - (std * self.eta_b) ** 2).clamp_min(0).sqrt() * white
        return torch.where(level < std, late, early)


def _is_orthogonal(operator: Operator, like: Tensor) -> bool:
    """True if the inverse of T equals its adjoint, tested on one random measurement."""
    probe = torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
    gap = operator.T_adjoint(probe) - operator.T_inv(probe)
    return float(gap.abs().max()) <= 1e-4 * float(probe.abs().max())
