"""k-space of the Berkeley Advanced Reconstruction Toolbox: ``.cfl`` with its ``.hdr``.

The header is a text whose line after ``# Dimensions`` lists up to 16 sizes; the other file holds
complex numbers of single precision, little-endian, the first dimension fastest (Uecker et al. 2015,
BART documentation, doc/fileformat.txt).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscore.datasets.raw.kspace import (
    RawKspace,
    averaged,
    check_kspace,
    measured_samples,
    single_precision,
)
from medscore.datasets.raw.kspace_axes import check_axes
from medscore.datasets.raw.kspace_layout import KspaceLayout
from medscore.datasets.raw.partitions import in_slices
from medscore.datasets.volume import Source
from medscore.errors import MedscoreError, reading
from medscore.io.budget import check_memory
from medscore.io.opening import file_sha256, open_file, read_bytes

READ, PHS1, PHS2, COIL, MAPS, TE, TIME, TIME2, SLICE, AVG = 0, 1, 2, 3, 4, 5, 10, 11, 13, 14
"""Numbers of dimensions (BART, src/misc/mri.h)."""

NAMES = (
    "READ", "PHS1", "PHS2", "COIL", "MAPS", "TE", "COEFF", "COEFF2", "ITER", "CSHIFT", "TIME",
    "TIME2", "LEVEL", "SLICE", "AVG", "BATCH",
)  # fmt: skip

IMAGES = {"contrast": TE, "repetition": TIME, "phase": TIME2}
"""Dimensions whose entries are different images, by the names in ``select``."""

DIMENSIONS, HEADER = 16, 2**20
"""Number of dimensions, and largest size of a header in bytes."""

HINT = "write it with bart, or export it again"


def is_bart(path: str | Path) -> bool:
    """True if a path names a BART file: ``.cfl`` or ``.hdr`` with the other one beside it.

    Args:
        path: any path.
    """
    path = Path(path)
    return path.suffix == ".cfl" or (path.suffix == ".hdr" and path.with_suffix(".cfl").exists())


def read_cfl(path: str | Path) -> NDArray[np.complex64]:
    """Read an array with all 16 dimensions.

    Args:
        path: the ``.cfl`` or the ``.hdr`` file.

    Raises:
        MedscoreError: one of the two is missing, the header is not valid, the sizes are not those
            of the file, or they exceed the memory budget.
    """
    path = Path(path)
    values, header = path.with_suffix(".cfl"), path.with_suffix(".hdr")
    text = read_bytes(header, "BART header", "keep .hdr and .cfl together", HEADER)
    with reading("a BART header", header, HINT):
        shape = _dimensions(text.decode("ascii", errors="replace"))
    with open_file(values, "BART file", "keep .hdr and .cfl together") as file:
        held = os.fstat(file.fileno()).st_size
        declared = 8 * math.prod(shape)
        if declared != held:
            raise MedscoreError(
                f"holds {held:,} bytes, and its header declares {_shown(shape)} numbers of 8 bytes",
                where=values, hint=HINT,
            )  # fmt: skip
        check_memory(declared, values, "k-space")
        found = np.fromfile(file, "<c8").astype(np.complex64, copy=False)
    return found.reshape(shape, order="F")


def read_bart(
    path: str | Path,
    *,
    layout: KspaceLayout,
    select: Mapping[str, int] | None = None,
    first: bool = False,
) -> RawKspace:
    """Read Cartesian k-space: two-dimensional slices, or a volume with complete partitions.

    The readout is READ, the phase encoding PHS1, and partitions PHS2; slices are along SLICE.
    Samples that are zero were not measured. Entries of AVG are averaged.

    Args:
        path: the ``.cfl`` or the ``.hdr`` file.
        layout: pixel spacing and oversampling, which the file does not record, and coil maps.
        select: one of several images, by contrast (TE), repetition (TIME) or phase (TIME2).
        first: take the first of several images and note it, instead of refusing the file.

    Raises:
        MedscoreError: as :func:`read_cfl`, there are several images of which none is selected,
            other dimensions, undersampled partitions, or invalid values.
    """
    path = Path(path)
    if layout.axes is not None or layout.array is not None or layout.reference is not None:
        raise MedscoreError(
            "axes, array and reference do not apply to a BART file, whose dimensions are known",
            where=path, hint="leave them out",
        )  # fmt: skip
    stored, notes = _chosen(read_cfl(path), dict(select or {}), first, path)
    for number, size in enumerate(stored.shape):
        if size > 1 and number not in (READ, PHS1, PHS2, COIL, SLICE, AVG):
            raise MedscoreError(
                f"has {size} entries along {NAMES[number]} (dimension {number})", where=path,
                hint=f"extract one: bart slice {number} 0",
            )  # fmt: skip
    order = (SLICE, AVG, PHS2, COIL, READ, PHS1)
    rest = [number for number in range(DIMENSIONS) if number not in order]
    kspace = np.ascontiguousarray(stored.transpose([*order, *rest])).reshape(
        [stored.shape[number] for number in order]
    )
    kspace = averaged(single_precision(kspace, path), axis=1)
    return assembled(kspace, layout, notes, path, path.with_suffix(".cfl"))


def assembled(
    kspace: NDArray[np.complex64], layout: KspaceLayout, notes: list[str], path: Path, values: Path
) -> RawKspace:
    """Raw k-space of an array and its layout; partitions become slices.

    Args:
        kspace: (slices, partitions, coils, readout, phase).
        layout: what the array does not state.
        notes: what was done to the array.
        path: the file, for error messages.
        values: the file of the values, which is hashed.

    Raises:
        MedscoreError: partitions are not sampled alike, the values are invalid, or the coil maps do
            not fit.
    """
    partitions = kspace.shape[1]
    flat = kspace.reshape(-1, *kspace.shape[2:])
    flat, sampled = in_slices(flat, measured_samples(flat), partitions, path)
    check_kspace(flat, path)
    check_axes(flat, path, "name the axes in the geometry, such as [slice, coil, readout, phase]")
    if partitions > 1:
        notes = [*notes, f"{partitions} partitions became slices"]
    maps = None
    if layout.sensitivities is not None:
        maps = coil_maps(Path(layout.sensitivities), flat.shape)
    source = Source("kspace", file_sha256(values), notes=tuple(notes))
    oversampling = layout.readout_oversampling
    return RawKspace(flat, layout.spacing_mm, oversampling, source, sampled, maps=maps)


def _dimensions(text: str) -> tuple[int, ...]:
    lines = [line.strip() for line in text.splitlines()]
    if "# Dimensions" not in lines:
        raise ValueError("it has no line '# Dimensions'")
    words = [*lines[lines.index("# Dimensions") + 1 :], ""][0].split()
    if not 1 <= len(words) <= DIMENSIONS or not all(w.isdecimal() and len(w) < 12 for w in words):
        raise ValueError(f"the dimensions are {' '.join(words)[:80]!r}")
    sizes = tuple(int(word) for word in words)
    if min(sizes) < 1:
        raise ValueError(f"the dimensions are {' '.join(words)[:80]!r}")
    return sizes + (1,) * (DIMENSIONS - len(sizes))


def _chosen(
    stored: NDArray[Any], wanted: dict[str, int], first: bool, where: Path
) -> tuple[NDArray[Any], list[str]]:
    """One of several images."""
    unknown = sorted(set(wanted) - set(IMAGES))
    if unknown:
        raise MedscoreError(
            f"`select` names {unknown[0]}, which a BART file does not have", where=where,
            hint=f"use {', '.join(IMAGES)}",
        )  # fmt: skip
    several = {n: stored.shape[d] for n, d in IMAGES.items() if stored.shape[d] > 1}
    open_ = {name: size for name, size in several.items() if name not in wanted}
    shown = " and ".join(f"{size} {name}s" for name, size in open_.items())
    if open_ and not first:
        one = ",".join(f"{name}=0" for name in open_)
        raise MedscoreError(
            f"holds {shown}, which are different images", where=where,
            hint=f"set `select` to one, such as {one}",
        )  # fmt: skip
    for name, dimension in IMAGES.items():
        index = wanted.get(name, 0)
        if index >= stored.shape[dimension]:
            raise MedscoreError(
                f"`select` asks for {name}={index}, and there are {stored.shape[dimension]}",
                where=where, hint=f"use {name}=0",
            )  # fmt: skip
        stored = stored.take([index], axis=dimension)
    note = f"there are {shown}: this is the first, and measuring needs `select`"
    return stored, [note] if open_ else []


def coil_maps(path: Path, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Read coil maps (slices or 1, coils, rows, columns) on the grid of k-space.

    Args:
        path: the ``.cfl`` or the ``.hdr`` file.
        shape: (slices, coils, ky, kx) of k-space.

    Raises:
        MedscoreError: as :func:`read_cfl`, the maps do not fit, or there are several sets.
    """
    stored = read_cfl(path)
    slices, coils, rows, columns = shape
    if stored.shape[MAPS] > 1:
        raise MedscoreError(
            f"holds {stored.shape[MAPS]} sets of coil maps, and one is used", where=path,
            hint="estimate one: bart ecalib -m 1",
        )  # fmt: skip
    across = PHS2 if stored.shape[PHS2] > 1 else SLICE
    expected = {READ: rows, PHS1: columns, COIL: coils}
    wrong = [n for n, size in enumerate(stored.shape) if size != expected.get(n, 1) and n != across]
    if wrong or stored.shape[across] not in (1, slices):
        raise MedscoreError(
            f"coil maps of {_shown(stored.shape)} do not fit k-space of {rows} x {columns} samples "
            f"of {coils} coils in {slices} slices", where=path, hint="use those of this scan",
        )  # fmt: skip
    order = [across, COIL, READ, PHS1]
    rest = [number for number in range(DIMENSIONS) if number not in order]
    maps = stored.transpose([*order, *rest]).reshape([stored.shape[n] for n in order])
    if not np.isfinite(maps).all() or not maps.any():
        raise MedscoreError("holds NaN, infinity, or nothing", where=path, hint=HINT)
    return np.ascontiguousarray(maps)


def _shown(shape: tuple[int, ...]) -> str:
    kept = len(shape)
    while kept > 1 and shape[kept - 1] == 1:
        kept -= 1
    return " x ".join(str(size) for size in shape[:kept])
