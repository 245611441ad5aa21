"""The slices of a volume, reconstructed each by itself or together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.budget import in_gib, machine_memory
from medscore.io.group import ALONE, Group
from medscore.measurements.measurement import Measurement
from medscore.priors.across import Across, Coupling, Independent
from medscore.priors.base import Prior
from medscore.priors.neighbours_file import NeighboursContract
from medscore.priors.planes import check_cubes
from medscore.reconstruction.chosen_prior import ChosenPrior
from medscore.registry.build import build_across_slices
from medscore.registry.settings import NEIGHBOURS, NONE, PLANES, TV, Settings
from medscore.types import State

IMAGES, DATA = 14, 4
"""Float32 arrays of the size of the volume, and of that of the data, that are in memory while
coupled slices are reconstructed (benchmarks/volumes.py, part cost)."""


@dataclass(frozen=True)
class Arrangement:
    """The items of a sampling run, each a sample of a slice or of a volume that is scanned whole.

    Attributes:
        items: number of the slice and of its sample, of each item.
        batch_size: number of items that are processed together.
        prior: prior of a batch.
        volumes: number of volumes whose slices are items that are processed together; 0 if slices
            are processed each by itself, or volumes are items.
        split: whether processes share the items of a batch.
    """

    items: tuple[tuple[int, int], ...]
    batch_size: int
    prior: Prior
    volumes: int = 0
    split: bool = True

    def by_slice(self, x: State) -> State:
        """Finished items with all samples of the first slice first, then of the next.

        Args:
            x: finished items, (n, channel, ...).
        """
        if self.volumes == 0:
            return x
        slices: Tensor = x.unflatten(0, (self.volumes, -1)).transpose(0, 1)
        return slices.flatten(0, 1)


def arranged(
    m: Measurement,
    prior: Prior,
    rule: Coupling | None,
    *,
    samples: int,
    batch_size: int,
    units: Tensor | None = None,
    group: Group = ALONE,
) -> Arrangement:
    """The items of a measurement, with a prior of images or of volumes.

    Args:
        m: the measurement.
        prior: prior of images.
        rule: couples the slices of a volume; None if each is reconstructed by itself.
        samples: number of samples of each slice.
        batch_size: number of images that the prior denoises together.
        units: length of the prior's range in each slice, (slices,), if they differ.
        group: processes that share the slices.
    """
    count, k = len(m.data), samples
    if rule is None and not m.whole and group.size == 1:
        return Arrangement(tuple((i, j) for i in range(count) for j in range(k)), batch_size, prior)
    items = tuple((i, j) for j in range(k) for i in range(count))
    across = Across(
        prior, rule or Independent(), at_a_time=batch_size, stacked=not m.whole, units=units,
        group=group,
    )  # fmt: skip
    return Arrangement(items, count, across, volumes=0 if m.whole else k, split=not m.whole)


def coupling_of(
    settings: Settings, prior: Prior, m: Measurement, pixel_mm: float
) -> tuple[Coupling | None, dict[str, str]]:
    """The rule across slices for a measurement, and what provenance says of its networks.

    Args:
        settings: settings of the reconstruction.
        prior: prior of images.
        m: the measurement.
        pixel_mm: pixel size of the prior's grid in mm.

    Returns:
        The rule, None if every slice is reconstructed by itself; and the hashes of networks of its
        own.

    Raises:
        MedscoreError: an invalid rule, or a prior that has no network for it.
    """
    name = settings.settled().across_slices
    rule = build_across_slices(name, settings.parameters_of("across_slices"))
    if rule is None:
        return None, {}
    coupling = rule.placed(prior, (slice_mm(m), pixel_mm))
    return coupling, dict(coupling.record)


def slice_mm(m: Measurement) -> float:
    """The distance of the slices of a measurement in mm.

    Args:
        m: the measurement.
    """
    return float(np.linalg.norm(m.affine[:3, 2]))


def check_volume(
    m: Measurement, rule: str, chosen: ChosenPrior, *, influence: bool, where: str | Path
) -> None:
    """Reject what does not go with a volume, or needs one.

    Args:
        m: the measurement.
        rule: name of the rule across slices.
        chosen: the prior.
        influence: whether to measure what the data and what the prior decide.
        where: name of the measurement in error messages.

    Raises:
        MedscoreError: a rule across slices for one slice, or for more than the machine's memory
            holds, or that the prior does not know for slices of that distance, or the influence of
            coupled slices.
    """
    if rule != NONE and m.slices < 2:
        raise MedscoreError(
            f"`across_slices` is {rule}, which couples slices, but there is one slice",
            where=where, hint="leave it out",
        )  # fmt: skip
    if rule == PLANES:
        check_cubes(slice_mm(m), m.spacing[0])
    if rule == NEIGHBOURS:
        _check_neighbours(chosen.neighbours, chosen.domain.name, m)
    needed = 4 * (IMAGES * m.slices * m.size[0] * m.size[1] + DATA * m.data.size)
    if rule != NONE and needed > machine_memory():
        raise MedscoreError(
            f"`across_slices` {rule} keeps {m.slices} slices in memory at a time, which takes "
            f"{in_gib(needed)}, and the machine has {in_gib(machine_memory())}",
            where=where, hint="set it to none, or reconstruct fewer slices at a time",
        )  # fmt: skip
    if influence and m.whole:
        raise MedscoreError(
            "`influence` is measured of separate slices, and the scan is one of a whole volume",
            where=where, hint="leave it out",
        )  # fmt: skip
    if influence and rule != NONE:
        raise MedscoreError(
            f"`influence` is measured of separate slices, and `across_slices` {rule} couples them",
            where=where, hint="set `across_slices` to none",
        )  # fmt: skip


def _check_neighbours(known: NeighboursContract | None, prior: str, m: Measurement) -> None:
    """Reject a 2.5-D prior that there is not, or that knows other slices."""
    if known is None:
        raise MedscoreError(
            f"`across_slices` is {NEIGHBOURS}, and the prior {prior} has no 2.5-D network",
            hint=f"use {TV}, or train one (docs/volumes.md)",
        )
    if not known.knows(slice_mm(m)):
        raise MedscoreError(
            f"the slices are {slice_mm(m):g} mm apart, and the 2.5-D network of the prior {prior} "
            f"knows slices {known.slice_mm[0]:g} to {known.slice_mm[1]:g} mm apart",
            hint=f"set `across_slices` to {TV}",
        )
