"""Cores that control groups grant, in files as Linux writes them."""

import math
from pathlib import Path

import pytest

from medscore.io import machine

CPUS = tuple(range(8))

V2 = {"proc/self/cgroup": "0::/user.slice/job7\n"}
V1 = {"proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n2:cpuset:/other\n"}


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "allowed_cpus", lambda: CPUS)


@pytest.mark.parametrize(
    ("files", "limit", "cores"),
    [
        ({}, math.inf, 8),
        (V2, math.inf, 8),
        (V2 | {"sys/fs/cgroup/user.slice/job7/cpu.max": "max 100000\n"}, math.inf, 8),
        (V2 | {"sys/fs/cgroup/user.slice/job7/cpu.max": "200000 100000\n"}, 2, 2),
        (V2 | {"sys/fs/cgroup/user.slice/job7/cpu.max": "290000 100000\n"}, 2.9, 2),
        (V2 | {"sys/fs/cgroup/user.slice/job7/cpu.max": "50000 100000\n"}, 0.5, 1),
        (V2 | {"sys/fs/cgroup/user.slice/job7/cpu.max": "1600000 100000\n"}, 16, 8),
        # the limit of a group that contains the process's own
        (
            V2
            | {"sys/fs/cgroup/user.slice/job7/cpu.max": "600000 100000\n"}
            | {"sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n"},
            3,
            3,
        ),
        # in a container only the top of the path is mounted
        (V2 | {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4, 4),
        (
            V1
            | {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n"}
            | {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "50000\n"},
            3,
            3,
        ),
        (
            V1
            | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}
            | {"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
            8,
        ),
    ],
)
def test_cores_follow_the_limit_of_the_control_groups(
    tmp_path: Path, files: dict[str, str], limit: float, cores: int
) -> None:
    root = system(tmp_path, files)
    assert (machine.cpu_limit(root), machine.cores(root)) == (limit, cores)


def test_threads_of_a_core_are_counted_once(tmp_path: Path) -> None:
    siblings = {
        f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i % 4},{i % 4 + 4}\n"
        for i in CPUS
    }
    assert machine.physical_cores(system(tmp_path, siblings)) == 4


def test_without_a_topology_every_processor_is_a_core(tmp_path: Path) -> None:
    assert machine.physical_cores(tmp_path) == 8


def test_this_machine_has_a_core_and_a_processor() -> None:
    assert 1 <= machine.cores() <= 8
    assert machine.processor()
