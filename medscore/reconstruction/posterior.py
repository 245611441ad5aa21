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

from medscore.reconstruction.complex_data import as_the_prior_sees
from medscore.conditioners.base import Conditioner
from medscore.priors.contract import DataContract
from medscore.engine.loop import Batch, Job, StepInfo, run
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.white_noise import derive_seed
from medscore.operators.base import Operator
from medscore.operators.mri.multicoil import sensitivity_of
from medscore.priors.network import Prior
from medscore.measurements.noise_std import whiten
from medscore.engine.resume import Residual
from medscore.samplers.base import Sampler
from medscore.types import State
from medscore.measurements.units import NetworkUnits

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


@dataclass(frozen=True)
class Reconstruction:
    """Posterior samples in HU, or as magnitudes, and what they took.

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
    for what, ours, theirs in measurement_misfits(contract, measurement):
        raise MedscoreError(
            f"{what} is {ours}, prior {prior_name} has {theirs}",
            where=where,
            mend="choose a prior that fits (`medscore priors list`), or simulate at its size",
        )


def measurement_misfits(contract: DataContract, m: Measurement) -> list[tuple[str, str, str]]:
    """:func:`misfits` of the images of a measurement."""
    (rows, columns), (x, y) = m.size, m.spacing
    quantity = "HU" if m.modality == "CT" else "magnitude"
    if m.modality == "MR" and contract.complex_data == "two-channel":
        quantity = contract.quantity
    found = misfits(contract, modality=m.modality, quantity=quantity, size=columns, spacing=x)
    if rows != columns:
        found.append(("matrix size", f"{columns} x {rows}", f"{contract.size}"))
    if abs(x - y) > 2e-3 * x:
        found.append(("pixels in mm", f"{x:.4g} x {y:.4g}", "square"))
    return found


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
            finish=_identity if noise_std else lambda x: chosen.nearest(x, rows, tol=EXACT).x,
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
        operator = self.operator.rows(slices)
        y = torch.from_numpy(self.measurement.data[slices]).to(self.plan.device)
        return operator, self.units.measurements(operator, y, slices)

    def white(self, slices: list[int]) -> tuple[Operator, Tensor, float]:
        """The same in units of their noise, and its deviation then: 1, or 0 without noise."""
        operator, y = self.plain(slices)
        if self.plan.noise is None:
            return operator, y, 0.0
        std = self.plan.noise if len(self.plan.noise) == 1 else self.plan.noise[slices]
        return whiten(operator, y, std.to(y.device) / self.units.of_slices(slices, y))


def seen_by(contract: DataContract, m: Measurement) -> Operator:
    """The measurement's operator on the prior's images: complex images by the contract's rule.

    Raises:
        MedscoreError: the prior has no rule for them, or the scan no centre to take a phase from.
    """
    first = torch.from_numpy(m.data[:1])
    if not first.is_complex() or not m.operator.rows([0]).adjoint(first).is_complex():
        return m.operator
    try:
        return as_the_prior_sees(
            contract, m.operator, torch.from_numpy(m.data), sensitivity_of(m.operator)
        )
    except ValueError as error:
        raise MedscoreError(
            f"the image's phase is not known: {error}",
            mend="measure the centre of k-space, or use a prior of complex images",
        ) from error


def _identity(x: State) -> State:
    return x
