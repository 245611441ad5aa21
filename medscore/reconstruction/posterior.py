"""Posterior sampling of a measurement: its units, and operator and conditioner of each batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.conditioners.binding import ConditionerFactory
from medscore.datasets.fit import Fit
from medscore.domain import ImageDomain
from medscore.engine.job import Batch, Job
from medscore.engine.loop import StepInfo, run
from medscore.io.group import ALONE, Group
from medscore.measurements.fitting import Data, inside_data, on_new_grid
from medscore.measurements.measurement import Measurement
from medscore.measurements.noise_std import whiten
from medscore.measurements.units import NetworkUnits
from medscore.operators.base import Operator
from medscore.operators.mri.real_images import one_channel
from medscore.priors.across import Coupling
from medscore.priors.base import Prior
from medscore.reconstruction.complex_data import seen_by
from medscore.reconstruction.evidence import Evidence, prior_samples
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.volumes import arranged
from medscore.samplers.base import Sampler
from medscore.types import State
from medscore.uncertainty.intervals import in_pairs
from medscore.uncertainty.null_space import null_space
from medscore.white_noise import derive_seed

EXACT = 9e-4
"""Relative residual after the final step for noise-free data, which projects onto the set of images
with at most this residual. A projection onto a convex set is non-expansive, so rounding errors are
not amplified and results do not depend on the batch size."""


@dataclass(frozen=True)
class Plan:
    """The settings of posterior sampling, with objects instead of names.

    Attributes:
        sampler: the unconditional sampler.
        conditioner: makes the conditioner of a batch from its operator and measurements, both in
            the prior's range, and their noise standard deviation. Noisy measurements are whitened,
            so it is 1 for them, and 0 for noise-free data.
        times: decreasing time grid, (steps + 1,).
        samples: number of posterior samples per slice.
        seed: seed of all random draws.
        noise_std: noise standard deviation of the data, broadcastable to them, of the real and the
            imaginary part each; None for noise-free data, for which sampling ends with a projection
            onto the images that fit the data.
        batch_size: number of samples that are processed together; the result does not depend on it.
        device: device of the network and the operators.
        bf16: whether the network runs in bf16 autocast.
        state: folder that keeps an interrupted run; None to keep none.
        fingerprint: identifies the run that a state belongs to.
        note: a text that is kept with the state.
        influence: whether to measure what the data and what the prior decide, which takes up to as
            long again; it needs two samples or more.
        pairs: whether samples 2j and 2j + 1 of a slice have the same noise with opposite signs; an
            odd number of samples is drawn independently.
        across: couples the slices of a volume, which are then reconstructed together; None to
            reconstruct each by itself.
        group: processes that share the slices of the measurement, and all get the result.
    """

    sampler: Sampler
    conditioner: ConditionerFactory
    times: Tensor
    samples: int = 1
    seed: int = 0
    noise_std: Tensor | None = None
    batch_size: int = 8
    device: str = "cpu"
    bf16: bool = False
    state: Path | None = None
    fingerprint: str = ""
    note: str = ""
    influence: bool = False
    pairs: bool = False
    across: Coupling | None = None
    group: Group = ALONE

    @property
    def in_pairs(self) -> bool:
        """Whether the samples are pairs."""
        return in_pairs(self.pairs, self.samples)

    def leader(self, sample: int) -> int:
        """The sample of a slice whose noise a sample has, but for the sign.

        Args:
            sample: number of the sample within its slice.
        """
        return sample - sample % 2 if self.in_pairs else sample


def sample_posterior(
    measurement: Measurement,
    prior: Prior,
    domain: ImageDomain,
    plan: Plan,
    on_step: Callable[[StepInfo], None] = lambda info: None,
    fit: Fit | None = None,
) -> Reconstruction:
    """Draw ``plan.samples`` posterior samples of every slice, or of a volume that is scanned whole.

    Sample k of slice i has its own generator, seeded by (seed, i, k); with ``pairs``, an odd k has
    the noise of k - 1 times -1. Besides the measurement, memory holds at most two copies of the
    samples and the working set of one batch.

    Args:
        measurement: the data.
        prior: the score model.
        domain: image domain of the prior.
        plan: settings of the sampling.
        on_step: called after every sampling step.
        fit: fit of the measurement's image to the grid of the prior, if they differ. The samples
            are then on the prior's grid.

    Raises:
        MedscoreError: complex data that the prior cannot represent, or a sample that diverged.
    """
    operator, data = seen_by(domain, measurement), measurement.data
    if fit is not None:
        operator, data = on_new_grid(operator, fit), inside_data(measurement, fit)
    scaled = _Scaled(data, operator, NetworkUnits.of(domain, measurement, fit), plan)
    slices, k = len(data), plan.samples
    *channels, height, width = operator.image_shape
    work = arranged(
        measurement, prior, plan.across, samples=k, batch_size=plan.batch_size,
        units=scaled.units.each, group=plan.group,
    )  # fmt: skip

    def pair(items: Sequence[int]) -> Batch:
        chosen, rows, noise_std = scaled.white([work.items[item][0] for item in items])
        return Batch(
            work.prior,
            plan.sampler,
            plan.conditioner(chosen, rows, noise_std),
            finish=_identity if noise_std else lambda x: chosen.project_ball(x, rows, tol=EXACT).x,
            residual=lambda x: chosen.residual(x, rows),
        )

    job = Job(
        seeds=[derive_seed(plan.seed, i, plan.leader(j)) for i, j in work.items],
        signs=[1 if plan.leader(j) == j else -1 for _, j in work.items],
        shape=(*(channels or [1]), height, width),
        times=plan.times,
        batches=pair,
        batch_size=work.batch_size,
        device=plan.device,
        bf16=plan.bf16,
        state=plan.state,
        fingerprint=plan.fingerprint,
        note=plan.note,
        calls=lambda: operator.calls,
        group=plan.group,
        split=work.split,
    )
    result = run(job, on_step)
    found = work.by_slice(result.x)
    start, calls = time.perf_counter(), operator.calls
    evidence = _evidence(found, prior, scaled, plan, fit) if plan.influence else None
    residual = np.empty(slices * k)
    mean = None if found.shape[1] == 1 else _complex_mean(found, slices, scaled.units)
    for i, x in enumerate(found.split(1)):
        chosen, rows = scaled.plain([i // k])
        residual[i] = float(chosen.residual(x.to(plan.device), rows))
        x[:, :1] = scaled.units.to_values(x, [i // k])  # in place: a volume is large
    return Reconstruction(
        samples=by_slice(found, measurement).numpy(),
        residual=residual.reshape(slices, k),
        nfe=result.nfe,
        operator_calls=result.calls + operator.calls - calls,
        history=result.history,
        seconds=result.seconds + time.perf_counter() - start,
        measurement=measurement,
        complex_mean=mean,
        evidence=evidence,
        pairs=plan.in_pairs,
    )


def by_slice(x: State, measurement: Measurement) -> Tensor:
    """Samples as (slices, samples, H, W).

    Args:
        x: all samples of the first slice, then of the next, (slices * samples, channel, H, W); or
            those of a volume, (samples, channel, Z, H, W).
        measurement: the data.
    """
    images: Tensor = x[:, 0]
    if measurement.whole:
        return images.transpose(0, 1)
    slices: Tensor = images.unflatten(0, (len(measurement.data), -1))
    return slices


def _evidence(x: State, prior: Prior, scaled: _Scaled, plan: Plan, fit: Fit | None) -> Evidence:
    """What the data and what the prior decide of each slice."""
    drawn, unseen, seen = [], [], None
    if fit is not None:  # the rest of the prior's grid is seen by nothing
        inside = fit.apply(np.ones((1, *fit.source_shape), np.float32), 0.0)[0]
        seen = torch.from_numpy(inside > 0.5)
    for i, samples in enumerate(x.split(plan.samples)):
        samples = samples.to(plan.device)
        operator, _, noise_std = scaled.white([i])
        unseen.append(null_space(operator, samples, noisy=noise_std > 0, seen=seen))
        seeds = [derive_seed(plan.seed, i, j, 1) for j in range(plan.samples)]
        centre = samples.mean(0, keepdim=True)
        for first in range(0, len(seeds), plan.batch_size):
            chunk = seeds[first : first + plan.batch_size]
            part = prior_samples(prior, centre, plan.times, chunk)
            drawn.append(scaled.units.to_values(part.cpu(), [i])[:, 0])
    values = torch.cat(drawn).unflatten(0, (len(unseen), plan.samples))
    one = torch.ones(1, 1, 1, 1)
    lengths = [
        float(scaled.units.to_values(one, [i]) - scaled.units.to_values(0 * one, [i]))
        for i in range(len(unseen))
    ]
    return Evidence.of(values.numpy(), unseen, lengths)


def _complex_mean(x: State, slices: int, units: NetworkUnits) -> NDArray[np.complex64]:
    """The mean of the samples of each slice, of two channels each, as a complex image."""
    means = x.reshape(slices, -1, *x.shape[1:]).mean(1)
    unit = units.of_slices(None, means)
    return (unit * one_channel(means))[:, 0].numpy()


@dataclass(frozen=True)
class _Scaled:
    """Measurements scaled to the prior's range, a few slices at a time."""

    data: Data
    operator: Operator
    units: NetworkUnits
    plan: Plan

    def plain(self, slices: list[int]) -> tuple[Operator, Tensor]:
        """The operator and the measurements of some slices."""
        operator = self.operator.select(slices)
        y = torch.from_numpy(self.data[slices]).to(self.plan.device)
        return operator, self.units.measurements(operator, y, slices)

    def white(self, slices: list[int]) -> tuple[Operator, Tensor, float]:
        """The whitened operator and measurements of some slices, and the noise standard deviation.

        The latter is 1, or 0 for noise-free data, which are not whitened.
        """
        operator, y = self.plain(slices)
        if self.plan.noise_std is None:
            return operator, y, 0.0
        std = self.plan.noise_std
        std = std if len(std) == 1 else std[slices]
        return whiten(operator, y, std.to(y.device) / self.units.of_slices(slices, y))


def _identity(x: State) -> State:
    return x
