"""Posterior sampling with a score prior as a reconstruction method."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import medscore
from medscore.conditioners.binding import ConditionerFactory, Unbound
from medscore.conditioners.diffpir import DiffPIR
from medscore.engine.items import fingerprint_of
from medscore.engine.precision import settle
from medscore.engine.resume import resumable
from medscore.errors import MedscoreError
from medscore.likelihood.typicality import warning
from medscore.likelihood.unusual import words_of
from medscore.measurements.measurement import Measurement
from medscore.priors.base import Prior
from medscore.priors.catalogue import is_known
from medscore.reconstruction.chosen_prior import ChosenPrior, check_covariance
from medscore.reconstruction.compatibility import check_compatible
from medscore.reconstruction.condition import condition_of
from medscore.reconstruction.contrast import (
    ESTIMATE,
    as_network,
    check_contrast,
    estimated_losses,
    own_record,
    with_contrast_checked,
)
from medscore.reconstruction.grid import grid_of
from medscore.reconstruction.identity import described, identity_of
from medscore.reconstruction.method import QUIET, Method, Run
from medscore.reconstruction.posterior import Plan, sample_posterior
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.typical import typicality_of
from medscore.reconstruction.volumes import check_volume, coupling_of, slice_mm
from medscore.registry.build import (
    build_conditioner,
    build_sampler,
    checked_factory,
    given_grid,
    times_of,
)
from medscore.registry.checks import check_counts, resolve_device
from medscore.registry.noise import noise_std_of
from medscore.registry.settings import DEFAULTS, NONE, Settings
from medscore.samplers.base import Sampler
from medscore.samplers.grids import Grid


@dataclass(frozen=True)
class Sampling(Method):
    """Posterior sampling with a prior, a sampler, a conditioner and a time grid.

    Objects take precedence over the names in ``settings``.

    Attributes:
        settings: names, numbers and parameters.
        prior: a prior object instead of a name.
        sampler: a sampler object instead of a name.
        conditioner: a conditioner class, ``Class.with_settings(...)`` or a function of operator,
            measurements and noise_std, instead of a name.
        grid: a function of SDE and number of steps, instead of a name.
        noise_std: noise standard deviation of the measurements, instead of ``settings.noise``:
            a number, or a tensor that broadcasts to them.
        batch_size: number of samples that are processed together; the result does not depend on it.
        device: auto, cpu or cuda.
        allow_mismatch: whether the prior works on the grid of the measurement, even outside its
            image domain; by default the image is fitted to the prior's grid.
        contrast: class of the images that the prior is told, such as the MR contrast T1, or
            ``estimate``.
        influence: whether to measure what the data and what the prior decide.
    """

    settings: Settings = DEFAULTS
    prior: Prior | None = None
    sampler: Sampler | None = None
    conditioner: Unbound | None = None
    grid: Grid | None = None
    noise_std: float | Tensor | None = None
    batch_size: int = 8
    device: str = "cpu"
    allow_mismatch: bool = False
    contrast: str | None = None
    influence: bool = False

    def settled(self, measurement: Measurement) -> Sampling:
        """The method with the methods that ``auto`` stands for with this prior.

        In MRI it is DiffPIR, whose mean of a few samples is better where few lines are measured
        (benchmarks/uncertainty.py, part default), and for volumes that are scanned whole, because
        a learned covariance is that of separate slices. A rule across slices is the default of one
        sample of CT volumes alone.

        Args:
            measurement: the measurement.
        """
        ct, chosen = measurement.modality == "CT", self._chosen(measurement.modality)
        whole, known = measurement.whole, ct and self.sampler is None and self.conditioner is None
        known = known and not whole and chosen.knows_covariance
        point = getattr(self.conditioner, "func", self.conditioner) in (None, DiffPIR)
        volume = ct and point and measurement.slices > 1
        across = chosen.best_rule(slice_mm(measurement), whole) if volume else NONE
        return replace(self, settings=self.settings.settled(covariance=known, across=across))

    def check(self, measurement: Measurement, where: str | Path = "measurement") -> None:
        self._check_settings()
        name = self.settings.prior
        chosen = self._chosen(measurement.modality)
        domain = chosen.domain
        if not self.allow_mismatch:
            check_compatible(domain, measurement, where=where, prior_name=name, same_grid=False)
        check_contrast(self.contrast, domain)
        _ = chosen.table  # a table that does not fit the prior is refused
        noise_std_of(self._noise(), measurement, where)
        settled = self.settled(measurement)
        settled._factory()
        rule = settled.settings.across_slices
        check_volume(measurement, rule, chosen, influence=self.influence, where=where)
        if self.conditioner is None:
            check_covariance(settled.settings, chosen, coupled=measurement.whole or rule != NONE)

    @property
    def can_share(self) -> bool:
        return True

    @property
    def device_kind(self) -> str:
        return torch.device(resolve_device(self.device)).type

    @property
    def samples(self) -> int:
        return self.settings.samples

    def gives_phase(self, measurement: Measurement) -> bool:
        return self._chosen(measurement.modality).domain.complex_data == "two-channel"

    def identity(self, modality: str) -> str:
        return self._chosen(modality).sha256

    def all_weights(self, modality: str) -> str:
        chosen = self._chosen(modality)
        return "+".join(part for part in (chosen.sha256, chosen.covariance_sha256) if part)

    def reconstruct(self, measurement: Measurement, run: Run = QUIET) -> Reconstruction:
        self.check(measurement, run.where)
        if self.contrast == ESTIMATE:
            return self._estimating(measurement, run)
        return self.settled(measurement)._reconstruct(measurement, run)

    def _reconstruct(self, measurement: Measurement, run: Run) -> Reconstruction:
        chosen = self._chosen(measurement.modality)
        grid = grid_of(chosen.domain, measurement, allow_mismatch=self.allow_mismatch)
        domain = grid.domain
        device = resolve_device(self.device)
        noise_std = noise_std_of(self._noise(), measurement, run.where)
        condition = condition_of(measurement, noise_std)
        noise_std = grid.noise(measurement, noise_std)
        prior = grid.prior(self._told(chosen.on(device)))
        shape = domain.channels, *grid.shape
        across, network = coupling_of(self.settings, prior, measurement, grid.pixel_mm)
        sha256, own = chosen.sha256, own_record(prior) | network

        def fingerprint(precision: str) -> str:
            weights = sha256 + own.get("covariance_sha256", "") + "".join(network.values())
            return self._with(precision)._fingerprint(measurement, weights)

        asked = self.settings.precision
        used = run.group.agreed(settle(asked, prior, shape, device, run.state, fingerprint))
        plan = self._with(used.name).plan(prior, noise_std, device)
        plan = replace(plan, across=across, group=run.group)
        if run.state is not None:
            state, note = fingerprint(used.name), json.dumps(used.record())
            plan = replace(plan, state=run.state, fingerprint=state, note=note)
        with resumable(run.state):
            found = sample_posterior(measurement, prior, domain, plan, run.on_step, grid.fit)
        z, judgements = typicality_of(prior, domain, found)
        record = {
            "method": "posterior sampling",
            "settings": {**self._with(used.name).record(), "device": device},
            "precision": used.record(),
            "operator": repr(measurement.operator),
            "grid": grid.record(measurement),
            "condition": condition.model_dump(),
            "prior": {"name": domain.name, "sha256": sha256, **own},
            "final_exact_step": noise_std is None,
            "z": None if z is None else [round(value, 2) for value in z.tolist()],
            "typicality": [judgement.record() for judgement in judgements],
        }
        said = None if z is None else warning(z)
        warnings = (*(() if said is None else (said,)), *words_of(judgements))
        found = replace(found, record=record, warnings=warnings, calibration=chosen.table)
        found = grid.onto_measurement(found)
        return with_contrast_checked(prior, found)

    def _estimating(self, measurement: Measurement, run: Run) -> Reconstruction:
        """The reconstruction by the prior of the contrast that fits a first one best."""
        one = replace(self.settings, samples=1)
        first = replace(self, contrast=None, settings=one, influence=False)
        found = first.reconstruct(measurement, replace(run, state=None))
        prior = self._chosen(measurement.modality).on(resolve_device(self.device))
        losses = estimated_losses(as_network(prior), found)
        name = min(losses, key=lambda each: losses[each])
        told = replace(self, contrast=name).reconstruct(measurement, run)
        rounded = {each: round(loss, 6) for each, loss in losses.items()}
        return replace(
            told, record={**told.record, "contrast": {"estimated": name, "losses": rounded}},
            notes=(*told.notes, f"the contrast is estimated to be {name}"),
        )  # fmt: skip

    def plan(self, prior: Prior, noise_std: Tensor | None, device: str = "cpu") -> Plan:
        """The sampling plan on a prior.

        Args:
            prior: the score model.
            noise_std: noise standard deviation of the measurements; None for noise-free data.
            device: device of the network and the operators.

        The precision ``auto`` counts as float32 here; :meth:`reconstruct` chooses it beforehand.

        Raises:
            MedscoreError: an unknown name or parameter, or a value out of range.
        """
        s = self.settings.settled()
        grid = given_grid(self.grid or s.grid, {} if self.grid else s.parameters_of("grid"))
        return Plan(
            sampler=self.sampler or build_sampler(s.sampler, s.parameters_of("sampler")),
            conditioner=self._factory(),
            times=times_of(grid, prior.sde, s.steps),
            samples=s.samples,
            seed=s.seed,
            noise_std=noise_std,
            batch_size=self.batch_size,
            device=device,
            bf16=s.precision == "bf16",
            influence=self.influence,
            pairs=bool(s.pairs),
        )

    def record(self) -> dict[str, Any]:
        """The settings for provenance.json; objects are recorded by name or ``repr``, and a prior
        that was given as a file by its name and hash beside the settings, not by its path."""
        parameters = self.settings.record()
        if parameters["prior"] is not None and not is_known(parameters["prior"]):
            parameters["prior"] = None
        for name in ("sampler", "conditioner", "grid", "noise_std"):
            if (given := getattr(self, name)) is not None:
                parameters["noise" if name == "noise_std" else name] = described(given)
                parameters["parameters"] = {
                    key: value
                    for key, value in parameters["parameters"].items()
                    if not key.startswith(f"{name}.")
                }
        return parameters

    def _with(self, precision: str) -> Sampling:
        """The method with a precision instead of ``auto``."""
        return replace(self, settings=replace(self.settings, precision=precision))

    def _factory(self) -> ConditionerFactory:
        if self.conditioner is not None:
            return checked_factory(self.conditioner, "conditioner")
        s = self.settings.settled()
        return build_conditioner(s.conditioner, s.parameters_of("conditioner"))

    def _check_settings(self) -> None:
        self.settings.check()
        check_counts(("batch_size", self.batch_size, 1, 1_000_000))
        if self.influence and self.settings.samples < 2:
            raise MedscoreError(
                f"`influence` needs two `samples` or more, not {self.settings.samples}",
                hint="draw more",
            )

    def _chosen(self, modality: str) -> ChosenPrior:
        return ChosenPrior(self.prior, self.settings.prior, modality)

    def _told(self, prior: Prior) -> Prior:
        """The prior of the images of the contrast."""
        return prior if self.contrast is None else as_network(prior).of_class(self.contrast)

    def _noise(self) -> str | float | Tensor:
        return self.settings.noise if self.noise_std is None else self.noise_std

    def _fingerprint(self, m: Measurement, prior_hash: str) -> str:
        data = hashlib.sha256(m.data.tobytes()).hexdigest()
        own = self.sampler, self.conditioner, self.grid, self.noise_std, m.operator
        prior = prior_hash or self.prior
        parts = [identity_of(part) for part in (prior, *own)]
        told = own_record(self.prior) if self.contrast is None else {"class": self.contrast}
        record = {**self.record(), **told}
        run = medscore.__version__, data, record, self.batch_size, self.allow_mismatch
        return fingerprint_of(*run, *parts)
