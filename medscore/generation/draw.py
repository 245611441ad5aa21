"""Draw images from a prior: settings, and one call of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medscore.engine.loop import Job, Samples, StepInfo, run
from medscore.generation.wanted import Wanted
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.registry.build import build_grid, build_sampler
from medscore.registry.checks import check_precision, check_ranges
from medscore.registry.methods import SAMPLERS


@dataclass(frozen=True)
class Generation:
    """How images are drawn; what identifies an interrupted run."""

    prior: str
    count: int
    sampler: str
    grid: str
    steps: int
    snr: float
    seed: int
    precision: str
    batch_size: int
    label: str | None = None
    strength: float = 1.0
    conditioner: str | None = None

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            MedscoreError: naming the option.
        """
        check_ranges(
            ("--count", self.count, 1, 1_000_000),
            ("--steps", self.steps, 1, 100_000),
            ("--snr", self.snr, 1e-6, 10),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--batch-size", self.batch_size, 1, 1_000_000),
            ("--strength", self.strength, 0, 1000),
        )
        check_precision(self.precision)


def draw(
    prior: NetworkPrior,
    contract: DataContract,
    asked: Generation,
    wanted: Wanted,
    device: str,
    state: Path | None = None,
    fingerprint: str = "",
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Samples:
    """Samples in the prior's range, as ``wanted``."""
    times = build_grid(asked.grid, {})(prior.sde, asked.steps)
    given = {"snr": asked.snr} if "snr" in SAMPLERS.parameters(asked.sampler) else {}
    sampler = build_sampler(asked.sampler, given)
    job = Job(
        seeds=wanted.seeds,
        shape=(contract.channels, contract.size, contract.size),
        times=times,
        batches=lambda items: wanted.batch(prior, sampler, items),
        batch_size=asked.batch_size,
        device=device,
        bf16=asked.precision == "bf16",
        state=state,
        fingerprint=fingerprint,
    )
    return run(job, on_step)
