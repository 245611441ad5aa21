"""The arrays of an open file by name, whatever its format, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medscore.errors import MedscoreError

ONLY = ""
"""Name of the array of a file that holds a single one without a name, such as .npy."""

UNREAD = "O"
"""Kind of what is not read: structures, cells, objects, groups."""

EXACT = 2**16
"""Most values of an array in HDF5, such as angles or a map to mm, that keep their precision; larger
ones are converted to single precision as they are read, which saves memory."""

SHOWN = 6
"""Arrays that a message lists."""


@dataclass(frozen=True)
class Entry:
    """What a file holds under a name.

    Attributes:
        shape: shape of the array; () for what is none.
        kind: NumPy's letter of the kind of its values; ``UNREAD`` for what is not read.
        type: what the file calls it, such as int16, char or struct.
        unit: unit that the file states; empty if it states none.
    """

    shape: tuple[int, ...]
    kind: str
    type: str
    unit: str = ""


@dataclass(frozen=True)
class Arrays:
    """The arrays of an open file.

    Attributes:
        where: the file.
        top: what the file holds by name, but for the members of structures and groups.
        read: reads an array by its name.
        members: lists the arrays in structures and groups; some formats must be read for it.
    """

    where: Path
    top: Mapping[str, Entry]
    read: Callable[[str], NDArray[Any]]
    members: Callable[[], Mapping[str, Entry]] = dict

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of real numbers that is no member of a structure."""
        return {name: each.shape for name, each in self.top.items() if each.kind in "iuf"}

    @property
    def others(self) -> dict[str, str]:
        """Type of what else there is: texts, structures, complex numbers."""
        return {name: each.type for name, each in self.top.items() if each.kind not in "iuf"}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All arrays of numbers and texts, with those in structures and groups."""
        every = {**self.top, **self.members()}
        return {name: each for name, each in every.items() if each.kind != UNREAD}

    def entry(self, name: str) -> Entry:
        """What the file holds under a name, members of structures included.

        Args:
            name: the name, as the file spells it.

        Raises:
            KeyError: there is nothing of that name.
        """
        return self.top[name] if name in self.top else self.entries[name]

    def spelled(self, name: str) -> str | None:
        """The name of an array as the file spells it; None if there is no such array.

        Args:
            name: the name, of members of structures with dots or slashes.
        """
        if name in self.top and self.top[name].kind != UNREAD:
            return name
        spellings = (name, name.replace("/", "."), name.replace(".", "/"), name.strip("/"))
        return next((each for each in spellings if each in self.entries), None)

    def named(self, name: str) -> str:
        """The name of an array as the file spells it.

        Args:
            name: the name, of members of structures with dots or slashes.

        Raises:
            MedscoreError: there is no such array.
        """
        found = self.spelled(name)
        if found is not None:
            return found
        near = get_close_matches(name, self.entries, 1, 0) or [ONLY]
        raise MedscoreError(
            f"has no array {name!r}", where=self.where,
            hint=f"set array to {near[0]}" if near[0] else "leave array out: there is only one",
        )  # fmt: skip

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
            found: each.shape
            for found, each in self.entries.items()
            if len(each.shape) in axes and each.kind in kinds and sum(n > 1 for n in each.shape) > 1
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
        every = ", ".join(f"{n or 'one array'} {each.shape}" for n, each in self.entries.items())
        raise MedscoreError(
            f"holds no array of {wanted} axes of {'complex' if kinds == 'c' else 'real'} numbers, "
            f"only {every[:200] or 'nothing'}", where=self.where,
            hint="set `geometry`, if these are CT projections" if kinds == "c"
            else "leave `geometry` out, if this is k-space",
        )  # fmt: skip
