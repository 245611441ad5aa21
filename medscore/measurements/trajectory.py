"""Non-Cartesian sampling of k-space by name: some of the spokes or arms of a complete scan.

The measured ones are equally spaced among all, to the nearest one. Off-resonance, the decay of the
signal and errors of the gradients are not simulated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.mri.trajectories import (
    complete_spokes,
    radial_trajectory,
    spiral_trajectory,
)

CARTESIAN, RADIAL, SPIRAL = "cartesian", "radial", "spiral"
TRAJECTORIES = (CARTESIAN, RADIAL, SPIRAL)
"""Trajectories of simulated scans."""

EVENLY = "equispaced"
"""The one name of a sampling pattern that says what non-Cartesian scans do."""

ROWS_PER_ARM = 4
"""Side of the image over the arms of a complete spiral scan: about 2.5 turns each."""

CENTRE = 1 / 8
"""Share of the radius of k-space in which undersampled spirals are complete."""

LEAST_CENTRE = 8.0
"""Smallest such radius in Cartesian samples."""


def trajectory_of(shape: tuple[int, int], name: str, acceleration: float) -> tuple[Tensor, Tensor]:
    """A complete trajectory (2, samples) in radians per pixel, and the mask (samples,) of a scan.

    Radial scans have spokes whose ends are a Cartesian sample apart, so that their centre is
    complete at every acceleration, up to a radius that falls with it. Spirals have a denser centre,
    which the measured arms sample completely.

    Args:
        shape: rows and columns of the image.
        name: "radial" or "spiral".
        acceleration: spokes or arms of the complete trajectory over measured ones.

    Raises:
        MedscoreError: an acceleration below 1, or one that leaves nothing.
    """
    size = max(shape)
    unit = "spokes" if name == RADIAL else "arms"
    arms = complete_spokes(size) if name == RADIAL else max(1, round(size / ROWS_PER_ARM))
    measured = evenly(arms, acceleration, unit)
    if name == RADIAL:
        trajectory = radial_trajectory(size, arms)
    else:
        dense = min(max(CENTRE * size / 2, LEAST_CENTRE), size / 2)
        trajectory = spiral_trajectory(
            size, arms, every=math.ceil(arms / int(measured.sum())), dense=dense
        )
    return trajectory, measured.repeat_interleave(trajectory.shape[1] // arms)


def evenly(arms: int, acceleration: float, unit: str) -> Tensor:
    """Mask (arms,) of equally spaced arms, to the nearest one.

    Args:
        arms: number of all arms.
        acceleration: all arms over measured ones.
        unit: what the arms are called in errors.

    Raises:
        MedscoreError: an acceleration below 1, or one that leaves nothing.
    """
    if not 1 <= acceleration < math.inf:
        raise MedscoreError(f"`acceleration` is {acceleration:g}", hint="use 1 or more, such as 4")
    left = round(arms / acceleration)
    if left < 1:
        raise MedscoreError(
            f"`acceleration` is {acceleration:g}: the acceleration leaves none of {arms} {unit}",
            hint=f"use at most {arms}, such as 4",
        )
    measured = torch.zeros(arms, dtype=torch.bool)
    measured[torch.arange(left) * arms // left] = True
    return measured


def check_trajectory(name: str, mask: str) -> None:
    """Reject unknown trajectories, and sampling patterns of lines for those that have no lines.

    Args:
        name: name of the trajectory.
        mask: name of the sampling pattern.

    Raises:
        MedscoreError: either of them.
    """
    if name not in TRAJECTORIES:
        raise MedscoreError(
            f"`trajectory` is {name!r}", hint=f"use one of: {', '.join(TRAJECTORIES)}"
        )
    if name != CARTESIAN and mask != EVENLY:
        raise MedscoreError(
            f"`mask` is {mask!r}, a pattern of Cartesian lines, and `trajectory` is {name}",
            hint="leave `mask` out: spokes and arms are equally spaced",
        )
