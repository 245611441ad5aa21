"""Mutation tests: the proofs fail for each of a list of planted defects.

A mutant changes a line of the package's source. The module is compiled with the change, and its
functions and methods replace the original ones; then its proof has to fail. Only failed assertions
count, because a mutant that cannot run proves nothing. Unchanged modules pass through the same
procedure and have to pass their proofs.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import conditioning
import proofs
import pytest
import torch
from exact import SDES

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.priors.analytic import GaussianPrior
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.grids import uniform
from medscore.sdes.linear import VE, VP

pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Mutant:
    """A defect: ``old`` in the source of ``module`` becomes ``new``, and ``proof`` has to fail."""

    module: str
    old: str
    new: str
    proof: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.module.removeprefix('medscore.')}: {self.old} -> {self.new}"


def one_step(*names: str) -> Callable[[], None]:
    """The formulas of one step, on every SDE."""

    def check() -> None:
        for name in names:
            for sde in SDES:
                proofs.one_step(name, sde)

    return check


def order(name: str) -> Callable[[], None]:
    """The order of convergence on VP, which needs no formula of the step."""
    return lambda: proofs.order(name, SDES[1])


def on_each(proof: Callable[..., None]) -> Callable[[], None]:
    """A proof on every SDE."""

    def check() -> None:
        for sde in SDES:
            proof(sde)

    return check


def last_step() -> None:
    """The engine ends with E[x_0 | x] after the final denoising, else with the last state.

    For a single data point at 0.3, E[x_0 | x] is 0.3 for all noise.
    """
    for sde in (VE(0.05, 10.0), VP()):
        prior = GaussianPrior(sde, torch.full((2,), 0.3), torch.zeros(2, 2))
        job = Job(
            seeds=range(4),
            shape=(2,),
            times=uniform(sde, 20),
            batches=lambda items, prior=prior: Batch(prior, EulerMaruyama()),
        )
        x = run(job).x
        assert float((x - 0.3).abs().max()) < 1e-6
        raw = run(replace(job, denoise=False)).x
        assert float((raw - 0.3).abs().max()) > 1e-4


def rule(*names: str) -> Callable[[], None]:
    """A conditioner's step is that of its source, on VP, where neither alpha nor sigma is 1."""

    def check() -> None:
        for name in names:
            conditioning.step_is_the_rule(name, SDES[1])

    return check


S = "medscore.samplers."
C = "medscore.conditioners."
MUTANTS = [
    # factor 2
    Mutant("medscore.sdes.linear", "return -0.5 * self.beta(t)", "return -self.beta(t)",
           one_step("euler-maruyama")),
    Mutant("medscore.sdes.linear", "return -0.5 * self.beta(t)", "return -self.beta(t)",
           order("euler-maruyama")),
    Mutant(S + "probability_flow", "0.5 * b**2", "b**2", order("probability flow")),
    Mutant(S + "ode", "0.5 * g**2", "g**2", on_each(proofs.adaptive_flow)),
    Mutant(S + "langevin", "torch.sqrt(2 * epsilon)", "torch.sqrt(epsilon)",
           on_each(proofs.stationary_langevin)),
    Mutant(S + "annealed_langevin", "alpha, noise(x))", "alpha, 0.5**0.5 * noise(x))",
           on_each(proofs.annealed_langevin)),
    Mutant(S + "annealed_langevin", "prior.sde.alpha(s) / prior.sde.alpha(t)",
           "prior.sde.alpha(t) / prior.sde.alpha(s)", on_each(proofs.annealed_langevin)),
    Mutant(S + "langevin", "epsilon = 2 * alpha", "epsilon = alpha",
           one_step("langevin corrector")),
    Mutant(S + "ozaki", "expand(epsilon, h), growth", "0.5 * expand(epsilon, h), growth",
           one_step("ozaki")),
    Mutant(S + "ozaki", "torch.sqrt(rise(h, 2", "(rise(h, 2",
           on_each(proofs.stationary_ozaki)),
    Mutant("medscore.uncertainty.second_order", "share = alpha**2 / sigma**2",
           "share = alpha / sigma**2", one_step("ozaki, diagonal")),
    # wrong sign
    Mutant(S + "euler_maruyama", "f * x - g**2", "f * x + g**2", order("euler-maruyama")),
    Mutant(S + "reverse_diffusion", "(2 - a) * x + b**2", "(2 - a) * x - b**2",
           order("reverse diffusion")),
    Mutant(S + "dpm_solver", "- expand(sde.sigma(s) * gain, x)", "+ expand(sde.sigma(s) * gain, x)",
           order("dpm-solver-1")),
    Mutant(S + "heun", "(u - prior.denoise(x, t)) / v", "(prior.denoise(x, t) - u) / v",
           order("heun")),
    Mutant("medscore.sdes.linear", "return torch.exp(self.log_alpha(t))",
           "return torch.exp(-self.log_alpha(t))", one_step("ddim, eta 0")),
    # g for g^2, and the like
    Mutant(S + "euler_maruyama", "g**2 * prior.score", "g * prior.score", order("euler-maruyama")),
    Mutant(S + "reverse_diffusion", "b**2 * prior.score", "b * prior.score",
           order("reverse diffusion")),
    Mutant(S + "ancestral", "expand(b**2, x)", "expand(b, x)", order("ancestral, VP")),
    Mutant("medscore.priors.base", "- x) / sigma**2", "- x) / sigma",
           on_each(proofs.score_from_denoiser)),
    Mutant("medscore.priors.base", "(alpha * denoised - x)", "(denoised - x)",
           on_each(proofs.score_from_denoiser)),
    Mutant("medscore.sdes.base", "self.sigma(t) ** 2 - (a * self.sigma(s)) ** 2",
           "self.sigma(t) ** 2 - a * self.sigma(s) ** 2", order("reverse diffusion")),
    # missing square root
    Mutant(S + "euler_maruyama", "g * torch.sqrt(dt) * noise", "g * dt * noise",
           order("euler-maruyama")),
    Mutant("medscore.sdes.base", "return a, torch.sqrt(variance.clamp_min(0))",
           "return a, variance.clamp_min(0)", order("ancestral, VP")),
    Mutant("medscore.sdes.linear", "return torch.sqrt(self.beta(t))\n", "return self.beta(t)\n",
           one_step("euler-maruyama")),
    Mutant("medscore.sdes.linear", "return torch.sqrt(-torch.expm1(2 * self.log_alpha(t)))",
           "return -torch.expm1(2 * self.log_alpha(t))", one_step("ddim, eta 0.7")),
    Mutant(S + "analytic_dpm", "torch.sqrt(optimal)", "optimal", one_step("analytic-dpm, eta 0.7")),
    Mutant(S + "ddim", "rest = torch.sqrt((sigma_s**2 - std**2).clamp_min(0))",
           "rest = (sigma_s**2 - std**2).clamp_min(0)", order("ddim, eta 0.5")),
    # time off by one
    Mutant(S + "euler_maruyama", "prior.score(x, t)", "prior.score(x, s)",
           one_step("euler-maruyama")),
    Mutant(S + "reverse_diffusion", "transition(s, t)", "transition(t, t)",
           order("reverse diffusion")),
    Mutant(S + "ddim", "sde.alpha(s), x) * denoised", "sde.alpha(t), x) * denoised",
           order("ddim, eta 0")),
    Mutant(S + "heun", "prior.denoise(alpha_s * ahead, s)", "prior.denoise(alpha_s * ahead, t)",
           order("heun")),
    Mutant(S + "langevin", "langevin_update(x, prior.score(x, s), epsilon",
           "langevin_update(x, prior.score(x, 2 * s), epsilon",
           on_each(proofs.stationary_langevin)),
    Mutant(S + "predictor_corrector", "self.corrector.step(prior, x, s, s,",
           "self.corrector.step(prior, x, t, t,", on_each(proofs.corrector_order)),
    # sigma for sigma^2
    Mutant(S + "annealed_langevin", "self.relative * prior.sde.sigma(s) ** 2",
           "self.relative * prior.sde.sigma(s)", one_step("scaled langevin")),
    Mutant(S + "ancestral", "b * prior.sde.sigma(s) / prior.sde.sigma(t)", "b",
           one_step("ancestral, VE")),
    Mutant(S + "analytic_dpm", "sde.sigma(t) ** 2 * score", "sde.sigma(t) * score",
           proofs.own_moment),
    Mutant(S + "analytic_dpm", "left.clamp(0, 1)", "left", proofs.analytic_bounds),
    Mutant(S + "analytic_dpm", "self.moment(t, -direction", "self.moment(t, -7 * direction",
           one_step("analytic-dpm, own moment")),
    Mutant(S + "analytic_dpm", "prior.sde.marginal(x0, t, noise(x0))",
           "prior.sde.marginal(x0, t, 2 * noise(x0))", proofs.estimated_moments),
    Mutant(S + "heun", "(v >= self.low) & ", "", one_step("edm stochastic, below low")),
    Mutant(S + "heun", "(v <= self.high) & ", "", one_step("edm stochastic, above high")),
    Mutant(S + "heun", "torch.minimum(sde.time((1 + self.gamma) * v), torch.ones_like(t))",
           "sde.time((1 + self.gamma) * v)", proofs.noise_is_not_raised_beyond_the_sdes_own),
    # higher orders lost
    Mutant(S + "dpm_solver", "_epsilon(prior, u, middle)), memory",
           "_epsilon(prior, x, t)), memory", order("dpm-solver-2")),
    Mutant(S + "dpm_solver", "bend = (torch.expm1(h) / h - 1) / r2",
           "bend = (torch.expm1(h) / h - 1) / r1", order("dpm-solver-3")),
    Mutant(S + "dpm_solver", "r2 / r1 * (torch.expm1(r2 * h)", "(torch.expm1(r2 * h)",
           order("dpm-solver-3")),
    Mutant(S + "dpm_solver_pp", "0.5 * h / (now", "h / (now", order("dpm-solver++ (2M)")),
    Mutant(S + "dpm_solver_pp", "if memory:", "if not memory and memory:",
           order("dpm-solver++ (2M)")),
    Mutant(S + "heun", "0.5 * (slope + end)", "slope", order("heun")),
    Mutant(S + "exponential_integrator", "gain * prior.score", "b**2 * prior.score",
           one_step("exponential integrator")),
    Mutant("medscore.sdes.linear", "2 / 3 * cube", "2 * cube", one_step("exponential integrator")),
    # noise
    Mutant(S + "exponential_integrator", "b / a * noise", "b * noise",
           one_step("exponential integrator")),
    Mutant(S + "heun", "self.inflate * b * noise", "self.inflate * noise", order("edm stochastic")),
    Mutant(S + "heun", "_heun(prior, x, above, s), memory", "_heun(prior, x, t, s), memory",
           order("edm stochastic")),
    Mutant(S + "ddim", "x + expand(std, x) * noise(x) if self.eta", "x if self.eta",
           order("ddim, eta 1")),
    Mutant("medscore.engine.walk", "self.batch.finish(x)",
           "self.batch.finish(x + 0.1 * torch.randn_like(x))", last_step),
    Mutant("medscore.engine.walk", "x = self.prior.denoise(x, self.grid[-1]",
           "x = x + 0 * self.prior.denoise(x, self.grid[-1]", last_step),
    # conditioners
    Mutant(C + "proximal", "expand(alpha, self.y) * self.y + expand(sigma, z) * z",
           "self.y + expand(sigma, z) * z", rule("proximal")),
    Mutant(C + "proximal", "z = self.operator.forward(noise(x))",
           "z = self.operator.mask(self.y) * noise(self.y)", rule("proximal")),
    Mutant(C + "base", "self.change(prior, x, s, noise), memory",
           "self.change(prior, x, t, noise), memory", rule("replacement")),
    Mutant(C + "base", "self.change(prior, x, t, noise), t, s",
           "self.change(prior, x, s, noise), t, s", rule("proximal")),
    Mutant(C + "score_sde", "(self.size * sigma**2)", "(self.size * sigma)", rule("score-sde")),
    Mutant(C + "score_sde", "+ expand(sigma, az) * az", "", rule("score-sde")),
    Mutant(C + "jalal", "x / expand(alpha, x)) - self.y", "x) - self.y", rule("jalal")),
    Mutant(C + "jalal", "+ self.noise_std**2)", "+ self.noise_std)", rule("jalal")),
    Mutant(C + "jalal", "norm(alpha * denoised - x)", "norm(denoised - x)",
           rule("jalal, normalised")),
    Mutant(C + "dps", "expand(2 * self.zeta", "expand(self.zeta", rule("dps")),
    Mutant(C + "dps", "self.size.sqrt() * norm(gap)", "norm(gap)", rule("dps")),
    Mutant(C + "dps", "x_s + self.descent(leaf, denoised)",
           "x_s - self.descent(leaf, denoised)", rule("dps")),
    Mutant(C + "base", "self.change(prior, x, s, noise), memory",
           "self.change(prior, x, t, noise), memory", rule("mcg")),
    Mutant(C + "pigdm", "self.noise_std**2 / r2", "self.noise_std / r2", rule("pigdm")),
    Mutant(C + "pigdm", "(self.sde.alpha(t) * r2)", "r2", rule("pigdm")),
    Mutant(C + "pigdm", "ratio2 * c.variance / (ratio2 + c.variance)", "ratio2", rule("pigdm")),
    Mutant(C + "moment_matching", "self.sde.sigma(t) ** 2 / self.sde.alpha(t)",
           "self.sde.sigma(t) ** 2", rule("moment matching")),
    Mutant(C + "moment_matching", "lambda u: covariance(a.adjoint(u)),", "a.adjoint,",
           rule("moment matching")),
    Mutant(C + "moment_matching", "            c.variance,\n", "            0 * c.variance,\n",
           rule("moment matching")),
    Mutant(C + "moment_matching", "wider.product, c.inverse",
           "lambda v: 2 * wider.product(v), c.inverse", rule("moment matching, known covariance")),
    Mutant(C + "base", "self.sde.sigma(t) ** 2 / self.sde.alpha(t)", "self.sde.sigma(t) ** 2",
           rule("score-sde")),
    Mutant(C + "guidance", "return -self.weight * gradient", "return self.weight * gradient",
           lambda: conditioning.exact_guidance(SDES[1])),
    Mutant(C + "ddnm", "trust = prior.sde.ratio(t)", "trust = prior.sde.sigma(t)", rule("ddnm")),
    Mutant(C + "ddnm", "torch.clamp_max(trust, 1.0)", "trust", rule("ddnm")),
    Mutant(C + "dds", "expand(prior.sde.alpha(s), x_s) * change", "change", rule("dds")),
    Mutant(C + "dds", "self.size / gamma", "self.size * gamma", rule("dds, gamma 5")),
    Mutant(C + "diffpir", "self.trust * self.noise_std**2 / ratio**2",
           "self.trust * self.noise_std**2 / ratio", rule("diffpir")),
    Mutant(C + "diffpir", "(1 - self.zeta) ** 0.5 * (x_s - clean)",
           "(1 - self.zeta) * (x_s - clean)", rule("diffpir, zeta 0.3")),
    Mutant(C + "diffpir", "self.zeta**0.5 * expand", "self.zeta * expand",
           rule("diffpir, zeta 0.3")),
    Mutant(C + "ddrm", "level**2 - (std * self.eta_b) ** 2", "level**2 - std**2", rule("ddrm")),
    Mutant(C + "ddrm", "(1 - self.eta_b) * d", "d", rule("ddrm")),
    Mutant(C + "ddrm", "torch.where(level < std, late, early)", "early", rule("ddrm")),
    Mutant(C + "daps", "expand(r2.sqrt(), ahead)", "expand(r2, ahead)", rule("daps")),
    Mutant(C + "daps", "y = self.y + self.noise_std * _white(self.y, noise)", "y = self.y",
           rule("daps")),
    Mutant(C + "discrepancy", "expected = alpha * self.noise_std", "expected = self.noise_std",
           rule("discrepancy")),
    Mutant(C + "discrepancy", "torch.clamp_max(expected / gap.clamp_min(1e-30), 1.0)",
           "expected / gap.clamp_min(1e-30)", rule("discrepancy")),
    # the oracle itself
    Mutant("medscore.priors.analytic", "variance = alpha**2 * self.values + sigma**2",
           "variance = alpha * self.values + sigma**2", order("reverse diffusion")),
    Mutant("medscore.priors.analytic", "gain = alpha * self.values", "gain = self.values",
           on_each(proofs.score_from_denoiser)),
]  # fmt: skip


def plant(source: str, module: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    """Replace the functions of ``module`` and of its classes by those compiled from ``source``."""
    changed = types.ModuleType("mutant")
    patch.setitem(sys.modules, "mutant", changed)
    exec(compile(source, f"{module.__name__} (mutant)", "exec"), changed.__dict__)
    for name, new in list(changed.__dict__.items()):
        old = getattr(module, name, None)
        if getattr(new, "__module__", None) != "mutant":
            continue
        if isinstance(new, type):
            for attribute, value in vars(new).items():
                code = getattr(value, "__code__", plant.__code__)
                of_its_own = "__class__" in code.co_freevars  # super() knows its own class alone
                kind = isinstance(value, types.FunctionType | property)
                if kind and attribute in vars(old) and not of_its_own:
                    patch.setattr(old, attribute, value)
        elif isinstance(new, types.FunctionType):
            patch.setattr(module, name, new)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_planted_defect_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(mutant.module)
    source = Path(inspect.getfile(module)).read_text()
    assert source.count(mutant.old) >= 1, "the line to change is gone: adapt the mutant"
    plant(source.replace(mutant.old, mutant.new), module, monkeypatch)
    with pytest.raises(AssertionError):
        mutant.proof()


@pytest.mark.parametrize("name", sorted({mutant.module for mutant in MUTANTS}))
def test_an_unchanged_module_passes_its_proofs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    plant(Path(inspect.getfile(module)).read_text(), module, monkeypatch)
    for proof in {mutant.proof for mutant in MUTANTS if mutant.module == name}:
        proof()


def test_every_sampler_file_has_a_mutant() -> None:
    folder = Path(inspect.getfile(EulerMaruyama)).parent
    files = {f"{S}{path.stem}" for path in folder.glob("*.py")}
    rules = files - {S + name for name in ("__init__", "base", "grids")}
    assert rules <= {mutant.module for mutant in MUTANTS}
