"""Sampling error on the shipped CT prior, and the overhead of the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from number import Number
from sampler_entries import SAMPLERS, walk
from torch import Tensor

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.counted import Counted
from medscore.priors.network import NetworkPrior
from medscore.samplers import grids
from medscore.samplers.dpm_solver import DPMSolver3
from medscore.samplers.ode import solve
from medscore.white_noise import Noise

IMAGES, SIZE = 8, 128
IMAGE_NFE = (10, 20, 50, 100, 200)
"""Budgets of network evaluations; samplers of the probability flow leave out the last."""


def spectrum(x: Tensor) -> Tensor:
    """Log power spectrum in dB, averaged over the images.

    Args:
        x: images (n, 1, H, W).

    Returns:
        Mean log power in 32 rings of frequency, (32,).
    """
    power = torch.fft.fft2(x[:, 0].double(), norm="ortho").abs().square().mean(0)
    axis = torch.fft.fftfreq(x.shape[-1])
    ring = (torch.hypot(axis[:, None], axis[None]) * 64).long().clamp_max(31).flatten()
    total = torch.zeros(32, dtype=torch.float64).index_add_(0, ring, power.flatten())
    return 10 * torch.log10(total / torch.bincount(ring, minlength=32))


@torch.no_grad()
def image_errors() -> dict[str, Any]:
    """Errors on the shipped prior against an accurate solution of the probability flow.

    Returns:
        ``rms``: distance of the images by sampler and network evaluations. ``spectrum``: distance
        of their log power spectra. ``reference``: distance of the solution with half the steps.
        ``halves``: distance between the spectra of the two halves of the images. ``adaptive``:
        evaluations and distance of dopri5 by tolerance.
    """
    prior = load_prior(prior_path("ct-128"))
    sde, noise = prior.sde, Noise(range(IMAGES))
    start = sde.prior_sample(noise(torch.zeros(IMAGES, 1, SIZE, SIZE)))
    eps = torch.full((IMAGES,), sde.eps)
    found: dict[str, Any] = {"rms": {}, "spectrum": {}, "adaptive": {}}
    flow, half_as_fine = (
        prior.denoise(walk(DPMSolver3(), prior, start, grids.log_snr(sde, steps), noise), eps)
        for steps in (100, 50)
    )
    found["reference"] = float((half_as_fine - flow).square().mean().sqrt())
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


class Timed(torch.nn.Module):
    """A network that adds up the wall time of its calls.

    Args:
        inner: the network.
    """

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.seconds = inner, 0.0

    def forward(self, x: Tensor, log_s: Tensor) -> Tensor:
        begin = time.perf_counter()
        out: Tensor = self.inner(x, log_s)
        self.seconds += time.perf_counter() - begin
        return out


def overhead_numbers() -> Iterator[Number]:
    """Wall time of the engine beyond that of the network's calls, for 8 images of 128 x 128."""
    prior = load_prior(prior_path("ct-128"))
    network = Timed(prior.network)
    timed = NetworkPrior(
        network, prior.sde, preconditioning=prior.preconditioning, data_mean=prior.data_mean
    ).eval()
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
        yield Number(f"overhead over the network's time, {name}", share, "%", at_most=3.0)
