"""The options of reading raw data, and which kind of data uses which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from medscore.datasets.load import SMALLEST
from medscore.datasets.raw.acquisitions import CHOICES
from medscore.errors import MedscoreError
from medscore.measurements.choices import check_seed
from medscore.measurements.coil_maps import MAPS
from medscore.measurements.from_kspace import TARGETS
from medscore.measurements.kspace_mask import SHAPES
from medscore.operators.ct.metal import METAL_HU

Spacing = float | Sequence[float]
Select = str | Mapping[str, int]


@dataclass(frozen=True)
class Options:
    """Settings for reading raw data; see :func:`medscore.measurements.read.measure`."""

    size: int | None = None
    spacing: tuple[float, float] | None = None
    slices: str | tuple[int, int] | None = None
    maps: str = "low-resolution"
    acceleration: float | None = None
    mask: str = "equispaced"
    seed: int = 0
    metal: float = METAL_HU
    margin: int = 1
    series: str | None = None
    resample: bool = False
    channel: int | None = None
    accept: tuple[str, ...] = ()
    target: str | None = None
    select: Select | None = None


USED = {
    "a stack of CT projections": ("size", "spacing", "slices"),
    "an axial scan in DICOM-CT-PD": ("size", "spacing"),
    "a helical scan in DICOM-CT-PD": ("size", "spacing", "slices", "acceleration"),
    "a CT image": (
        "size",
        "spacing",
        "slices",
        "metal",
        "margin",
        "series",
        "resample",
        "channel",
        "accept",
    ),
    "k-space": (
        "size",
        "spacing",
        "slices",
        "maps",
        "acceleration",
        "mask",
        "seed",
        "target",
        "select",
    ),
    "k-space along a trajectory": ("size", "spacing", "slices", "maps", "acceleration"),
}
"""The options that each kind of raw data uses."""


def pair(spacing: Spacing | None) -> tuple[float, float] | None:
    """Spacing between columns and between rows.

    Args:
        spacing: one number, or two.

    Raises:
        MedscoreError: it is neither, or out of range.
    """
    if spacing is None:
        return None
    numbers = tuple(spacing) if isinstance(spacing, Sequence) else (spacing, spacing)
    if len(numbers) != 2 or not all(0.01 <= mm <= 100 for mm in numbers):
        raise MedscoreError(
            f"`spacing` is {spacing!r}", hint="use one or two numbers from 0.01 to 100 mm"
        )
    return float(numbers[0]), float(numbers[1])


def selected(select: Select | None) -> dict[str, int] | None:
    """The image of a file with several.

    Args:
        select: NAME=NUMBER,... or a mapping.

    Raises:
        MedscoreError: a name is unknown, or a value is no number.
    """
    if select is None:
        return None
    pairs = select.items() if isinstance(select, Mapping) else [
        tuple(part.partition("=")[::2]) for part in str(select).split(",")
    ]  # fmt: skip
    found = {}
    for name, value in pairs:
        if name not in CHOICES or not str(value).isdecimal():
            raise MedscoreError(
                f"`select` is {select!r}",
                hint=f"use NAME=NUMBER of {', '.join(CHOICES)}, such as contrast=0",
            )
        found[name] = int(value)
    return found


def check_values(options: Options) -> None:
    """Reject values that no kind of data can have.

    Args:
        options: the options.

    Raises:
        MedscoreError: there is one.
    """
    for name, value, known in (
        ("maps", options.maps, tuple(MAPS)),
        ("mask", options.mask, tuple(SHAPES)),
        ("target", options.target, TARGETS),
    ):
        if value is not None and value not in known:
            raise MedscoreError(f"`{name}` is {value!r}", hint=f"use one of: {', '.join(known)}")
    if options.size is not None and options.size < SMALLEST:
        raise MedscoreError(f"`size` is {options.size}", hint=f"use at least {SMALLEST}")
    if options.margin < 0:
        raise MedscoreError(f"`margin` is {options.margin}", hint="use 0 or more")
    check_seed(options.seed)


def check_used(kind: str, options: Options, path: Path) -> None:
    """Reject options that differ from their defaults and that this kind of data does not use.

    Args:
        kind: a key of ``USED``.
        options: the options.
        path: file to name in the error.

    Raises:
        MedscoreError: there is one.
    """
    for field in fields(options):
        if field.name not in USED[kind] and getattr(options, field.name) != field.default:
            raise MedscoreError(
                f"`{field.name}` does not apply to {kind}", where=path, hint="leave it out"
            )
