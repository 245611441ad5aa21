"""From a measurement and a prior to posterior samples: units, compatibility, the engine's job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.attenuation import mu_to_hu
from medscore.conditioners.base import Conditioner
from medscore.contract import DataContract
from medscore.datasets.measurement import Measurement
from medscore.engine import Batch, Job, StepInfo, run
from medscore.errors import MedscoreError
from medscore.noise import derive_seed
from medscore.operators.base import Operator
from medscore.operators.radon import Radon
from medscore.prior import Prior
from medscore.ray_noise import whiten
from medscore.resume import Residual
from medscore.samplers.base import Sampler
from medscore.types import State

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
        noise: deviation of each line integral (slices, 1, views, detectors), None for none.
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


@dataclass(frozen=True)
class Reconstruction:
    """Posterior samples in HU and what they took.

    Attributes:
        samples: (slices, samples, H, W) float32. residual: |y - A x| / |y| of each, unclipped.
        nfe: network evaluations per sample. operator_calls: batched A, A^T and T_inv.
        history: residuals of the noisy states along the way. seconds: wall time.
    """

    samples: NDArray[np.float32]
    residual: NDArray[np.float64]
    nfe: int
    operator_calls: int
    history: tuple[Residual, ...]
    seconds: float

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the samples (slices, H, W)."""
        mean: NDArray[np.float32] = self.samples.mean(axis=1)
        return mean

    @property
    def std(self) -> NDArray[np.float32]:
        """Standard deviation over the samples (slices, H, W); needs at least two."""
        deviation: NDArray[np.float32] = self.samples.std(axis=1, ddof=1)
        return deviation


def check_compatible(
    contract: DataContract, measurement: Measurement, *, prior_name: str, where: Path
) -> None:
    """Refuse a prior that was not trained on such images.

    Raises:
        MedscoreError: naming both sides: modality, matrix size or pixel spacing differ.
    """
    spec = measurement.operator
    found = misfits(
        contract, modality=measurement.modality, quantity="HU", size=spec.size,
        spacing=spec.spacing_mm,
    )  # fmt: skip
    for what, ours, theirs in found:
        raise MedscoreError(
            f"{what} is {ours}, prior {prior_name} has {theirs}",
            where=where,
            mend="choose a prior that fits (`medscore priors list`), or simulate at its size",
        )


def misfits(
    contract: DataContract, *, modality: str, quantity: str, size: int, spacing: float
) -> list[tuple[str, str, str]]:
    """In what images differ from those a prior was trained on: what, theirs, the prior's.

    Args:
        quantity: "HU" or "magnitude". size: of the square slices. spacing: of their pixels in mm.
    """
    low, high = contract.spacing_mm
    dimension = getattr(contract.network, "spatial_dims", 2)
    sides = [
        (modality == contract.modality, "modality", modality, contract.modality),
        (quantity == contract.quantity, "quantity", quantity, contract.quantity),
        (dimension == 2, "dimension", "2", f"{dimension}"),
        (size == contract.size, "matrix size", f"{size}", f"{contract.size}"),
        (low <= spacing <= high, "pixel spacing in mm", f"{spacing:g}", f"{low:g} to {high:g}"),
    ]
    return [(what, ours, theirs) for same, what, ours, theirs in sides if not same]


@dataclass(frozen=True)
class NetworkUnits:
    """The affine map between attenuation (1/mm) and the prior's range: mu = shift + unit x."""

    shift: float
    unit: float
    mu_water: float

    @staticmethod
    def of(contract: DataContract, mu_water: float) -> NetworkUnits:
        """Of a contract in HU."""
        return NetworkUnits(
            shift=mu_water * (1 + contract.low / 1000),
            unit=mu_water * contract.scale / 1000,
            mu_water=mu_water,
        )

    def measurements(self, operator: Operator, y: Tensor, size: int) -> Tensor:
        """y in the prior's range: (y - A shift) / unit."""
        background = operator.T(torch.full((1, 1, size, size), self.shift, device=y.device))
        return (y - operator.mask(y) * background) / self.unit

    def to_hu(self, x: Tensor) -> Tensor:
        """Images in the prior's range as HU."""
        return mu_to_hu(self.shift + self.unit * x, self.mu_water)


def reconstruct(
    measurement: Measurement,
    operator: Operator,
    prior: Prior,
    contract: DataContract,
    plan: Plan,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Reconstruction:
    """Draw ``plan.samples`` posterior samples of every slice.

    Sample k of slice i is drawn with its own generator, seeded by (seed, i, k).
    """
    start, calls = time.perf_counter(), operator.calls
    units = NetworkUnits.of(contract, measurement.mu_water)
    y = torch.from_numpy(measurement.data).to(plan.device)
    y = units.measurements(operator, y, contract.size)
    std = None if plan.noise is None else plan.noise.to(plan.device) / units.unit
    white, white_y, noise_std = whiten(operator, y, std)
    slices, k = len(y), plan.samples

    def pair(items: Sequence[int]) -> Batch:
        slices_of = [item // k for item in items]
        rows, chosen = white_y[slices_of], white.rows(slices_of)
        return Batch(
            prior,
            plan.sampler,
            plan.conditioner(chosen, rows, noise_std),
            finish=_identity if noise_std else lambda x: chosen.nearest(x, rows, tol=EXACT).x,
            residual=lambda x: chosen.residual(x, rows),
        )

    job = Job(
        seeds=[derive_seed(plan.seed, i // k, i % k) for i in range(slices * k)],
        shape=(1, contract.size, contract.size),
        times=plan.times,
        batches=pair,
        batch_size=plan.batch_size,
        device=plan.device,
        bf16=plan.bf16,
        state=plan.state,
        fingerprint=plan.fingerprint,
    )
    result = run(job, on_step)
    x = result.x.to(plan.device)
    residual = torch.cat(
        [
            operator.rows([i // k]).residual(x[i : i + 1], y[i // k : i // k + 1])
            for i in range(len(x))
        ]
    )
    hu = units.to_hu(x).reshape(slices, k, contract.size, contract.size)
    return Reconstruction(
        samples=hu.cpu().numpy(),
        residual=residual.reshape(slices, k).double().cpu().numpy(),
        nfe=result.nfe,
        operator_calls=operator.calls - calls,
        history=result.history,
        seconds=time.perf_counter() - start,
    )


def reconstruct_fbp(measurement: Measurement, operator: Radon) -> NDArray[np.float32]:
    """Filtered back-projection in HU (slices, H, W): the classical reconstruction."""
    mu = operator.fbp(torch.from_numpy(measurement.data))[:, 0]
    return mu_to_hu(mu, measurement.mu_water).numpy()


def _identity(x: State) -> State:
    return x
