"""Names of folders and files mean themselves, even where they hold glob characters."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medscore.datasets.collections.cohort import read_cohort
from medscore.datasets.collections.pictures import load_pictures
from medscore.datasets.collections.slices import load_slices
from medscore.datasets.collections.sources import matching_paths

NAMES = ("data", "data [final]", "a[b]", "what?", "st*r", "größe ☃", "[!x]")


def _volume(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).uniform(0, 100, (16, 16, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), path)


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def _trained(pattern: str, root: Path) -> int:
    found = load_slices([pattern], root=root, side=8, low=0.0, high=1.0, quantity="magnitude")
    return len(found.images)


def _evaluated(pattern: str, root: Path) -> int:
    return len(read_cohort([pattern], root=root, modality="MR", size=8))


def _pictured(pattern: str, root: Path) -> int:
    return 2 * len(load_pictures([pattern], root=root, size=8, colour=False).images)


READERS: list[tuple[Callable[[str, Path], int], Callable[[Path], None], str]] = [
    (_trained, _volume, ".nii"), (_evaluated, _volume, ".nii"), (_pictured, _picture, ".png"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("read", "write", "suffix"), READERS)
def test_every_reader_finds_files_under_any_name(
    tmp_path: Path, read: Callable[[str, Path], int], write: Callable[[Path], None], suffix: str,
    name: str,
) -> None:  # fmt: skip
    write(tmp_path / name / f"x{suffix}")
    assert read(f"*{suffix}", tmp_path / name) == 2  # in the root's name
    assert read(f"{name}/*{suffix}", tmp_path) == 2  # in the pattern
    assert read(f"{tmp_path}/{name}/*{suffix}", Path("elsewhere")) == 2  # in an absolute one
    shutil.rmtree(tmp_path / name)
    write(tmp_path / f"{name}{suffix}")
    assert read(f"{name}{suffix}", tmp_path) == 2  # in the name of the file


@pytest.mark.parametrize("name", NAMES)
def test_an_existing_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    for folder in (name, "b", "whatx", "star"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "f1").write_text("")
    assert matching_paths(f"{name}/f?", tmp_path) == [tmp_path / name / "f1"]
    assert matching_paths(name, tmp_path) == [tmp_path / name]


def test_what_names_nothing_stays_a_pattern(tmp_path: Path) -> None:
    for name in ("p1", "p2", "q1"):
        (tmp_path / name / "deep").mkdir(parents=True)
    assert [p.name for p in matching_paths("[p]?", tmp_path)] == ["p1", "p2"]
    assert len(matching_paths("**/deep", tmp_path)) == 3
