"""From settings to a sampling plan."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from medscore.priors.base import Prior
from medscore.reconstruction.posterior import Plan
from medscore.registry import names as registry
from medscore.registry.presets import Settings


def strength(settings: Settings, noise: Tensor | None) -> float:
    """lambda: as it is set, or 1 for noise-free data and 0.5 for others."""
    if settings.lam is not None:
        return settings.lam
    return 1.0 if noise is None else 0.5


def sampling_plan(
    settings: Settings,
    prior: Prior,
    noise: Tensor | None,
    *,
    device: str = "cpu",
    batch_size: int = 8,
    state: Path | None = None,
    fingerprint: str = "",
) -> Plan:
    """How to sample from ``prior``.

    Args:
        noise: deviation of the data. state, fingerprint: see :class:`Plan`.

    Raises:
        MedscoreError: a name that is not known.
    """
    conditioner = registry.conditioner(settings.conditioner)
    times = registry.grid(settings.grid)(prior.sde, settings.steps)
    options = registry.SamplerOptions(settings.snr, times, prior.sde)
    lam = strength(settings, noise)
    return Plan(
        sampler=registry.sampler(settings.sampler, options),
        conditioner=lambda a, y, std: conditioner(a, y, registry.Strength(lam, std)),
        times=times,
        samples=settings.samples,
        seed=settings.seed,
        noise=noise,
        batch_size=batch_size,
        device=device,
        bf16=settings.precision == "bf16",
        state=state,
        fingerprint=fingerprint,
    )
