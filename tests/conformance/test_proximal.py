"""The proximal conditioner where the posterior is known: independent pixels, some measured."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from medscore.analytic import GaussianPrior
from medscore.conditioners.proximal import Proximal
from medscore.noise import Noise
from medscore.operators.base import Operator
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.grids import uniform
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sde import SDE, VE, VP, SubVP

SDES: list[SDE] = [VE(0.01, 10.0), VP(), SubVP()]
SIDE = 8
N = 500


class Pixels(Operator):
    """T = I: the left half of the pixels is measured."""

    T_is_onto = True

    def __init__(self) -> None:
        mask = torch.zeros(1, 1, SIDE, SIDE)
        mask[..., : SIDE // 2] = 1
        super().__init__(mask)

    def T(self, x: Tensor) -> Tensor:
        return x

    def T_adjoint(self, z: Tensor) -> Tensor:
        return z

    def T_inv(self, z: Tensor) -> Tensor:
        return z


class Shared(Noise):
    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, dtype=like.dtype)


def white(sde: SDE) -> GaussianPrior:
    return GaussianPrior(sde, torch.full((SIDE**2,), 0.3), 0.25 * torch.eye(SIDE**2))


def sample(sde: SDE, y: Tensor, lam: float) -> Tensor:
    """200 scales of predictor-corrector, then Tweedie's denoise, as in Alg. 8.2 and B.6.4."""
    prior, operator = white(sde), Pixels()
    plain = PredictorCorrector(ReverseDiffusion(), LangevinCorrector(0.05))
    conditioner = Proximal(operator, y.expand(N, 1, SIDE, SIDE), lam)
    sampler, noise = conditioner.sampler(plain), Shared(0)
    x = sde.prior_sample(noise(torch.zeros(N, 1, SIDE, SIDE)))
    grid, memory = uniform(sde, 200), sampler.init(x)
    for t, s in pairwise(grid):
        x, memory = sampler.step(prior, x, t.expand(N), s.expand(N), noise, memory)
    return prior.denoise(x, grid[-1].expand(N))


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_unmeasured_pixels_follow_the_posterior(sde: SDE) -> None:
    """Independent pixels: the posterior of the unmeasured half is the prior, N(0.3, 0.5^2).

    16,000 numbers, standard error 0.8 % of the deviation; bound 5 %: false-alarm rate below 1e-8.
    """
    y = torch.linspace(-1, 1, SIDE**2).reshape(1, 1, SIDE, SIDE)
    free = sample(sde, y, 1.0)[..., SIDE // 2 :]
    assert float(free.mean()) == pytest.approx(0.3, abs=0.05 * 0.5)
    assert float(free.std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_measured_pixels_end_near_the_measurement(sde: SDE) -> None:
    """Before the final exact step: within 5 deviations of the noise that the end leaves."""
    y = torch.linspace(-1, 1, SIDE**2).reshape(1, 1, SIDE, SIDE)
    fitted = sample(sde, y, 1.0)[..., : SIDE // 2]
    last = uniform(sde, 200)[-2:]
    left = math.sqrt(float(sde.sigma(last[:1]) ** 2)) + 0.02
    assert float((fitted.mean(0) - y[0, ..., : SIDE // 2]).abs().max()) < 5 * left


def test_lam_zero_is_unconditional() -> None:
    y = torch.full((1, 1, SIDE, SIDE), 5.0)
    x = sample(VP(), y, 0.0)
    assert float(x.mean()) == pytest.approx(0.3, abs=0.02)


class Recorder(Sampler):
    """Keeps the points it was given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def step(
        self, prior: object, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> tuple[Tensor, Memory]:
        self.seen.append(x)
        return x, memory


def test_every_sub_step_starts_from_a_projected_point() -> None:
    """B.6.4: lines 4 and 5 of Alg. 8.2 run before the predictor and before each corrector step."""
    predictor, corrector = Recorder(), Recorder()
    y, operator = torch.ones(2, 1, SIDE, SIDE), Pixels()
    sde = VE(1e-8, 10.0)
    plain = PredictorCorrector(predictor, corrector, corrections=2)
    sampler = Proximal(operator, y).sampler(plain)
    x, zero = torch.zeros(2, 1, SIDE, SIDE), torch.zeros(2)
    sampler.step(white(sde), x, zero, zero, Shared(0), sampler.init(x))
    assert (len(predictor.seen), len(corrector.seen)) == (1, 2)
    for point in predictor.seen + corrector.seen:
        torch.testing.assert_close(operator.forward(point), operator.forward(y), atol=1e-6, rtol=0)


def test_the_noisy_measurement_is_that_of_a_noisy_image() -> None:
    """y_t - alpha y has the covariance sigma^2 A A^T: here sigma^2 on measured pixels."""
    sde, operator = VE(0.01, 10.0), Pixels()
    y, t = torch.zeros(N, 1, SIDE, SIDE), torch.full((N,), 0.5)
    x = Proximal(operator, y).project(white(sde), torch.zeros_like(y), t, Shared(1))
    noise = x[..., : SIDE // 2]
    assert float(noise.std() / sde.sigma(t[0])) == pytest.approx(
        1.0, abs=5 / (2 * noise.numel()) ** 0.5
    )
    assert torch.equal(x[..., SIDE // 2 :], torch.zeros_like(x[..., SIDE // 2 :]))


@pytest.mark.parametrize("lam", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_1_is_refused(lam: float) -> None:
    with pytest.raises(ValueError, match="lam"):
        Proximal(Pixels(), torch.zeros(1, 1, SIDE, SIDE), lam)
