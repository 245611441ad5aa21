"""The memory budget: its sizes and limits, and how much memory the readers need."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medscore.errors import MedscoreError
from medscore.io import budget
from medscore.io.budget import VARIABLE, check_memory, memory_budget, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GiB", 16 * 2**30), ("16G", 16 * 2**30), ("1.5 gb", 3 * 2**29), ("500M", 500 * 2**20),
        ("8000000000", 8_000_000_000), ("2T", 2**41), ("64k", 2**16), ("7B", 7),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "much", "1e9", "nan", "inf", "9" * 30, "1 X", "G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(MedscoreError, match=VARIABLE):
        parse_size(text)


def test_the_default_is_a_quarter_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(budget, "machine_memory", lambda: 8 * 2**30)
    assert memory_budget() == 2 * 2**30
    check_memory(2 * 2**30, "x")
    with pytest.raises(MedscoreError, match=r"x: declares 3 GiB .* budget of 2 GiB .*MEDSCORE_MEM"):
        check_memory(3 * 2**30, "x")
    monkeypatch.setenv(VARIABLE, "4G")
    check_memory(3 * 2**30, "x")


@pytest.mark.parametrize(
    ("lines", "files", "limit"),
    [
        ("0::/a/b", {"a/memory.max": "5", "a/b/memory.max": "max"}, 5),
        ("0::/", {"memory.max": "7"}, 7),
        ("4:cpu,memory:/c", {"memory/c/memory.limit_in_bytes": "3"}, 3),
        ("4:cpu:/c", {"memory/c/memory.limit_in_bytes": "3"}, 9),
        ("nonsense", {}, 9),
    ],
)
def test_the_limit_of_a_container_counts(
    lines: str, files: dict[str, str], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(budget, "CGROUPS", tmp_path)
    monkeypatch.setattr(budget, "GROUPS_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(budget, "_physical", lambda: 9)
    budget.machine_memory.cache_clear()
    try:
        assert budget.machine_memory() == limit
    finally:
        budget.machine_memory.cache_clear()


PEAK = """
import resource, sys
from medscore.datasets.load import read_volume
from medscore.datasets.collections.archives import read_archive
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
kept = read_volume(sys.argv[1]).values.nbytes if sys.argv[2] == "image" else (
    read_archive(sys.argv[1])[0].nbytes)
print(kept, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["<i2", "<f4", "<f8"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".npz"])
def test_reading_takes_at_most_four_times_what_is_kept(
    ending: str, kind: str, tmp_path: Path
) -> None:
    import nibabel as nib

    values = np.zeros((256, 256, 160), kind)
    values[99:] = 7
    path = tmp_path / f"x{ending}"
    if ending == ".npz":
        np.savez_compressed(path, hu=values, patient=np.array(["a"] * 256))
    else:
        image = nib.Nifti1Image(values, np.diag([-1.0, 1, 1, 1]))
        image.header.set_slope_inter(2, -1000)
        nib.save(image, path)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), "slices" if ending == ".npz" else "image"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, peak = map(int, done.stdout.split())
    assert kept == 4 * values.size
    assert peak <= 4 * kept
