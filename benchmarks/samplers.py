"""Every sampler: error against network evaluations, and what the engine costs on top.

    python benchmarks/samplers.py                 # the tables
    python benchmarks/samplers.py --json out.json
    python benchmarks/samplers.py --check         # exit code 1 when a number is missed
    python benchmarks/samplers.py --page docs/samplers.md   # with docs/samplers.png, docs/modes.png
    python benchmarks/samplers.py --from-json out.json --page docs/samplers.md   # no new run

1. On a mixture of three Gaussians, whose score is exact: sliced 2-Wasserstein distance of 50,000
   samples to p_eps, from the exact p_1, on VE, VP and sub-VP. The peer of the fast samplers is
   Euler-Maruyama with 500 evaluations, in the same run.
2. On the shipped prior: how far 8 images are from the probability flow's own, and from their power
   spectrum.
3. The engine's time beyond the network's own. The peer is the network's forward pass, timed inside
   the same run.
4. Fig. 5.3 of Song 2022: mode weights by plain and by annealed Langevin dynamics.

Needs no data. 20 to 30 minutes on 2 cores. The plots need matplotlib (the extra ``bench``).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from number import Number
from samplers_page import page, plots
from torch import Tensor

from medscore.engine.loop import Batch, Job, run
from medscore.priors.analytic import GMMPrior
from medscore.priors.base import Prior
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.counted import Counted
from medscore.priors.network import NetworkPrior
from medscore.samplers import grids
from medscore.samplers.analytic_dpm import AnalyticDPM, Moment, estimate_moments, own_moment
from medscore.samplers.ancestral import AncestralVE, AncestralVP
from medscore.samplers.annealed_langevin import (
    AnnealedLangevin,
    ScaledLangevin,
    by_technique_4,
)
from medscore.samplers.base import Sampler
from medscore.samplers.ddim import DDIM
from medscore.samplers.dpm_solver import DPMSolver1, DPMSolver2, DPMSolver3
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.euler_maruyama import EulerMaruyama
from medscore.samplers.exponential_integrator import ExponentialIntegrator
from medscore.samplers.heun import EDMStochastic, Heun, churn
from medscore.samplers.langevin import Langevin, LangevinCorrector, batch_ratio, own_ratio
from medscore.samplers.ode import solve
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.probability_flow import ProbabilityFlow
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.base import SDE
from medscore.sdes.linear import VE, VP, SubVP
from medscore.white_noise import Noise

SDES: dict[str, SDE] = {"VE": VE(0.05, 10.0), "VP": VP(), "sub-VP": SubVP()}
DRAWS, REPEATS = 50_000, 8
MIXTURE_NFE = (5, 10, 20, 50, 100, 500)
IMAGES, SIZE, SNR = 8, 128, 0.16
WITHIN = 0.43  # root mean variance within the modes of the mixture
IMAGE_NFE = (10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Entry:
    """A sampler for a grid and a prior, the grid, and what a step costs."""

    make: Callable[[Tensor, Prior], Sampler]
    grid: grids.Grid = grids.uniform
    cost: int = 1
    ode: bool = False

    def build(self, steps: int, prior: Prior) -> tuple[Sampler, Tensor]:
        """The sampler and its times."""
        times = self.grid(prior.sde, steps)
        return self.make(times, prior), times


def pc(times: Tensor, prior: Prior) -> Sampler:
    """On the mixture with the batch's norms: on two numbers a sample's own say little."""
    ratio = batch_ratio if isinstance(prior, GMMPrior) else own_ratio
    return PredictorCorrector(ReverseDiffusion(), LangevinCorrector(SNR, len(times) - 1, ratio))


def analytic(times: Tensor, prior: Prior) -> Sampler:
    """On the mixture with moments of its data, for the same reason."""
    return AnalyticDPM(1.0, moments(prior) if isinstance(prior, GMMPrior) else own_moment)


def angular(sde: SDE, steps: int) -> Tensor:
    """The angular grid, its centre the mixture's deviation within a mode; 0.5 is the default."""
    centre = WITHIN if sde in SDES.values() else 0.5
    return grids.angular(sde, steps, centre)


SAMPLERS: dict[str, Entry] = {
    "Euler-Maruyama": Entry(lambda t, p: EulerMaruyama()),
    "reverse diffusion": Entry(lambda t, p: ReverseDiffusion()),
    "ancestral (Eq. 7.4)": Entry(lambda t, p: AncestralVP()),
    "ancestral (Eq. B.33)": Entry(lambda t, p: AncestralVE()),
    "exponential integrator": Entry(lambda t, p: ExponentialIntegrator()),
    "DDIM, eta 1": Entry(lambda t, p: DDIM(1.0), grids.log_snr),
    "Analytic-DPM": Entry(analytic, grids.log_snr),
    "predictor-corrector": Entry(pc, cost=2),
    "annealed Langevin": Entry(lambda t, p: by_technique_4(p.sde, t, 3), grids.log_snr, cost=3),
    "EDM stochastic, churn 10": Entry(
        lambda t, p: EDMStochastic(churn(10.0, len(t) - 1)), grids.karras, cost=2
    ),
    "probability flow": Entry(lambda t, p: ProbabilityFlow(), ode=True),
    "DDIM = DPM-Solver-1": Entry(lambda t, p: DPMSolver1(), grids.log_snr, ode=True),
    "DPM-Solver-2": Entry(lambda t, p: DPMSolver2(), grids.log_snr, 2, True),
    "DPM-Solver-3": Entry(lambda t, p: DPMSolver3(), grids.log_snr, 3, True),
    "Heun, karras grid": Entry(lambda t, p: Heun(), grids.karras, 2, True),
    "Heun, angular grid": Entry(lambda t, p: Heun(), angular, 2, True),
    "DPM-Solver++(2M), log-snr grid": Entry(lambda t, p: DPMSolverPP2M(), grids.log_snr, ode=True),
    "DPM-Solver++(2M), karras grid": Entry(lambda t, p: DPMSolverPP2M(), grids.karras, ode=True),
    "DPM-Solver++(2M), angular grid": Entry(lambda t, p: DPMSolverPP2M(), angular, ode=True),
}
FAST = ("DPM-Solver++(2M), angular grid", "Heun, angular grid")


class Shared(Noise):
    """One generator for a whole batch: the samples of a mixture need not be separable."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator)


def walk(sampler: Sampler, prior: Prior, x: Tensor, grid: Tensor, noise: Noise) -> Tensor:
    """Down the grid."""
    memory, n = sampler.init(x), len(x)
    for t, s in pairwise(grid):
        x, memory = sampler.step(prior, x, t.expand(n), s.expand(n), noise, memory)
    return x


# 1. The mixture


def mixture(sde: SDE) -> GMMPrior:
    """Three overlapping modes of unlike shapes, the one of the conformance tests."""
    means = torch.tensor([[-1.5, 0.5], [1.0, 1.2], [0.5, -1.4]])
    roots = torch.tensor(
        [[[0.4, 0.1], [0.0, 0.3]], [[0.3, -0.2], [0.1, 0.4]], [[0.6, 0.0], [0.2, 0.3]]]
    )
    return GMMPrior(sde, torch.tensor([0.25, 0.35, 0.4]), means, roots @ roots.mT)


def moments(prior: GMMPrior) -> Moment:
    """sigma^2 Gamma of the mixture from 20,000 draws of its data at 200 times."""
    clean = GMMPrior(VP(), prior.weights, prior.means, prior.covariances)
    data = clean.sample(20_000, 0.0, torch.Generator().manual_seed(0))
    times = [float(t) for t in grids.log_snr(prior.sde, 200)]
    return estimate_moments(prior, data, times, Shared(1))


class Distance:
    """Sliced 2-Wasserstein distance to p_eps, over 32 directions; its quantiles from 16 times as
    many exact draws.
    """

    def __init__(self, prior: GMMPrior) -> None:
        angles = torch.linspace(0, torch.pi, 33)[:-1]
        self.directions = torch.stack([angles.cos(), angles.sin()])
        draws = [exact(prior, prior.sde.eps, seed) for seed in range(1000, 1016)]
        self.quantiles = (torch.cat(draws) @ self.directions).sort(0).values[7::16]

    def __call__(self, x: Tensor) -> float:
        ordered = (x @ self.directions).sort(0).values
        return float((ordered - self.quantiles).square().mean().sqrt())


def exact(prior: GMMPrior, t: float, seed: int) -> Tensor:
    """50,000 exact draws from p_t."""
    return prior.sample(DRAWS, t, torch.Generator().manual_seed(seed))


def mixture_errors() -> dict[str, dict[str, dict[str, float]]]:
    """SDE -> sampler -> NFE -> distance; "exact draws" is what sampling alone gives."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for label, sde in SDES.items():
        prior = mixture(sde)
        distance, start = Distance(prior), exact(prior, 1.0, 0)
        rows: dict[str, dict[str, float]] = {}
        for name, entry in SAMPLERS.items():
            rows[name] = {}
            for nfe in MIXTURE_NFE:
                if (steps := nfe // entry.cost) >= 2:
                    sampler, times = entry.build(steps, prior)
                    x = walk(sampler, prior, start, times, Shared(1))
                    rows[name][str(nfe)] = distance(x)
            print(label, name, {k: round(v, 4) for k, v in rows[name].items()}, flush=True)
        floor = [distance(exact(prior, sde.eps, seed)) for seed in range(20, 36)]
        rows["exact draws"] = {"": rms(floor)}
        table[label] = rows
    return table


def rms(values: list[float]) -> float:
    """Root mean square."""
    return math.sqrt(sum(v * v for v in values) / len(values))


def standard_error(values: list[float]) -> float:
    """Of the mean."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def fast_numbers(label: str, sde: SDE) -> list[Number]:
    """20 evaluations of the fast samplers against 500 of Euler-Maruyama, 8 independent runs each.

    With 50,000 samples Euler-Maruyama's 500 steps cannot be told from exact draws; so what is to be
    reached is the larger of its error and that of exact draws, within two standard errors.
    """
    prior = mixture(sde)
    distance = Distance(prior)
    starts = [exact(prior, 1.0, 100 + k) for k in range(REPEATS)]

    def errors(name: str, nfe: int) -> list[float]:
        sampler, times = SAMPLERS[name].build(nfe // SAMPLERS[name].cost, prior)
        return [distance(walk(sampler, prior, x, times, Shared(k))) for k, x in enumerate(starts)]

    slow = errors("Euler-Maruyama", 500)
    floor = [distance(exact(prior, sde.eps, 200 + k)) for k in range(2 * REPEATS)]
    fast = {name: errors(name, 20) for name in FAST}
    best = min(fast.values(), key=rms)
    reached = max((slow, floor), key=rms)
    slack = math.hypot(standard_error(best), standard_error(reached))
    numbers = [
        Number(f"{label}: Euler-Maruyama, 500 evaluations, sliced W2", rms(slow)),
        Number(f"{label}: exact draws, sliced W2", rms(floor)),
        *(Number(f"{label}: {name}, 20 evaluations, sliced W2", rms(fast[name])) for name in fast),
        Number(
            f"{label}: best of them less Euler-Maruyama's or exact draws', in standard errors",
            (rms(best) - rms(reached)) / slack,
            at_most=2.0,
        ),
    ]
    for number in numbers:
        print(number, flush=True)
    return numbers


# 2. The shipped prior


def spectrum(x: Tensor) -> Tensor:
    """Log power of images (n, 1, H, W) in dB, mean over images, in 32 rings of frequency."""
    power = torch.fft.fft2(x[:, 0].double(), norm="ortho").abs().square().mean(0)
    axis = torch.fft.fftfreq(x.shape[-1])
    ring = (torch.hypot(axis[:, None], axis[None]) * 64).long().clamp_max(31).flatten()
    total = torch.zeros(32, dtype=torch.float64).index_add_(0, ring, power.flatten())
    return 10 * torch.log10(total / torch.bincount(ring, minlength=32))


def image_errors() -> dict[str, Any]:
    """On the shipped prior: sampler -> NFE -> distance to the flow's own images and spectrum."""
    prior = load_prior(prior_path("ct-128"))
    sde, noise = prior.sde, Noise(range(IMAGES))
    start = sde.prior_sample(noise(torch.zeros(IMAGES, 1, SIZE, SIZE)))
    eps = torch.full((IMAGES,), sde.eps)
    found: dict[str, Any] = {"rms": {}, "spectrum": {}}
    with torch.no_grad():
        flow = prior.denoise(walk(DPMSolver3(), prior, start, grids.log_snr(sde, 100), noise), eps)
        half_as_fine = prior.denoise(
            walk(DPMSolver3(), prior, start, grids.log_snr(sde, 50), noise), eps
        )
        found["reference"] = float((half_as_fine - flow).square().mean().sqrt())
        found["adaptive"] = {}
        for tolerance in (1e-3, 1e-4, 1e-5):
            counted = Counted(prior)
            x = solve(counted, start, 1.0, sde.eps, rtol=tolerance, atol=tolerance)
            gap = float((prior.denoise(x, eps) - flow).square().mean().sqrt())
            found["adaptive"][f"{tolerance:g}"] = {"nfe": counted.nfe, "rms": gap}
        print(found["reference"], found["adaptive"], flush=True)
        target, half = spectrum(flow), IMAGES // 2
        apart = spectrum(flow[:half]) - spectrum(flow[half:])
        found["halves"] = float(apart.square().mean().sqrt())
        for name, entry in SAMPLERS.items():
            found["spectrum"][name] = {}
            for nfe in IMAGE_NFE[: 4 if entry.ode else None]:
                sampler, times = entry.build(nfe // entry.cost, prior)
                x = walk(sampler, prior, start, times, Noise(range(9, 9 + IMAGES)))
                x = prior.denoise(x, eps)
                if entry.ode:
                    gap = float((x - flow).square().mean().sqrt())
                    found["rms"].setdefault(name, {})[str(nfe)] = gap
                off = float((spectrum(x) - target).square().mean().sqrt())
                found["spectrum"][name][str(nfe)] = off
            print(name, found["rms"].get(name, ""), found["spectrum"][name], flush=True)
    return found


# 3. The engine


class Timed(torch.nn.Module):
    """A network that adds up the time of its own calls."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.seconds, self.calls = inner, 0.0, 0

    def forward(self, x: Tensor, log_s: Tensor) -> Tensor:
        begin = time.perf_counter()
        out: Tensor = self.inner(x, log_s)
        self.seconds, self.calls = self.seconds + time.perf_counter() - begin, self.calls + 1
        return out


def overhead_numbers() -> list[Number]:
    """Wall time of the engine over the time of the U-Net's calls, 8 images of 128 x 128."""
    prior = load_prior(prior_path("ct-128"))
    network = Timed(prior.network)
    timed = NetworkPrior(
        network, prior.sde, preconditioning=prior.preconditioning, data_mean=prior.data_mean
    ).eval()
    numbers = []
    for name, entry in SAMPLERS.items():
        sampler, times = entry.build(max(4, 18 // entry.cost), timed)
        job = Job(
            seeds=range(IMAGES),
            shape=(1, SIZE, SIZE),
            times=times,
            batches=lambda items, sampler=sampler: Batch(timed, sampler),
        )
        with torch.no_grad():
            network(torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1))
        network.seconds = 0.0
        begin = time.perf_counter()
        run(job)
        total = time.perf_counter() - begin
        share = 100 * (total / network.seconds - 1)
        numbers.append(Number(f"engine beyond the network's time, {name}", share, "%", at_most=3.0))
        print(numbers[-1], flush=True)
    return numbers


# 4. Fig. 5.3


def modes() -> dict[str, Any]:
    """1280 samples of 1/5 N((-5,-5), I) + 4/5 N((5,5), I), exact, plain and annealed."""
    sde = VE(0.1, 10.0, eps=0.0)
    means = torch.tensor([[-5.0, -5.0], [5.0, 5.0]])
    prior = GMMPrior(sde, torch.tensor([0.2, 0.8]), means, torch.eye(2).repeat(2, 1, 1))
    n, generator = 1280, torch.Generator().manual_seed(0)
    start = 16 * torch.rand(n, 2, generator=generator) - 8
    levels = [10.0 * 0.01 ** (i / 9) for i in range(10)]
    annealing = AnnealedLangevin(ScaledLangevin(0.05), 100)
    points = {
        "exact": prior.sample(n, 0.0, generator),
        "Langevin, T = 1000": walk(Langevin(0.05), prior, start, torch.zeros(1001), Shared(1)),
        "annealed, 10 levels of 100": walk(
            annealing, prior, start, grids.ladder(sde, levels), Shared(2)
        ),
    }
    return {
        name: {
            "weight": float((x.sum(1) > 0).float().mean()),
            "points": [[round(v, 2) for v in p] for p in x.tolist()],
        }
        for name, x in points.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write everything found here")
    parser.add_argument("--page", type=Path, help="write it here as a Markdown page with plots")
    parser.add_argument("--from-json", type=Path, help="what an earlier run found, not a new one")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    args = parser.parse_args()
    if args.from_json:
        found = json.loads(args.from_json.read_text())
        numbers = [Number(**{k: v for k, v in n.items() if k != "met"}) for n in found["numbers"]]
    else:
        overhead = overhead_numbers()
        fast = [number for label, sde in SDES.items() for number in fast_numbers(label, sde)]
        found = {
            "sdes": {name: repr(sde) for name, sde in SDES.items()},
            "odes": [name for name, entry in SAMPLERS.items() if entry.ode],
            "draws": DRAWS,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
            f"Python {platform.python_version()}, torch {torch.__version__}.",
            "mixture": mixture_errors(),
            "modes": modes(),
            "images": image_errors(),
        }
        numbers = fast + overhead
        found["numbers"] = [{**asdict(n), "met": n.met} for n in numbers]
    for number in numbers:
        print(number)
    if args.json:
        args.json.write_text(json.dumps(found) + "\n")
    if args.page:
        args.page.write_text(page(found, numbers))
        plots(found, args.page.parent)
    return 1 if args.check and not all(n.met for n in numbers) else 0


if __name__ == "__main__":
    sys.exit(main())
