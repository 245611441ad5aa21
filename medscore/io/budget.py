"""The memory budget: sizes that files declare are checked against it before anything is allocated.

A file of a few megabytes can declare an array of many gigabytes and hold it compressed. The budget
bounds what one file may keep in memory as an array. It is a quarter of the machine's memory, or of
the limit of the container (cgroup), because reading takes up to four times of what is kept. The
environment variable ``MEDSCORE_MEMORY``, such as ``16GiB``, sets another.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from medscore.errors import MedscoreError

VARIABLE = "MEDSCORE_MEMORY"
"""Environment variable that sets the budget."""

SHARE = 4
"""The default budget is the memory of the machine divided by this."""

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
CGROUPS = Path("/sys/fs/cgroup")
GROUPS_OF_PROCESS = Path("/proc/self/cgroup")


def memory_budget() -> int:
    """The budget in bytes.

    Raises:
        MedscoreError: ``MEDSCORE_MEMORY`` is not a size.
    """
    stated = os.environ.get(VARIABLE, "").strip()
    return parse_size(stated) if stated else machine_memory() // SHARE


def parse_size(text: str, name: str = VARIABLE) -> int:
    """A size in bytes from a text such as 16GiB, 500M or 8000000000.

    Args:
        text: a number with an optional unit; units are powers of 1024.
        name: name of the parameter or variable in the message.

    Raises:
        MedscoreError: it is no positive size.
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if size < 1:
        raise MedscoreError(f"{name} is {text!r:.60}", hint="use a size such as 16GiB")
    return size


def check_memory(kept: int, where: str | Path | None, what: str = "values") -> None:
    """Refuse what would not fit into the budget, before it is allocated.

    Args:
        kept: bytes that the array will keep in memory.
        where: file to name in the error.
        what: noun for the content.

    Raises:
        MedscoreError: it exceeds the budget.
    """
    budget = memory_budget()
    if kept > budget:
        raise MedscoreError(
            f"declares {in_gib(kept)} of {what}, more than the memory budget of {in_gib(budget)}",
            where=where,
            hint=f"read a part of it, or set the environment variable {VARIABLE} to a larger size",
        )


def in_gib(size: int) -> str:
    """A size in GiB, with three digits.

    Args:
        size: number of bytes.
    """
    return f"{size / 2**30:.3g} GiB"


@lru_cache(maxsize=1)
def machine_memory() -> int:
    """Memory of the machine in bytes, or the limit of the process's control group if lower."""
    limits = [_physical(), *_cgroup_limits()]
    return min(limit for limit in limits if limit > 0)


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no such call: assume a small machine
        return 8 * 2**30


def _cgroup_limits() -> list[int]:
    """Limits of the process's control group and all groups above it, of version 1 and 2."""
    found = []
    try:
        lines = GROUPS_OF_PROCESS.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CGROUPS / "memory" if controllers else CGROUPS
        limit = "memory.limit_in_bytes" if controllers else "memory.max"
        group = Path(name.lstrip("/"))
        found += [_limit(root / part / limit) for part in (group, *group.parents)]
    return found


def _limit(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return 0
