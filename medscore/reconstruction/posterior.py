"""From a measurement and a prior to posterior samples: units, compatibility, the engine's job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medscore.conditioners.base import Conditioner
from medscore.engine.loop import Batch, Job, StepInfo, run
from medscore.measurements.measurement import Measurement
from medscore.measurements.noise_std import whiten
from medscore.measurements.units import NetworkUnits
from medscore.operators.base import Operator
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract
from medscore.reconstruction.complex_data import seen_by
from medscore.reconstruction.result import Reconstruction
from medscore.samplers.base import Sampler
from medscore.types import State
from medscore.white_noise import derive_seed

EXACT = 9e-4
"""Relative residual that the final step leaves: it projects onto the images that fit so well. A
projection brings no two images farther apart, so results do not depend on the batch size, as they
did with A^+, which amplifies rounding where the views hardly see."""


@dataclass(frozen=True)
class Plan:
    """How to sample.

    Attributes:
        sampler: unconditional. conditioner: made from the operator and the measurements of a
            batch, both in the prior's range, and the deviation of the noise in them; noisy
            measurements come in units of their own noise, so it is 1, and 0 without noise.
        times: decreasing grid. samples: posterior samples per slice. seed: of all draws.
        noise: deviation of the data, broadcastable to them, of the real and the imaginary part
            each; None for none.
            Without noise the sampling ends with the nearest image that fits.
        batch_size: items walked together; the result does not depend on it.
        state: file that keeps an interrupted run. fingerprint: identifies the run.
    """

    sampler: Sampler
    conditioner: Callable[[Operator, Tensor, float], Conditioner]
    times: Tensor
    samples: int = 1
    seed: int = 0
    noise: Tensor | None = None
    batch_size: int = 8
    device: str = "cpu"
    bf16: bool = False
    state: Path | None = None
    fingerprint: str = ""


def reconstruct(
    measurement: Measurement,
    prior: Prior,
    contract: DataContract,
    plan: Plan,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Reconstruction:
    """Draw ``plan.samples`` posterior samples of every slice.

    Sample k of slice i is drawn with its own generator, seeded by (seed, i, k).

    Raises:
        MedscoreError: complex data, for which the prior has no rule or the scan no centre.

    Beside the measurement it holds the samples twice at most, and what one batch takes.
    """
    start = time.perf_counter()
    operator = seen_by(contract, measurement)
    calls = operator.calls
    scaled = _Scaled(measurement, operator, NetworkUnits.of(contract, measurement), plan)
    slices, k = len(measurement.data), plan.samples
    *channels, height, width = operator.image_shape

    def pair(items: Sequence[int]) -> Batch:
        chosen, rows, noise_std = scaled.white([item // k for item in items])
        return Batch(
            prior,
            plan.sampler,
            plan.conditioner(chosen, rows, noise_std),
            finish=_identity if noise_std else lambda x: chosen.project_ball(x, rows, tol=EXACT).x,
            residual=lambda x: chosen.residual(x, rows),
        )

    job = Job(
        seeds=[derive_seed(plan.seed, i // k, i % k) for i in range(slices * k)],
        shape=(*(channels or [1]), height, width),
        times=plan.times,
        batches=pair,
        batch_size=plan.batch_size,
        device=plan.device,
        bf16=plan.bf16,
        state=plan.state,
        fingerprint=plan.fingerprint,
    )
    result = run(job, on_step)
    residual = np.empty(slices * k)
    for i, x in enumerate(result.x.split(1)):
        chosen, rows = scaled.plain([i // k])
        residual[i] = float(chosen.residual(x.to(plan.device), rows))
        x[:, :1] = scaled.units.to_values(x, [i // k])  # in place: a volume is large
    return Reconstruction(
        samples=result.x[:, 0].reshape(slices, k, height, width).numpy(),
        residual=residual.reshape(slices, k),
        nfe=result.nfe,
        operator_calls=operator.calls - calls,
        history=result.history,
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Scaled:
    """A measurement in the prior's range, a few slices at a time."""

    measurement: Measurement
    operator: Operator
    units: NetworkUnits
    plan: Plan

    def plain(self, slices: list[int]) -> tuple[Operator, Tensor]:
        """Operator and measurements of these slices."""
        operator = self.operator.select(slices)
        y = torch.from_numpy(self.measurement.data[slices]).to(self.plan.device)
        return operator, self.units.measurements(operator, y, slices)

    def white(self, slices: list[int]) -> tuple[Operator, Tensor, float]:
        """The same in units of their noise, and its deviation then: 1, or 0 without noise."""
        operator, y = self.plain(slices)
        if self.plan.noise is None:
            return operator, y, 0.0
        std = self.plan.noise if len(self.plan.noise) == 1 else self.plan.noise[slices]
        return whiten(operator, y, std.to(y.device) / self.units.of_slices(slices, y))


def _identity(x: State) -> State:
    return x
