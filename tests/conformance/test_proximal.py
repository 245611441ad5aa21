"""The proximal conditioner on independent pixels, some of them measured: a known posterior."""

import math

import pytest
import torch
from exact import walk
from support import FixedNoise, SharedNoise, Square
from torch import Tensor

from medscore.conditioners.proximal import Proximal
from medscore.errors import MedscoreError
from medscore.operators.base import Operator
from medscore.operators.images.inpainting import Inpainting
from medscore.priors.analytic import GaussianPrior
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.grids import uniform
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.white_noise import Noise

SDES: list[SDE] = [VE(0.01, 10.0), VP(), SubVP()]
SIDE = 8
N = 500


def left_half() -> Operator:
    """The left half of the pixels is measured."""
    mask = torch.zeros(SIDE, SIDE)
    mask[:, : SIDE // 2] = 1
    return Inpainting(mask)


def white(sde: SDE) -> GaussianPrior:
    return GaussianPrior(sde, torch.full((SIDE**2,), 0.3), 0.25 * torch.eye(SIDE**2))


def sample(sde: SDE, y: Tensor, lam: float) -> Tensor:
    """Predictor-corrector sampling, 200 scales and final denoising, as in Alg. 8.2 and B.6.4."""
    prior, operator = white(sde), left_half()
    plain = PredictorCorrector(ReverseDiffusion(), LangevinCorrector(0.05))
    conditioner = Proximal(operator, y.expand(N, 1, SIDE, SIDE), lam)
    sampler, noise = conditioner.sampler(plain), SharedNoise(0)
    x = sde.prior_sample(noise(torch.zeros(N, 1, SIDE, SIDE)))
    grid = uniform(sde, 200)
    x = walk(sampler, prior, x, grid, noise)
    return prior.denoise(x, grid[-1].expand(N))


@pytest.mark.statistical
@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_unmeasured_pixels_follow_the_posterior(sde: SDE) -> None:
    """For independent pixels, the posterior of the unmeasured half is the prior N(0.3, 0.5^2).

    The standard error of 16,000 values is 0.8 % of the standard deviation, the bound 5 %:
    false-alarm rate below 1e-8.
    """
    y = torch.linspace(-1, 1, SIDE**2).reshape(1, 1, SIDE, SIDE)
    free = sample(sde, y, 1.0)[..., SIDE // 2 :]
    assert float(free.mean()) == pytest.approx(0.3, abs=0.05 * 0.5)
    assert float(free.std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.statistical
@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_measured_pixels_end_at_the_measurement(sde: SDE) -> None:
    """Before the final exact step: within 6 standard errors of the noise that the end leaves and
    that the last corrector step adds after its projection (sqrt(2 epsilon) = 2 r 0.5), of
    32 pixels (false-alarm rate below 1e-7), and what the prior pulls in predictor and
    denoiser, each at most sigma^2 / 0.25 of the distance 1.3 to its mean.
    """
    y = torch.linspace(-1, 1, SIDE**2).reshape(1, 1, SIDE, SIDE)
    fitted = sample(sde, y, 1.0)[..., : SIDE // 2]
    left = float(sde.sigma(uniform(sde, 200)[-2:-1])) + 0.01
    corrected = 2 * 0.05 * 0.5
    error = (fitted.mean(0) - y[0, ..., : SIDE // 2]).abs()
    assert float(error.max()) < 6 * math.hypot(left, corrected) / N**0.5 + 2 * 1.3 * left**2 / 0.25


@pytest.mark.statistical
@pytest.mark.slow
def test_lam_zero_is_unconditional() -> None:
    """32,000 values of standard deviation 0.5; 7 standard errors, false-alarm rate below 1e-10."""
    y = torch.full((1, 1, SIDE, SIDE), 5.0)
    x = sample(VP(), y, 0.0)
    assert float(x.mean()) == pytest.approx(0.3, abs=0.02)


class Recorder(Sampler):
    """A prior that records the states at which it is evaluated."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def step(
        self, prior: object, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> tuple[Tensor, Memory]:
        self.seen.append(x)
        return x, memory


def test_every_sub_step_starts_from_a_projected_point() -> None:
    """Lines 4 and 5 of Alg. 8.2 precede the predictor and every corrector step (B.6.4)."""
    predictor, corrector = Recorder(), Recorder()
    y, operator = torch.ones(2, 1, SIDE, SIDE), left_half()
    sde = VE(1e-8, 10.0)
    plain = PredictorCorrector(predictor, corrector, corrections=2)
    sampler = Proximal(operator, y).sampler(plain)
    x, zero = torch.zeros(2, 1, SIDE, SIDE), torch.zeros(2)
    sampler.step(white(sde), x, zero, zero, SharedNoise(0), sampler.init(x))
    assert (len(predictor.seen), len(corrector.seen)) == (1, 2)
    for point in predictor.seen + corrector.seen:
        torch.testing.assert_close(operator.forward(point), operator.forward(y), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sde", SDES, ids=repr)
def test_projecting_is_lines_4_and_5_of_algorithm_8_2(sde: SDE) -> None:
    """Each line is written out with a dense T: y_t = alpha y + sigma A z, then Eq. 8.9.

    T is not a multiple of a rotation, so noise that is white in the measurement would be detected;
    y is not zero, so a missing alpha would be detected.
    """
    operator, lam = Square(), 0.7
    generator = torch.Generator().manual_seed(1)
    x, z, image = torch.randn(3, 9, generator=generator, dtype=torch.float64)
    t = torch.tensor([0.4], dtype=torch.float64)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    measured, matrix = torch.diag(operator.mask(image)), operator.matrix
    y = measured @ matrix @ image
    y_t = alpha * y + sigma * measured @ matrix @ z
    rest = torch.eye(9, dtype=torch.float64) - measured
    blend = lam * measured @ y_t + (1 - lam) * measured @ matrix @ x + rest @ matrix @ x
    expected = torch.linalg.solve(matrix, blend)

    prior = GaussianPrior(sde, torch.zeros(9).double(), torch.eye(9).double())
    conditioner = Proximal(operator, y[None], lam)
    found = conditioner.project(prior, x.reshape(1, 1, 3, 3), t, FixedNoise(z.reshape(1, 1, 3, 3)))
    torch.testing.assert_close(found.flatten(), expected)


@pytest.mark.parametrize("lam", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_1_is_refused(lam: float) -> None:
    with pytest.raises(MedscoreError, match="`lam`"):
        Proximal(left_half(), torch.zeros(1, 1, SIDE, SIDE), lam)
