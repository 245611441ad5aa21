"""Peak memory of simulating and reconstructing a large volume slice by slice.

    python benchmarks/streaming.py                        # 600 slices of 512 x 512, inpainting
    python benchmarks/streaming.py --task sparse-ct --slices 40

The prior is analytic (independent normal pixels) and evaluated twice, so that the benchmark
measures the library and not a network. The peak may exceed the memory of the process before the run
by the volume, the measurement, twice the samples, and half a GiB for one batch and the libraries;
beyond that the exit code is 1.
"""

from __future__ import annotations

import argparse
import resource
import sys

import numpy as np
from number import Number, exit_code, show

from medscore.conditioners.ddnm import DDNM
from medscore.datasets.volume import Source, Volume
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import TASKS, Choices
from medscore.nets.unet import UNetSpec
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract, Provenance, VESpec
from medscore.reconstruction.posterior import Plan, sample_posterior
from medscore.samplers.ddim import DDIM
from medscore.samplers.grids import uniform
from medscore.sdes.base import expand
from medscore.sdes.linear import VE
from medscore.types import State, Times

BATCH = 2**29
"""Bytes allowed for one batch and the libraries."""


class Pixels(Prior):
    """Independent normal pixels with mean 0.4 and standard deviation 0.2.

    Args:
        sde: the SDE.
    """

    def __init__(self, sde: VE) -> None:
        self.sde = sde

    def denoise(self, x: State, t: Times) -> State:
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        gain = alpha * 0.04 / (alpha**2 * 0.04 + sigma**2)
        return 0.4 + gain * (x - alpha * 0.4)


def peak() -> int:
    """Peak resident memory of this process in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=600, help="slices of the volume")
    parser.add_argument("--size", type=int, default=512, help="pixels per side")
    parser.add_argument("--task", default="inpaint", choices=TASKS, help="task to simulate")
    args = parser.parse_args()
    before = peak()
    rng = np.random.default_rng(0)
    values = np.empty((args.slices, args.size, args.size), np.float32)
    for image in values:
        image[:] = rng.uniform(-1000, 1000, image.shape)
    affine = np.diag([-0.7, -0.7, 1.0, 1.0])
    volume = Volume(values, affine, "CT", Source("array", "00" * 32))
    measurement = simulate_scan(volume, args.task, Choices(views=8), noise_name="none", seed=0)
    contract = DataContract(
        name="pixels", modality="CT", quantity="HU", low=-1000.0, high=1500.0, size=args.size,
        spacing_mm=(0.1, 9.0), data_mean=0.4, data_std=0.2, sde=VESpec(),
        network=UNetSpec(channels=(8,), fold=1, groups=8),
        provenance=Provenance(data="", patients=1, slices=1, steps=1, seed=0, licence=""),
    )  # fmt: skip
    sde = VE(0.01, 5.0)
    plan = Plan(DDIM(), lambda a, y, std: DDNM(a, y, std), uniform(sde, 1))
    found = sample_posterior(measurement, Pixels(sde), contract, plan)
    assert found.nfe == 2
    allowed = before + values.nbytes + measurement.data.nbytes + 2 * found.samples.nbytes + BATCH
    gib = 2**30
    numbers = [
        Number("volume (GiB)", values.nbytes / gib),
        Number("measurement (GiB)", measurement.data.nbytes / gib),
        Number("seconds of the reconstruction", found.seconds),
        Number("largest relative residual", float(found.residual.max()), at_most=1e-3),
        Number("peak memory (GiB)", peak() / gib, at_most=allowed / gib),
    ]
    return exit_code(show(numbers), check=True)


if __name__ == "__main__":
    sys.exit(main())
