"""Every conditioner with the rule of its source; the mutation tests call these functions too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rules
import torch
from exact import propagate
from rules import ETA, Problem, Rule
from support import Draws, Square
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.conditioners.daps import DAPS
from medscore.conditioners.ddnm import DDNM
from medscore.conditioners.ddrm import DDRM
from medscore.conditioners.dds import DDS
from medscore.conditioners.diffpir import DiffPIR
from medscore.conditioners.dps import DPS
from medscore.conditioners.guidance import EnergyGuidance
from medscore.conditioners.jalal import Jalal, JalalNormalised
from medscore.conditioners.mcg import MCG
from medscore.conditioners.moment_matching import MomentMatching
from medscore.conditioners.pigdm import PiGDM
from medscore.conditioners.proximal import Proximal
from medscore.conditioners.replacement import Replacement
from medscore.conditioners.score_sde import ScoreSDE
from medscore.operators.base import Operator
from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import log_snr
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP

SDES: list[SDE] = [VE(0.05, 10.0), VP(), SubVP()]
STD = 0.3

Make = Callable[[Operator, Tensor, float], Conditioner]
"""Makes a conditioner from operator, measurements and noise_std."""


@dataclass(frozen=True)
class Case:
    """A conditioner and its rule.

    Attributes:
        make: makes the conditioner.
        rule: one step as its source writes it.
        noises: noise standard deviations of y at which both are compared.
        orthogonal: whether the conditioner needs an orthogonal T.
    """

    make: Make
    rule: Rule
    noises: tuple[float, ...] = (0.0,)
    orthogonal: bool = False


CASES: dict[str, Case] = {
    "proximal": Case(lambda a, y, s: Proximal(a, y), rules.proximal(1.0)),
    "proximal, lam 0.7": Case(lambda a, y, s: Proximal(a, y, 0.7), rules.proximal(0.7)),
    "replacement": Case(lambda a, y, s: Replacement(a, y), rules.replacement),
    "score-sde": Case(lambda a, y, s: ScoreSDE(a, y, 0.4), rules.score_sde(0.4)),
    "jalal": Case(lambda a, y, s: Jalal(a, y, 1.3, s), rules.jalal(1.3), (0.0, STD)),
    "jalal, normalised": Case(
        lambda a, y, s: JalalNormalised(a, y, 0.8), rules.jalal_normalised(0.8)
    ),
    "dps": Case(lambda a, y, s: DPS(a, y, 0.5), rules.dps(0.5)),
    "mcg": Case(lambda a, y, s: MCG(a, y, 0.5), rules.mcg(0.5)),
    "pigdm": Case(lambda a, y, s: PiGDM(a, y, s, 0.6, 20), rules.pigdm(0.6), (0.0, STD)),
    "moment matching": Case(
        lambda a, y, s: MomentMatching(a, y, s, 9, 0.0, "denoiser"), rules.moment_matching, (STD,)
    ),
    "moment matching, known covariance": Case(
        lambda a, y, s: MomentMatching(a, y, s, 9, 0.0, "learned"), rules.moment_matching, (STD,)
    ),
    "ddnm": Case(lambda a, y, s: DDNM(a, y, s, 20), rules.ddnm, (0.0, STD, 3.0)),
    "dds": Case(lambda a, y, s: DDS(a, y), rules.dds(None)),
    "dds, gamma 5": Case(lambda a, y, s: DDS(a, y, 5.0, 20), rules.dds(5.0), (STD,)),
    "diffpir": Case(
        lambda a, y, s: DiffPIR(a, y, s, 3.0, 1.0, 20), rules.diffpir(1.0, 3.0), (0.0, STD)
    ),
    "diffpir, zeta 0.3": Case(
        lambda a, y, s: DiffPIR(a, y, s, 3.0, 0.3, 20), rules.diffpir(0.3, 3.0), (0.0, STD)
    ),
    "ddrm": Case(
        lambda a, y, s: DDRM(a, y, s, 0.85, 0.9), rules.ddrm(0.85, 0.9), (0.0, 0.1, 3.0), True
    ),
    "daps": Case(lambda a, y, s: DAPS(a, y, s, 0.6, 0, 20), rules.daps(0.6), (0.0, STD)),
}


def _in_files_of_their_own() -> dict[str, Case]:
    """A case from each file of tests/support/conditioners; discrepancy.py is the model."""
    found = {}
    for path in sorted((Path(__file__).parent / "conditioners").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"conditioner_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        noises = getattr(module, "NOISES", (0.0,))
        found[path.stem] = Case(module.make, module.rule, noises)
    return found


CASES |= _in_files_of_their_own()


class Orthogonal(Square):
    """A random rotation as T."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.matrix = torch.linalg.qr(self.matrix).Q


def prior(sde: SDE) -> GaussianPrior:
    """A Gaussian prior of nine correlated values with a mean, in float64."""
    generator = torch.Generator().manual_seed(3)
    root = 0.4 * torch.randn(9, 9, generator=generator, dtype=torch.float64)
    mean = torch.linspace(-1, 1, 9, dtype=torch.float64)
    return GaussianPrior(sde, mean, root @ root.T + 0.1 * torch.eye(9, dtype=torch.float64))


def problem(sde: SDE, operator: Square, noise_std: float) -> Problem:
    """The same problem in the form that the rules receive."""
    known, kept = prior(sde), operator.diagonal.double()
    generator = torch.Generator().manual_seed(4)
    x0 = known.sample(1, 0.0, generator)[0]
    n = torch.randn(9, generator=generator, dtype=torch.float64)

    def number(f: Callable[[Tensor], Tensor]) -> Callable[[float], float]:
        return lambda t: float(f(torch.tensor(t, dtype=torch.float64)))

    return Problem(
        number(sde.alpha), number(sde.sigma), known.means[0], known.covariances[0],
        operator.matrix, kept, kept * (operator.matrix @ x0 + noise_std * n), noise_std,
    )  # fmt: skip


def step_is_the_rule(name: str, sde: SDE) -> None:
    """One step equals the rule to 1e-8 at 12 random states with random draws, at two noise levels.

    Ten points determine an affine map of nine values, so its mean and covariance agree as well.
    """
    case = CASES[name]
    operator = Orthogonal() if case.orthogonal else Square()
    generator = torch.Generator().manual_seed(5)
    for std in case.noises:
        p = problem(sde, operator, std)
        conditioner = case.make(operator, p.y[None], std)
        conditioned, sampler = conditioner.prior(prior(sde)), conditioner.sampler(DDIM(ETA))
        for t, s in ((0.8, 0.7), (0.25, 0.2)):
            for _ in range(6):
                x, *z = torch.randn(5, 9, generator=generator, dtype=torch.float64)
                x = x * (p.sigma(t) + 1)
                draws = Draws(z)
                start = x.reshape(1, 1, 3, 3)
                found, _ = sampler.step(
                    conditioned, start, _time(t), _time(s), draws, sampler.init(start)
                )
                expected = case.rule(p, x, t, s, z[: draws.taken])
                gap = (found.flatten() - expected).abs().max()
                assert float(gap) < 1e-8 * (1 + float(expected.abs().max())), (std, t, float(gap))


def posterior(sde: SDE, std: float) -> tuple[Problem, GaussianPrior]:
    """The problem and its true posterior, as a prior."""
    p = problem(sde, Square(), std)
    taken = p.kept.bool()
    found = prior(sde).posterior(p.A[taken], p.y[taken], std)
    return p, GaussianPrior(sde, found.means[0], found.covariances[0])


def distance(make: Callable[[Problem], Conditioner], sde: SDE, steps: int) -> float:
    """The distance of mean and covariance after DDIM(1) to those of the true posterior at eps.

    Sampling starts from the exact p_1 of the posterior.
    """
    p, exact = posterior(sde, STD)
    conditioned = _Flat(make(p).prior(prior(sde)))
    grid = log_snr(sde, steps).double()
    found = propagate(DDIM(1.0), conditioned, grid, *exact.marginal(float(grid[0])))
    true = exact.marginal(float(grid[-1]))
    return sum(float((a - b).norm()) for a, b in zip(found, true, strict=True))


def converges(make: Callable[[Problem], Conditioner], sde: SDE) -> None:
    """Twice the steps halve the distance, within 10 %, so the method is exact in the limit."""
    coarse, fine = (distance(make, sde, steps) for steps in (100, 200))
    assert 1.8 < coarse / fine < 2.2, (coarse, fine)


def exact_moments(sde: SDE) -> None:
    """Moment matching is exact for any Gaussian."""
    converges(lambda p: MomentMatching(Square(), p.y[None], STD, 9, 0.0), sde)


def exact_guidance(sde: SDE) -> None:
    """Guidance by the true log p_t(y | x_t), which is Gaussian, is exact."""

    def energy(p: Problem) -> Callable[[Tensor, Tensor], Tensor]:
        def of(x: Tensor, t: Tensor) -> Tensor:
            time = float(t[0])
            v = p.sigma(time) ** 2 / p.alpha(time) * p.jacobian(time)
            s = p.A @ v @ p.A.T + STD**2 * torch.diag(p.kept)
            d = p.mean + (x.flatten(1) - p.alpha(time) * p.mean) @ p.jacobian(time).T
            gap = p.y - d @ p.A.T
            return 0.5 * torch.einsum("bi,ij,bj->b", gap, torch.linalg.pinv(s), gap)

        return of

    converges(lambda p: EnergyGuidance(energy(p)), sde)


def _time(t: float) -> Tensor:
    return torch.tensor([t], dtype=torch.float64)


class _Flat(Prior):
    """A prior of images as a prior of vectors."""

    def __init__(self, inner: Prior) -> None:
        self.inner, self.sde = inner, inner.sde

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        return self.inner.denoise(x.reshape(-1, 1, 3, 3), t).reshape(x.shape)
