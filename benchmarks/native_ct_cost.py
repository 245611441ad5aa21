"""Time and memory of one reconstruction at 512 x 512, in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from number import Number
from timing import measured_alone

import medscore
from medscore.datasets.volume import Source, Volume
from medscore.hounsfield import mu_to_hu
from medscore.measurements.simulation import simulate
from medscore.operators.ct.anatomy import random_chest
from medscore.operators.ct.phantoms import rasterize
from medscore.operators.ct.radon import Radon
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior

SIDE, VIEWS, PIXEL = 512, 90, 0.7


def cost_numbers(prior: str) -> list[Number]:
    """Seconds and memory of one sample with 50 evaluations, and of FISTA-TV with 500 iterations.

    Args:
        prior: name or path of the prior.
    """
    c = measured_alone(__file__, prior)
    title = "512 x 512, 90 views"
    return [
        Number(f"{title}: time of one sample with 50 evaluations", c["total"], "s", at_most=60),
        Number(f"{title}: network evaluations", c["nfe"]),
        Number(f"{title}: operator calls", c["calls"]),
        Number(f"{title}: time of the operator calls", c["operators"], "s"),
        Number(f"{title}: time of the same evaluations in float32", c["float32"], "s"),
        Number(
            f"{title}: operators over network in float32", c["operators"] / c["float32"], "x",
            at_most=1,
        ),
        Number(f"{title}: time of FISTA-TV, 500 iterations", c["fista"], "s"),
        Number(f"{title}: total over FISTA-TV", c["total"] / c["fista"], "x", at_most=1),
        Number(f"{title}: peak memory", c["memory"] / 2**30, "GiB", at_most=4),
    ]  # fmt: skip


def timed(calls: list[float], run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that appends its seconds to ``calls``.

    Args:
        calls: seconds of each call.
        run: the function.
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return run(*args, **kwargs)
        finally:
            calls.append(time.perf_counter() - start)

    return wrapped


def measured(prior: str) -> dict[str, float]:
    """Seconds, operator calls and peak memory, measured in this process.

    Args:
        prior: name or path of the prior.
    """
    shapes = random_chest(torch.Generator().manual_seed(0))
    hu = mu_to_hu(rasterize(shapes, SIDE, PIXEL)[0].numpy()).astype(np.float32)
    affine = np.diag([-PIXEL, -PIXEL, 5.0, 1.0])
    volume = Volume(hu, affine, "CT", Source("phantom", "0" * 64))
    m = simulate(volume, "sparse-ct", views=VIEWS, noise="poisson:1e5")
    warm = {"samples": 1, "steps": 1}
    medscore.reconstruct(m, prior, **warm)  # matrices, choice of the precision
    calls: list[float] = []
    forward, adjoint = Radon.forward, Radon.adjoint
    try:
        Radon.forward, Radon.adjoint = timed(calls, forward), timed(calls, adjoint)  # type: ignore[method-assign]
        start = time.perf_counter()
        found = medscore.reconstruct(m, prior, samples=1, steps=49)
        total = time.perf_counter() - start
    finally:
        Radon.forward, Radon.adjoint = forward, adjoint  # type: ignore[method-assign]
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = load_prior(prior_path(prior)).on_grid((SIDE, SIDE), PIXEL)
    x, t = torch.rand(1, 1, SIDE, SIDE), torch.tensor([0.3])
    with torch.no_grad():
        network.denoise(x, t)
        start = time.perf_counter()
        for _ in range(5):
            network.denoise(x, t)
        each = (time.perf_counter() - start) / 5
    start = time.perf_counter()
    medscore.reconstruct(m, method="fista-tv", parameters={"weight": 3e-5, "iterations": 500})
    fista = time.perf_counter() - start
    return {
        "total": total, "operators": sum(calls), "calls": found.operator_calls, "nfe": found.nfe,
        "float32": each * found.nfe, "memory": memory, "fista": fista,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
