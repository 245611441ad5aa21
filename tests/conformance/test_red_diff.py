"""RED-diff: one update computed by hand, and the limit of convergence."""

import torch
from conditioning import SDES, prior as known, problem
from support import Draws, SharedNoise, Square

from medscore.conditioners.red_diff import REDDiff
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import log_snr


def test_two_steps_are_adams_along_the_papers_gradient() -> None:
    for sde in SDES:
        p, a = problem(sde, Square(), 0.0), Square()
        conditioner = REDDiff(a, p.y[None], weight=0.3, rate=0.05)
        sampler = conditioner.sampler(DDIM())
        start = torch.zeros(1, 1, 3, 3).double()
        memory = sampler.init(start)
        mu = memory["mu"].flatten()
        torch.testing.assert_close(mu, torch.linalg.pinv(p.A) @ p.y, atol=1e-5, rtol=0)
        first, second = torch.zeros(9).double(), torch.zeros(9).double()
        generator = torch.Generator().manual_seed(1)
        for count, (t, s) in enumerate(((0.8, 0.6), (0.6, 0.5)), start=1):
            z, w = torch.randn(2, 9, generator=generator).double()
            ends = (torch.tensor([t]).double(), torch.tensor([s]).double())
            x, memory = sampler.step(known(sde), start, *ends, Draws([z, w]), memory)
            x_t = p.alpha(t) * mu + p.sigma(t) * z
            noise = (x_t - p.alpha(t) * p.denoise(x_t, t)) / p.sigma(t)
            fit = p.A.T @ (p.A @ mu - p.y) / p.norm2
            gradient = fit + 0.3 * p.ratio2(t) ** 0.5 * (noise - z)
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient**2
            scale = (second / (1 - 0.99**count)).sqrt() + 1e-8
            mu = mu - 0.05 * first / (1 - 0.9**count) / scale
            torch.testing.assert_close(memory["mu"].flatten(), mu, atol=1e-6, rtol=0)
            expected = p.alpha(s) * mu + p.sigma(s) * w
            torch.testing.assert_close(x.flatten(), expected, atol=1e-6, rtol=0)


def test_it_ends_near_the_measurements_whatever_the_start() -> None:
    sde = SDES[0]
    p, a = problem(sde, Square(), 0.0), Square()
    sampler = REDDiff(a, p.y[None], weight=0.01, rate=0.02).sampler(DDIM())
    x = torch.zeros(1, 1, 3, 3).double()
    memory, noise = sampler.init(x), SharedNoise(0)
    memory["mu"] = torch.ones_like(x)
    for t in log_snr(sde, 400).double():
        x, memory = sampler.step(known(sde), x, t[None], t[None], noise, memory)
    assert float(a.residual(memory["mu"], p.y[None])) < 0.05
