"""Time of one reconstruction of 8 coils at 256 x 256, and the share of data consistency in it."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from native_ct_cost import timed
from number import Number
from timing import measured_alone

import medscore
from medscore.datasets.volume import Source, Volume
from medscore.measurements.simulation import simulate
from medscore.operators.ct.phantoms import SHEPP_LOGAN, rasterize, scaled
from medscore.priors.network import NetworkPrior

SIDE, COILS, PIXEL, ACCELERATION = 256, 8, 0.9, 4.0
PEERS: dict[str, dict[str, Any]] = {
    "cg-sense": {"weight": 3e-2},
    "l1-wavelet": {"weight": 3e-3},
}


def cost_numbers(prior: str) -> list[Number]:
    """Seconds of one sample with 50 evaluations, and what takes them, in a process of its own.

    Args:
        prior: name or path of the prior.
    """
    c = measured_alone(__file__, prior)
    title = f"{SIDE} x {SIDE}, {COILS} coils"
    return [
        Number(f"{title}: time of one sample with 50 evaluations", c["total"], "s", at_most=40),
        Number(f"{title}: network evaluations", c["nfe"]),
        Number(f"{title}: time of the network", c["network"], "s"),
        Number(f"{title}: operator calls", c["calls"]),
        Number(f"{title}: share of data consistency, all but the network",
               1 - c["network"] / c["total"], at_most=0.4),
        *(Number(f"{title}: time of {name}", c[name], "s") for name in PEERS),
    ]  # fmt: skip


def measured(prior: str, steps: int = 49, side: int = SIDE) -> dict[str, float]:
    """Seconds and operator calls, measured in this process.

    Args:
        prior: name or path of the prior.
        steps: number of steps of the sampler.
        side: pixels per side of the image.
    """
    shapes = scaled(SHEPP_LOGAN, 0.5 * side * PIXEL)
    values = rasterize(shapes, side, PIXEL)[0].numpy().clip(0)
    affine = np.diag([-PIXEL, -PIXEL, 5.0, 1.0])
    volume = Volume((1000 * values).astype(np.float32), affine, "MR", Source("phantom", "0" * 64))
    m = simulate(
        volume, "mri-multicoil", coils=COILS, acceleration=ACCELERATION, phase="random",
        maps="espirit", noise="gaussian:10",
    )  # fmt: skip
    medscore.reconstruct(m, prior, samples=1, steps=1)  # choice of the precision
    network: list[float] = []
    total: list[float] = []
    denoise = NetworkPrior.denoise
    try:
        NetworkPrior.denoise = timed(network, denoise)  # type: ignore[method-assign]
        found = timed(total, medscore.reconstruct)(m, prior, samples=1, steps=steps)
    finally:
        NetworkPrior.denoise = denoise  # type: ignore[method-assign]
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    for name, parameters in PEERS.items():
        timed(peers[name], medscore.reconstruct)(m, method=name, parameters=parameters)
    return {
        "total": sum(total), "network": sum(network), "nfe": found.nfe,
        "calls": found.operator_calls, **{name: sum(spent) for name, spent in peers.items()},
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
