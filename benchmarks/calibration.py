"""Calibration of the conditioners: their samples against posteriors that are known exactly.

    python benchmarks/calibration.py --json benchmarks/conditioners/calibration.json

Two priors of 8 x 8 images on the VE SDE: a Gaussian with smooth covariance, and a mixture of two
such Gaussians. Half of the k-space lines of a real image are measured, without noise and with noise
of standard deviation 0.1. For each of 12 images drawn from the prior every method draws 200 samples
in 100 steps. The results are

- bias: root mean square error of the samples' mean, relative to the posterior standard deviation;
- spread: root mean square standard deviation of the samples relative to that of the posterior;
- coverage: share of exact posterior draws inside the central 90 % of the samples, pixel by pixel;
  exact sampling with 200 samples gives 89 %.

Noise-free measurements fix a part of the image; the results are then those of the rest. The row
``auto`` is the default with the exact covariance of x_0 given x_t in place of a learned one: 49
steps, and nothing to inflate. Takes minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.errors import MedscoreError
from medscore.operators.mri.hartley import Hartley, kspace_mask
from medscore.operators.mri.masks import equispaced, mirrored
from medscore.priors.analytic import GMMPrior
from medscore.registry import methods as registry
from medscore.registry.build import build_conditioner, build_sampler
from medscore.registry.settings import (
    AUTO,
    DEFAULTS,
    POSTERIOR,
    POSTERIOR_PARAMETERS,
    split_parameters,
)
from medscore.samplers import grids
from medscore.sdes.linear import VE

SIDE, IMAGES, DRAWS, STEPS = 8, 12, 200, 100
SDE = VE(0.01, 5.0)
NOISES = (0.0, 0.1)
"""Standard deviations of the measurement noise."""


@dataclass(frozen=True)
class Calibration:
    """The results of a method on a problem.

    Attributes:
        method: name of the conditioner.
        prior: name of the prior.
        noise: standard deviation of the measurement noise.
        bias: see the module.
        spread: see the module.
        coverage: see the module.
    """

    method: str
    prior: str
    noise: float
    bias: float
    spread: float
    coverage: float


def gaussian() -> GMMPrior:
    """A Gaussian prior with smooth covariance."""
    return GMMPrior(SDE, torch.ones(1), torch.full((1, SIDE**2), 0.5), 0.1 * _smooth(1.5)[None])


def mixture() -> GMMPrior:
    """An equal mixture of two Gaussians with opposite brightness gradients."""
    means = torch.stack([torch.linspace(0, 1.2, SIDE**2), torch.linspace(1.2, 0, SIDE**2)])
    shapes = torch.stack([0.05 * _smooth(1.5), 0.1 * _smooth(1.0)])
    return GMMPrior(SDE, torch.ones(2), means, shapes)


PRIORS: dict[str, Callable[[], GMMPrior]] = {"Gaussian": gaussian, "mixture": mixture}


def _smooth(width: float) -> Tensor:
    place = torch.arange(SIDE).float()
    near = torch.exp(-0.5 * ((place[:, None] - place) / width) ** 2)
    return torch.kron(near, near) + 0.01 * torch.eye(SIDE**2)


def methods() -> dict[str, tuple[str, str, grids.Grid]]:
    """Conditioner, sampler and time grid of each row.

    Ancestral sampling, unless a method has its own sampler.
    """
    rows: dict[str, tuple[str, str, grids.Grid]]
    rows = {name: (name, "ancestral-ve", grids.log_snr) for name in registry.CONDITIONERS}
    rows["jalal"] = ("jalal", "annealed-langevin", grids.log_snr)
    rows["jalal-normalised"] = ("jalal-normalised", "annealed-langevin", grids.log_snr)
    rows["proximal"] = ("proximal", "pc", grids.uniform)
    rows["discrepancy"] = ("discrepancy", "pc", grids.uniform)
    rows["score-sde"] = ("score-sde", "pc", grids.uniform)
    rows["diffpir"] = ("diffpir", "ddim", grids.log_snr)
    rows[AUTO] = (POSTERIOR, DEFAULTS.sampler, registry.GRIDS[DEFAULTS.grid])
    return rows


def parameters(name: str) -> dict[str, dict[str, Any]]:
    """The parameters of a row's sampler and conditioner.

    Args:
        name: a row of :func:`methods`.
    """
    given = {**POSTERIOR_PARAMETERS, "conditioner.inflation": 1.0} if name == AUTO else {}
    return split_parameters(given)


def drawn(
    name: str, kind: str, std: float, images: int, draws: int
) -> tuple[GMMPrior, Hartley, Tensor, Tensor, Tensor] | None:
    """Draw images from a prior, measure them, and sample each by a method.

    Args:
        name: a row of :func:`methods`.
        kind: a name of ``PRIORS``.
        std: standard deviation of the measurement noise.
        images: number of images.
        draws: number of samples of each.

    Returns:
        The prior, the operator, the images, the measurements, and the samples (images, draws, D);
        ``None`` if the method diverged or does not apply.
    """
    prior, operator = PRIORS[kind](), Hartley(kspace_mask(mirrored(equispaced((SIDE, SIDE), 2.0))))
    truth = prior.sample(images, 0.0, torch.Generator().manual_seed(1)).reshape(-1, 1, SIDE, SIDE)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
    y = operator.forward(truth)
    y = y + std * operator.mask(y) * noise
    conditioner, sampler, grid = methods()[name]
    own, steps = parameters(name), DEFAULTS.steps if name == AUTO else STEPS
    make, times = build_conditioner(conditioner, own["conditioner"]), grid(SDE, steps)
    rows = y.repeat_interleave(draws, 0)
    job = Job(
        seeds=range(images * draws),
        shape=(1, SIDE, SIDE),
        times=times,
        batches=lambda items: Batch(
            prior,
            build_sampler(sampler, own["sampler"]),
            make(operator, rows[list(items)], std),
        ),
        batch_size=images * draws,
    )
    try:
        found = run(job).x.reshape(images, draws, SIDE**2)
    except MedscoreError as error:
        print(f"{name}, {kind}, noise {std:g}: {error}", flush=True)
        return None
    return prior, operator, truth, y, found


def measure(name: str, kind: str, std: float) -> Calibration | None:
    """Sample all images of a problem and compare with the exact posterior.

    Args:
        name: a row of :func:`methods`.
        kind: a name of ``PRIORS``.
        std: standard deviation of the measurement noise.

    Returns:
        The results; ``None`` if the method diverged or does not apply.
    """
    problem = drawn(name, kind, std, IMAGES, DRAWS)
    if problem is None:
        return None
    prior, operator, _, y, found = problem
    taken, matrix = coordinates(operator, y)
    known, free = matrix[taken].double(), matrix[~taken]
    exact = GMMPrior(SDE, *(v.double() for v in (prior.weights, prior.means, prior.covariances)))
    bias, spread, covered = [], [], []
    for i in range(IMAGES):
        posterior = exact.posterior(known, y[i].reshape(-1)[taken].double(), max(std, 1e-3))
        draws = posterior.sample(4000, 0.0, torch.Generator().manual_seed(3)).float()
        # without noise, only the coordinates that the measurements leave free
        theirs, ours = (draws @ free.T, found[i] @ free.T) if std == 0 else (draws, found[i])
        scale = theirs.var(0).mean().sqrt()
        bias.append((ours.mean(0) - theirs.mean(0)).square().mean().sqrt() / scale)
        spread.append(ours.var(0).mean().sqrt() / scale)
        low, high = torch.quantile(ours, torch.tensor([0.05, 0.95]), dim=0)
        covered.append(((theirs > low) & (theirs < high)).float().mean())
    numbers = (float(torch.stack(v).mean()) for v in (bias, spread, covered))
    return Calibration(name, kind, std, *numbers)


def coordinates(operator: Hartley, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each coefficient of an image is measured, (D,), and the matrix of all, (D, D).

    Args:
        operator: the operator.
        y: measurements.
    """
    taken = operator.mask(y).reshape(-1).bool().expand(SIDE**2)
    basis = operator.T(torch.eye(SIDE**2).reshape(-1, 1, SIDE, SIDE)).reshape(SIDE**2, SIDE**2)
    return taken, basis.T


def measure_all(description: str, measure: Callable[[str, str, float], Any]) -> int:
    """The command line of a benchmark that measures every method on every problem.

    Args:
        description: what the command does.
        measure: measures a row of :func:`methods` with a prior and a noise standard deviation, as
            a dataclass with ``method``; None if the method diverged or does not apply.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="add the results to this file")
    parser.add_argument("--only", nargs="*", help="names of methods; all by default")
    args = parser.parse_args()
    order = list(methods())
    for name in args.only or order:
        found = []
        for kind in PRIORS:
            for std in NOISES:
                one = None if name == "discrepancy" and std == 0 else measure(name, kind, std)
                if one is not None:
                    found.append(asdict(one))
                    print(one, flush=True)
        if args.json:
            earlier = json.loads(args.json.read_text()) if args.json.exists() else []
            kept = [f for f in earlier if f["method"] != name] + found
            kept.sort(key=lambda f: order.index(f["method"]))
            args.json.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(measure_all(__doc__.splitlines()[0], measure))
