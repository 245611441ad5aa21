"""Arrays by name of any file that holds arrays: NumPy, MATLAB, HDF5, TIFF.

The format is told by the first bytes. A file with a single array without a name, .npy or TIFF, has
the name "" for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from medscore.errors import MedscoreError, reading
from medscore.io.hdf5 import array, member, open_hdf5
from medscore.io.mat_files import is_mat, open_mat
from medscore.io.numpy_files import is_npz, npy_header, open_npz, read_npy
from medscore.io.opening import open_file, regular_file
from medscore.io.tiff_stack import read_tiff

NPY, HDF5, TIFF = b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of the formats."""

SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".mat", ".h5", ".hdf5", ".hdf")
"""Names of the formats, so that a damaged file is refused as what it should be."""

SHOWN = 6
"""Arrays that a message lists."""


@dataclass(frozen=True)
class Arrays:
    """The arrays of an open file.

    Attributes:
        where: the file.
        shapes: shape of each array, and NumPy's letter of the kind of its values.
        read: reads an array by its name.
        units: unit of each array that states one.
    """

    where: Path
    shapes: Mapping[str, tuple[tuple[int, ...], str]]
    read: Callable[[str], NDArray[Any]]
    units: Mapping[str, str] = field(default_factory=dict)

    def one(self, name: str | None, axes: tuple[int, ...], kinds: str) -> str:
        """The name of the array to use.

        Args:
            name: the name that was asked for; by default the only one that fits.
            axes: numbers of axes, of which two at least are longer than 1, that fit.
            kinds: kinds of values that fit.

        Raises:
            MedscoreError: there is no such array, none that fits, or several of them.
        """
        if name is not None:
            return self.named(name)
        fitting = {
            found: shape
            for found, (shape, kind) in self.shapes.items()
            if len(shape) in axes and kind in kinds and sum(n > 1 for n in shape) > 1
        }
        if len(fitting) == 1:
            return next(iter(fitting))
        shown = ", ".join(f"{found} {shape}" for found, shape in list(fitting.items())[:SHOWN])
        if fitting:
            raise MedscoreError(
                f"holds {len(fitting)} arrays that may be the data: {shown}", where=self.where,
                hint=f"set array in the geometry to one, such as {next(iter(fitting))}",
            )  # fmt: skip
        wanted = f"{axes[0]} to {axes[-1]}" if len(axes) > 2 else " or ".join(map(str, axes))
        every = ", ".join(f"{n or 'one array'} {shape}" for n, (shape, _) in self.shapes.items())
        raise MedscoreError(
            f"holds no array of {wanted} axes of {'complex' if kinds == 'c' else 'real'} numbers, "
            f"only {every[:200] or 'nothing'}", where=self.where,
            hint="set `geometry`, if these are CT projections" if kinds == "c"
            else "leave `geometry` out, if this is k-space",
        )  # fmt: skip

    def named(self, name: str) -> str:
        """The name of an array as the file spells it.

        Args:
            name: the name, of members of structures with dots or slashes.

        Raises:
            MedscoreError: there is no such array.
        """
        for spelled in (name, name.replace("/", "."), name.replace(".", "/"), name.strip("/")):
            if spelled in self.shapes:
                return spelled
        near = get_close_matches(name, self.shapes, 1, 0) or [""]
        raise MedscoreError(
            f"has no array {name!r}", where=self.where,
            hint=f"set array to {near[0]}" if near[0] else "leave array out: there is only one",
        )  # fmt: skip


@contextmanager
def open_arrays(path: str | os.PathLike[str], hint: str = "") -> Iterator[Arrays]:
    """Open a NumPy, MATLAB, HDF5 or TIFF file.

    Args:
        path: the file.
        hint: what the user can do if it cannot be read.

    Raises:
        MedscoreError: there is no such file, it has another format, or it cannot be read.
    """
    path = regular_file(path)
    with open_file(path) as file:
        begins = file.read(8)
    suffix = path.suffix.lower()
    if begins.startswith(NPY) or suffix == ".npy":
        with open_file(path) as file, reading("NumPy", path, hint):
            shape, dtype = npy_header(file)
        yield Arrays(path, {"": (shape, dtype.kind)}, lambda name: read_npy(path, hint=hint))
    elif is_npz(path) or suffix == ".npz":
        with open_npz(path, "NumPy", hint) as archive:
            shapes = {n: (s, t.kind) for n, (s, t) in ((n, archive.header(n)) for n in archive)}
            yield Arrays(path, shapes, archive.__getitem__)
    elif begins.startswith(TIFF) or suffix in (".tif", ".tiff"):
        stack = read_tiff(path)
        yield Arrays(path, {"": (stack.shape, stack.dtype.kind)}, lambda name: stack)
    elif is_mat(path) or suffix == ".mat":
        with open_mat(path, hint) as found:
            yield Arrays(
                path, {n: (v.shape, v.dtype.kind) for n, v in found.items()}, found.__getitem__
            )
    elif begins == HDF5 or suffix in (".h5", ".hdf5", ".hdf"):
        with open_hdf5(path, hint=hint) as file:
            yield _hdf5(path, file)
    else:
        raise MedscoreError(
            "is no NumPy, MATLAB, HDF5 or TIFF file", where=path, hint=hint or "convert it to one"
        )


def _hdf5(path: Path, file: Any) -> Arrays:
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    units: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "biufc":
            shapes[name] = item.shape, item.dtype.kind
            unit = item.attrs.get("units")
            if isinstance(unit, str | bytes):
                units[name] = unit.decode(errors="replace") if isinstance(unit, bytes) else unit

    file.visititems(visit)
    return Arrays(path, shapes, lambda name: array(member(file, name), "biufc"), units)


def is_array_file(path: str | os.PathLike[str]) -> bool:
    """True if a regular file is a NumPy, MATLAB, HDF5 or TIFF file, by its first bytes or its name.

    Args:
        path: the file.

    Raises:
        MedscoreError: it is no regular file.
    """
    with open_file(path) as file:
        begins = file.read(8)
    known = (NPY, HDF5, *TIFF)
    return begins.startswith(known) or is_mat(path) or Path(path).suffix.lower() in SUFFIXES
