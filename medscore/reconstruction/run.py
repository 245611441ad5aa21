"""Reconstruction of a measurement, for the command line and the Python interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from medscore.conditioners.binding import Unbound
from medscore.engine.loop import StepInfo
from medscore.errors import MedscoreError
from medscore.io.files import forget
from medscore.io.locks import lock_beside, run_lock
from medscore.measurements.measurement import Measurement, read_measurement
from medscore.priors.base import Prior
from medscore.reconstruction.baselines.build import baseline
from medscore.reconstruction.metal import with_metal
from medscore.reconstruction.method import Method, Run
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.sampling import Sampling
from medscore.registry.build import check_owners, given_grid
from medscore.registry.checks import check_counts
from medscore.registry.presets import choose, parsed
from medscore.samplers.base import Sampler, sampler_object
from medscore.samplers.grids import Grid


def reconstruct(
    measurement: Measurement | str | Path,
    prior: Prior | str | Path | None = None,
    *,
    method: Method | str | None = None,
    samples: int | None = None,
    preset: str | Path = "fast",
    sampler: Sampler | type[Sampler] | str | None = None,
    conditioner: Unbound | str | None = None,
    steps: int | None = None,
    grid: Grid | str | None = None,
    noise: str | float | Tensor | None = None,
    parameters: Mapping[str, Any] | Sequence[str] = (),
    precision: str | None = None,
    pairs: bool | None = None,
    across_slices: str | None = None,
    metal: bool = True,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    allow_mismatch: bool = False,
    contrast: str | None = None,
    influence: bool = False,
    state: str | Path | None = None,
    on_step: Callable[[StepInfo], None] | None = None,
) -> Reconstruction:
    """Reconstruct a measurement by posterior sampling with a prior, or by a baseline.

    Args:
        measurement: the data, or the path of a measurement file.
        prior: a prior, the name of one, or a path; by default the modality's.
        method: name of a baseline such as "fista-tv", or a method object; by default posterior
            sampling.
        samples: number of posterior samples per slice; their mean is the reconstruction.
        preset: "fast", "sharpest", "posterior", "thesis", another preset of the dissertation,
            or a YAML file.
        sampler: name of a sampler, a sampler object or its class; by default the preset's.
        conditioner: name of a conditioner, a class, ``Class.with_settings(...)``, or a function of
            operator, y and noise_std; by default the preset's.
        steps: number of steps of the time grid; by default the preset's.
        grid: name of the time grid, or a function of SDE and number of steps.
        noise: noise of the data: "recorded" (the default) for the recorded noise of the
            measurement, "estimate", "none", "gaussian:STD", "poisson:PHOTONS",
            "poisson:PHOTONS,ELECTRONIC", or the standard deviation itself.
        parameters: parameters of the methods, such as ``{"conditioner.zeta": 0.3}``, or for a
            baseline ``{"weight": 1e-4}``.
        precision: "float32", "bf16" for autocast of the network, or "auto" for the faster one if
            it changes the images little; by default the preset's.
        pairs: whether samples are drawn in pairs whose noise has opposite signs, which makes their
            mean more exact; by default the preset's.
        across_slices: rule that couples the slices of a volume: "none", "tv", "2.5d" or "auto" (the
            default), which is "2.5d" for one sample of a CT volume by DiffPIR with a prior that has
            such a network, else "tv".
        metal: whether metal whose rays are left out is put back into the result, with the HU of
            the scanner's own image.
        seed: seed of all random draws.
        batch_size: number of samples that are processed together; the result does not depend on it.
        device: auto, cpu or cuda.
        allow_mismatch: whether the prior works on the grid of the measurement, even outside its
            image domain: another matrix, pixel spacing, modality or quantity. By default the image
            is fitted to the prior's grid, and the result is put back.
        contrast: MR contrast of the image, for priors that know contrasts (their ``classes``), such
            as "T1", or "estimate"; by default the prior is told none.
        influence: whether to measure what the data and what the prior decide, with two samples or
            more, in up to as much time again.
        state: folder that keeps an interrupted run, which the same call resumes; it is removed at
            the end.
        on_step: called after every sampling step.

    Raises:
        MedscoreError: an invalid parameter, or a prior or method that does not fit the measurement.
    """
    where: str | Path = "measurement"
    if not isinstance(measurement, Measurement):
        where = Path(measurement)
        measurement = read_measurement(where)
    chosen = choose_method(
        prior, method=method, samples=samples, preset=preset, sampler=sampler,
        conditioner=conditioner, steps=steps, grid=grid, noise=noise, parameters=parameters,
        precision=precision, pairs=pairs, across_slices=across_slices, seed=seed,
        batch_size=batch_size, device=device, allow_mismatch=allow_mismatch, contrast=contrast,
        influence=influence,
    )  # fmt: skip
    run = Run(where) if on_step is None else Run(where, on_step)
    if state is None:
        return with_metal(chosen.reconstruct(measurement, run), metal=metal)
    folder = Path(state)
    with run_lock(lock_beside(folder), folder):
        found = chosen.reconstruct(measurement, replace(run, state=folder))
        forget([folder])
    return with_metal(found, metal=metal)


def choose_method(
    prior: Prior | str | Path | None = None,
    *,
    method: Method | str | None = None,
    samples: int | None = None,
    preset: str | Path = "fast",
    sampler: Sampler | type[Sampler] | str | None = None,
    conditioner: Unbound | str | None = None,
    steps: int | None = None,
    grid: Grid | str | None = None,
    noise: str | float | Tensor | None = None,
    parameters: Mapping[str, Any] | Sequence[str] = (),
    precision: str | None = None,
    pairs: bool | None = None,
    across_slices: str | None = None,
    snr: float | None = None,
    lam: float | None = None,
    seed: int = 0,
    batch_size: int = 8,
    device: str = "cpu",
    allow_mismatch: bool = False,
    contrast: str | None = None,
    influence: bool = False,
) -> Method:
    """The method that the parameters of :func:`reconstruct` describe.

    Args:
        prior: see :func:`reconstruct`.
        method: see :func:`reconstruct`.
        samples: see :func:`reconstruct`.
        preset: see :func:`reconstruct`.
        sampler: see :func:`reconstruct`.
        conditioner: see :func:`reconstruct`.
        steps: see :func:`reconstruct`.
        grid: see :func:`reconstruct`.
        noise: see :func:`reconstruct`.
        parameters: see :func:`reconstruct`.
        precision: see :func:`reconstruct`.
        pairs: see :func:`reconstruct`.
        across_slices: see :func:`reconstruct`.
        snr: short for the parameter ``sampler.snr``.
        lam: short for the parameter ``conditioner.lam``.
        seed: see :func:`reconstruct`.
        batch_size: see :func:`reconstruct`.
        device: see :func:`reconstruct`.
        allow_mismatch: see :func:`reconstruct`.
        contrast: see :func:`reconstruct`.
        influence: see :func:`reconstruct`.

    Raises:
        MedscoreError: an invalid parameter.
    """
    if method is not None:
        sampling = {
            "prior": prior, "samples": samples, "sampler": sampler, "conditioner": conditioner,
            "steps": steps, "grid": grid, "snr": snr, "lam": lam, "precision": precision,
            "pairs": pairs, "across_slices": across_slices,
            "preset": None if preset == "fast" else preset,
            "device": None if device in ("auto", "cpu") else device,
            "allow_mismatch": allow_mismatch or None, "contrast": contrast,
            "influence": influence or None,
        }  # fmt: skip
        check_counts(("seed", seed, 0, 2**63 - 1), ("batch_size", batch_size, 1, 1_000_000))
        if isinstance(method, str):
            solver = baseline(method, parameters, noise="recorded" if noise is None else noise)
            _refuse(sampling, f"to the baseline {method}")
            return solver
        if not isinstance(method, Method):
            raise MedscoreError(f"`method` is {method!r}", hint="use the name of a baseline")
        _refuse(
            {**sampling, "noise": noise, "parameters": parameters or None}, "to a method object"
        )
        return method
    if not isinstance(prior, Prior | str | Path | None):
        raise MedscoreError(
            f"`prior` is {prior!r:.80}, not a Prior",
            hint="use a name, a path or a Prior object, such as NetworkPrior(module, sde, domain)",
        )
    sampler = sampler if isinstance(sampler, str | None) else sampler_object(sampler)
    if grid is not None and not isinstance(grid, str):
        given_grid(grid, {})
    objects = {"sampler": sampler, "conditioner": conditioner, "grid": grid}
    short = {"sampler.snr": snr, "conditioner.lam": lam}
    named = [name for name, value in short.items() if value is not None]
    check_owners([*parsed(parameters), *named], objects)
    settings = choose(
        str(preset),
        parameters=parameters,
        prior=str(prior) if isinstance(prior, str | Path) else None,
        sampler=sampler if isinstance(sampler, str) else None,
        conditioner=conditioner if isinstance(conditioner, str) else None,
        grid=grid if isinstance(grid, str) else None,
        steps=steps, samples=samples, precision=precision, pairs=pairs,
        across_slices=across_slices, seed=seed, snr=snr, lam=lam,
        noise=noise if isinstance(noise, str) else None,
    )  # fmt: skip
    return Sampling(
        settings,
        prior=prior if isinstance(prior, Prior) else None,
        sampler=None if isinstance(sampler, str) else sampler,
        conditioner=None if isinstance(conditioner, str) else conditioner,
        grid=None if isinstance(grid, str) else grid,
        noise_std=None if isinstance(noise, str) else noise,
        batch_size=batch_size,
        device=device,
        allow_mismatch=allow_mismatch,
        contrast=contrast,
        influence=influence,
    )


def _refuse(parameters: Mapping[str, Any], owner: str) -> None:
    for name, value in parameters.items():
        if value is not None:
            raise MedscoreError(f"`{name}` does not apply {owner}", hint="leave it out")
