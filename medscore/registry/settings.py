"""Settings of a reconstruction, with the method that ``auto`` stands for.

In CT, the conditioner ``auto`` draws samples of the posterior if the prior knows the covariance of
x_0 given x_t, by :mod:`~medscore.conditioners.moment_matching`, and several are asked for: their
mean is as good as that of DiffPIR, and their differences are the errors that are to be expected.
One sample alone is an image to look at, for which DiffPIR, close to the mean, is better.

The rule across slices ``auto`` couples one sample by DiffPIR of a CT volume of several slices: by
the 2.5-D network of the prior where it has one for slices of that distance and they are scanned one
by one, else by total variation (benchmarks/volumes.py measures both). Otherwise it is none: several
samples are drawn slice by slice, as the intervals that they give are calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from medscore.errors import MedscoreError
from medscore.io.identity import without_folder
from medscore.registry.checks import check_counts, check_precision
from medscore.registry.methods import ACROSS_SLICES, CONDITIONERS, GRIDS, SAMPLERS
from medscore.registry.table import Table

AUTO, POINT, POSTERIOR = "auto", "diffpir", "moment-matching"
"""The default conditioner, and what it stands for."""

POSTERIOR_PARAMETERS = {
    "sampler.eta": 1.0,
    "conditioner.draws": True,
    "conditioner.inflation": 2.5,
    "conditioner.tolerance": 0.3,
    "conditioner.iterations": 40,
    "conditioner.floor": 1e-3,
}
"""Parameters with which ``auto`` draws samples of the posterior; benchmarks/uncertainty.py measures
them."""

MOST_STEPS, MOST_SAMPLES = 100_000, 10_000
"""Largest number of steps of a time grid, and of samples per slice."""

Parameters = Mapping[str, Any]
"""Values by dotted name, such as ``{"conditioner.zeta": 0.3}``."""

NONE, TV, NEIGHBOURS, PLANES = "none", "tv", "2.5d", "planes"
"""Rules across slices; ``auto`` stands for one of the first three."""

OWNERS: dict[str, Table] = {
    "sampler": SAMPLERS,
    "conditioner": CONDITIONERS,
    "grid": GRIDS,
    "across_slices": ACROSS_SLICES,
}
"""Tables of methods by the first part of a dotted name."""

OF_IMAGES = ("sampler", "conditioner", "grid")
"""Owners of parameters of the generation of images."""


@dataclass(frozen=True)
class Settings:
    """The settings that determine a reconstruction; provenance.json records them.

    The defaults are the preset ``fast``; docs/conditioners.md compares it with others.

    Attributes:
        prior: name of a shipped prior, or a path; by default the modality's.
        sampler: name of the sampler.
        conditioner: name of the data-consistency rule, or auto; see :meth:`settled`.
        grid: name of the time grid.
        steps: number of steps of the time grid.
        samples: number of posterior samples per slice.
        seed: seed of all random draws.
        noise: name of the noise of the measurements; see docs/measurement.md.
        precision: float32, bf16 for autocast of the network, or auto for the faster one if it
            changes the images little (:mod:`medscore.priors.precision`).
        pairs: whether samples are drawn in pairs whose noise has opposite signs, which makes their
            mean more exact; an odd number of samples is drawn independently. None leaves it to
            :meth:`settled`.
        across_slices: name of the rule that couples the slices of a volume, or auto; see
            :meth:`settled`.
        parameters: parameters of the methods by dotted name.
    """

    prior: str | None = None
    sampler: str = "ddim"
    conditioner: str = AUTO
    grid: str = "focused"
    steps: int = 49
    samples: int = 1
    seed: int = 0
    noise: str = "recorded"
    precision: str = "auto"
    pairs: bool | None = None
    across_slices: str = AUTO
    parameters: Parameters = field(default_factory=dict)

    def check(self) -> None:
        """Reject unknown names, unknown parameters and numbers out of range.

        Raises:
            MedscoreError: an invalid setting; the message names it.
        """
        check_counts(
            ("steps", self.steps, 1, MOST_STEPS),
            ("samples", self.samples, 1, MOST_SAMPLES),
            ("seed", self.seed, 0, 2**63 - 1),
        )
        check_precision(self.precision)
        if not isinstance(self.pairs, bool | None):
            raise MedscoreError(f"`pairs` is {self.pairs!r:.40}", hint="use True or False")
        split_parameters(self.parameters)
        for owner in OWNERS:
            self.parameters_of(owner)

    def settled(self, *, covariance: bool = False, across: str = NONE) -> Settings:
        """The settings with the methods that ``auto`` stands for, and with or without pairs.

        Samples of the posterior need a prior that knows the covariance of x_0 given x_t, two
        samples or more, the sampler DDIM, and no parameter that only DiffPIR has; otherwise
        ``auto`` is DiffPIR. A parameter that only moment matching has chooses that. An even number
        of samples is drawn in pairs, unless ``pairs`` is given. A rule across slices that was
        chosen rules samples of the posterior out, whose covariance is that of separate slices. A
        parameter of a rule across slices chooses total variation.

        Args:
            covariance: whether the prior knows that covariance, and the data are of CT.
            across: the best rule across slices for the prior and the volume.
        """
        rule = self.across_slices
        if rule == AUTO and split_parameters(self.parameters)["across_slices"]:
            rule = TV
        found = self._conditioned(covariance and rule in (AUTO, NONE))
        if rule == AUTO:
            coupled = found.conditioner == POINT and self.samples == 1
            rule = across if coupled else NONE
        return replace(found, across_slices=rule)

    def _conditioned(self, covariance: bool) -> Settings:
        """The settings with the conditioner that ``auto`` stands for, and with or without pairs."""
        if self.conditioner != AUTO:
            return replace(self, pairs=bool(self.pairs))
        asked = set(split_parameters(self.parameters)["conditioner"])
        point, posterior = (asked <= set(CONDITIONERS.parameters(c)) for c in (POINT, POSTERIOR))
        pairs = self.samples % 2 == 0 if self.pairs is None else self.pairs
        if posterior and covariance and self.samples > 1 and self.sampler == "ddim":
            parameters = {**POSTERIOR_PARAMETERS, **self.parameters}
            return replace(self, conditioner=POSTERIOR, pairs=pairs, parameters=parameters)
        chosen = POSTERIOR if posterior and not point else POINT
        return replace(self, conditioner=chosen, pairs=pairs)

    def parameters_of(self, owner: str) -> dict[str, Any]:
        """The parameters of the chosen sampler, conditioner, grid or rule, converted and checked.

        Args:
            owner: a key of ``OWNERS``.

        Raises:
            MedscoreError: no such method or parameter, or a value out of range.
        """
        name = getattr(self.settled(), owner)
        return OWNERS[owner].convert(name, split_parameters(self.parameters)[owner])

    def record(self) -> dict[str, Any]:
        """The settings for JSON, with all parameters of the methods, including defaults.

        Without a rule across slices, nothing is said of one.
        """
        settled = self.settled()
        effective = {
            f"{owner}.{name}": _recorded(value)
            for owner, table in OWNERS.items()
            for name, value in settled._effective(owner, table).items()
        }
        found = {**settled.__dict__, "parameters": effective}
        if settled.across_slices == NONE:
            del found["across_slices"]
        return found

    def _effective(self, owner: str, table: Table) -> dict[str, Any]:
        known = table.parameters(getattr(self, owner))
        return {name: p.default for name, p in known.items()} | self.parameters_of(owner)


def _recorded(value: Any) -> Any:
    """A parameter for JSON, which has no infinity; paths are recorded without their folders."""
    if value == math.inf:
        return "inf"
    return without_folder(value) if isinstance(value, str) else value


DEFAULTS = Settings()


def split_parameters(
    parameters: Parameters, owners: Iterable[str] = OWNERS
) -> dict[str, dict[str, Any]]:
    """Parameters by their owner, such as sampler, conditioner or grid.

    Args:
        parameters: values by dotted name.
        owners: the owners there are.

    Raises:
        MedscoreError: a name that does not begin with an owner.
    """
    found: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for dotted, value in parameters.items():
        owner, dot, name = dotted.partition(".")
        if owner not in found or not dot:
            raise MedscoreError(
                f"no parameter {dotted!r}",
                hint=f"begin the name with {' or '.join(f'{o}.' for o in found)}, such as "
                "conditioner.zeta; a baseline has parameters without a prefix",
            )
        found[owner][name] = value
    return found
