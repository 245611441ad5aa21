"""What the operating system grants this process: its cores and processor.

In a container or a job of a cluster the machine is larger than what the process may use. The limits
are those of the CPU affinity (``sched_getaffinity``, which cpusets change too) and of the control
groups that the process lies in, of version 1 or 2 (Linux, ``cgroup-v1/`` and ``cgroup-v2.rst`` of
its documentation). The memory is that of :mod:`medscore.io.budget`.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def allowed_cpus() -> tuple[int, ...]:
    """The numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_limit(root: Path = ROOT) -> float:
    """The CPU time per unit of time that the control groups grant; infinity without a limit.

    Args:
        root: root of the file system.
    """
    return min(_cpu_limits(root), default=math.inf)


def cores(root: Path = ROOT) -> int:
    """The number of cores that this process can keep busy, at least 1.

    A limit between two whole numbers is rounded down: one thread more would only be throttled, and
    the others would wait for it.

    Args:
        root: root of the file system.
    """
    return max(1, int(min(len(allowed_cpus()), cpu_limit(root))))


def physical_cores(root: Path = ROOT) -> int:
    """The number of physical cores behind the processors that this process may run on.

    Args:
        root: root of the file system.
    """
    folder = root / "sys/devices/system/cpu"
    files = [folder / f"cpu{i}/topology/thread_siblings_list" for i in allowed_cpus()]
    return len({_read(file) or str(file) for file in files})


def processor(root: Path = ROOT) -> str:
    """The model of the processor.

    Args:
        root: root of the file system.
    """
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def load() -> float:
    """The mean number of busy processes during the last minute; NaN if the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has none
        return math.nan


def _cpu_limits(root: Path) -> Iterator[float]:
    for group in _groups(root):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if not quota:
            quota = _read(group / "cpu.cfs_quota_us")
            period = _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # not max, not -1
            yield int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the process's control groups and of all groups that contain them."""
    base = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = (base / controllers, base / "cpu") if controllers else (base, base / "unified")
        for top in tops:
            group = top / path.lstrip("/")
            while group.is_relative_to(top):  # a container may see only the top of its path
                yield group
                group = group.parent


def _read(file: Path) -> str:
    """The text of a small file of the system, stripped; empty if it cannot be read."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
