r"""DPM-Solver++(2M), a second-order multistep method (Lu et al. 2022b, Alg. 2).

The denoised image is extrapolated from this step and the previous one. With
:math:`\lambda = \log(\alpha/\sigma)`, the step size h in lambda, and the previous step size divided
by h as r,

.. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \alpha_s (1 - e^{-h})
                \Bigl[\bigl(1 + \tfrac{1}{2r}\bigr) D_t - \tfrac{1}{2r} D_{\text{last}}\Bigr].

The first step uses D_t alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.sdes.base import expand
from medscore.types import State, Times
from medscore.white_noise import Noise


@final
@dataclass(frozen=True)
class DPMSolverPP2M(Sampler):
    """Deterministic, second order, one evaluation per step.

    The memory holds the denoised image and lambda of the previous step.
    """

    def step(
        self, prior: Prior, x: State, t: Times, s: Times, noise: Noise, memory: Memory
    ) -> tuple[State, Memory]:
        sde = prior.sde
        now, then = -torch.log(sde.ratio(t)), -torch.log(sde.ratio(s))
        h = then - now
        denoised = prior.denoise(x, t)
        guess = denoised
        if memory:
            slope = expand(0.5 * h / (now - memory["half_log_snr"]), x)
            guess = denoised + slope * (denoised - memory["denoised"])
        kept = expand(sde.sigma(s) / sde.sigma(t), x)
        gain = expand(-sde.alpha(s) * torch.expm1(-h), x)
        return kept * x + gain * guess, {"denoised": denoised, "half_log_snr": now}
