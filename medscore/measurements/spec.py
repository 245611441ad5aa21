"""A simulated scan as a configuration file or the caller's options describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from medscore.errors import MedscoreError
from medscore.io.specs import LARGEST_SIDE, Strict
from medscore.measurements.choices import (
    KILOVOLTS,
    MOST_COILS,
    MOST_FINER,
    MOST_IMPLANTS,
    MOST_SEED,
    MOST_VIEWS,
    Choices,
)
from medscore.measurements.noise_model import noise_model
from medscore.measurements.tasks import OPTIONS, TASKS

DEFAULTS = Choices()

HINTS = {
    "views": "use a whole number, such as 23",
    "arc": "use degrees, such as 120",
    "source_distance": "use a number of mm, such as 1000",
    "acceleration": "use a number, such as 4",
    "mask": "use a name, such as equispaced",
    "trajectory": "use cartesian, radial or spiral",
    "phase": "use none or random",
    "coils": "use a whole number, such as 8",
    "maps": "use known, low-resolution or espirit",
    "factor": "use a whole number, such as 2",
    "blur": "use a number of pixels, such as 2",
    "hidden": "use a number between 0 and 1, such as 0.25",
    "implants": "use (x, y, radius) in mm for each disc, such as [(0, 0, 5)]",
    "finer": "use a whole number, such as 2",
    "spectrum": "use a tube voltage in kV, such as 120",
    "noise": "use text: none, gaussian:0.01, poisson:1e5 or poisson:1e5,10",
    "seed": "use a whole number, such as 0",
}
"""What to do about a value of another type."""

RANGES = {
    "views": (1, MOST_VIEWS),
    "coils": (1, MOST_COILS),
    "factor": (1, LARGEST_SIDE),
    "finer": (1, MOST_FINER),
    "spectrum": tuple(f"{kilovolts:g}" for kilovolts in KILOVOLTS),
    "seed": (0, MOST_SEED),
}
"""Smallest and largest value of what has them."""


class ScanSpec(Strict):
    """A task of :data:`medscore.measurements.tasks.TASKS` and its parameters.

    Attributes:
        task: name of the task.
        views: see :class:`~medscore.measurements.choices.Choices`.
        arc: see :class:`~medscore.measurements.choices.Choices`.
        source_distance: see :class:`~medscore.measurements.choices.Choices`.
        acceleration: see :class:`~medscore.measurements.choices.Choices`.
        mask: see :class:`~medscore.measurements.choices.Choices`.
        trajectory: see :class:`~medscore.measurements.choices.Choices`.
        phase: see :class:`~medscore.measurements.choices.Choices`.
        coils: see :class:`~medscore.measurements.choices.Choices`.
        maps: see :class:`~medscore.measurements.choices.Choices`.
        factor: see :class:`~medscore.measurements.choices.Choices`.
        blur: see :class:`~medscore.measurements.choices.Choices`.
        hidden: see :class:`~medscore.measurements.choices.Choices`.
        implants: see :class:`~medscore.measurements.choices.Choices`.
        finer: see :class:`~medscore.measurements.choices.Choices`.
        spectrum: see :class:`~medscore.measurements.choices.Choices`.
        noise: noise model: ``none``, ``gaussian:STD``, ``poisson:PHOTONS`` or
            ``poisson:PHOTONS,ELECTRONIC``.
        seed: see :class:`~medscore.measurements.choices.Choices`.
    """

    task: str
    views: int = Field(default=DEFAULTS.views, ge=1, le=MOST_VIEWS)
    arc: float = DEFAULTS.arc
    source_distance: float = DEFAULTS.source_distance
    acceleration: float = DEFAULTS.acceleration
    mask: str = DEFAULTS.mask
    trajectory: str = DEFAULTS.trajectory
    phase: str = DEFAULTS.phase
    coils: int = Field(default=DEFAULTS.coils, ge=1, le=MOST_COILS)
    maps: str = DEFAULTS.maps
    factor: int = Field(default=DEFAULTS.factor, ge=1, le=LARGEST_SIDE)
    blur: float = DEFAULTS.blur
    hidden: float = DEFAULTS.hidden
    implants: tuple[tuple[float, float, float], ...] = Field((), max_length=MOST_IMPLANTS)
    finer: int | None = Field(default=None, ge=1, le=MOST_FINER)
    spectrum: float | None = Field(default=None, ge=KILOVOLTS[0], le=KILOVOLTS[1])
    noise: str = "none"
    seed: int = Field(default=0, ge=0, le=MOST_SEED)


def choices(spec: ScanSpec) -> Choices:
    """Parameters of the scan.

    Args:
        spec: the description of the scan.

    Raises:
        MedscoreError: the noise model is unknown.
    """
    given = spec.model_dump(exclude={"task", "noise"})
    return Choices(**given, noise=noise_model(spec.noise))


def scan_spec(task: str, noise: str, seed: int, options: Mapping[str, Any]) -> ScanSpec:
    """Check the options of a task by name and type.

    Args:
        task: name of the task.
        noise: noise model: ``none``, ``gaussian:STD``, ``poisson:PHOTONS`` or
            ``poisson:PHOTONS,ELECTRONIC``.
        seed: seed of the noise and of random sampling patterns.
        options: parameters of :class:`~medscore.measurements.choices.Choices` that the task uses.

    Raises:
        MedscoreError: the task is unknown, has no such option, or a value is of another type.
    """
    if not isinstance(task, str) or task not in TASKS:
        raise MedscoreError(f"`task` is {task!r}", hint=f"use one of: {', '.join(TASKS)}")
    for name in options:
        if name not in OPTIONS[task]:
            raise MedscoreError(
                f"`{name}` is not an option of task {task}",
                hint=f"its options are {', '.join(f'`{n}`' for n in (*OPTIONS[task], 'noise'))}",
            )
    try:
        return ScanSpec(task=task, noise=noise, seed=seed, **options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        given = {**options, "noise": noise, "seed": seed}[name]
        out = {"greater_than_equal", "less_than_equal"} & {first["type"]}
        hint = f"use {' to '.join(map(str, RANGES[name]))}" if out else HINTS[name]
        raise MedscoreError(f"`{name}` is {given!r:.60}", hint=hint) from None
