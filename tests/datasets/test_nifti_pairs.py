"""NIfTI and Analyze pairs, and endings in capitals: the same image as in one file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medscore.datasets.load import is_image, read_volume
from medscore.errors import MedscoreError

Refused = Callable[..., str]
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])


def save(path: Path, kind: Any = nib.Nifti1Image) -> Path:
    """An image of a kind."""
    image = kind(VALUES, AFFINE)
    if hasattr(image.header, "set_xyzt_units"):
        image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.img", nib.Nifti1Pair), ("a.hdr", nib.Nifti1Pair), ("a.img", nib.Nifti2Pair),
     ("a.img.gz", nib.Nifti1Pair), ("a.hdr.gz", nib.Nifti1Pair), ("a.NII.GZ", nib.Nifti1Image),
     ("a.NII", nib.Nifti1Image), ("a.img", nib.Spm99AnalyzeImage)],
)  # fmt: skip
def test_each_form_reads_as_one_file_does(name: str, kind: Any, tmp_path: Path) -> None:
    expected = read_volume(save(tmp_path / "one.nii"))
    path = save(tmp_path / name, kind)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.values, expected.values)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-6)
    assert is_image(path)


def test_both_files_of_a_pair_give_one_hash_that_covers_both(tmp_path: Path) -> None:
    path = save(tmp_path / "a.img", nib.Nifti1Pair)
    one, other = (read_volume(path.with_suffix(s)).source.sha256 for s in (".hdr", ".img"))
    assert one == other
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_volume(path).source.sha256 != one


def test_analyze_states_its_spacing_and_no_orientation(tmp_path: Path, refused: Refused) -> None:
    path = save(tmp_path / "a.img", nib.AnalyzeImage)
    volume = read_volume(path)
    assert sorted(volume.spacing) == pytest.approx([1.5, 2.0, 3.0])
    assert any("no orientation" in note for note in volume.source.notes)
    header = bytearray(path.with_suffix(".hdr").read_bytes())
    header[80:92] = bytes(12)  # pixdim[1:4]
    path.with_suffix(".hdr").write_bytes(header)
    message = refused(read_volume, path.with_suffix(".hdr"))
    assert "without the size of its voxels" in message


@pytest.mark.parametrize(("given", "other"), [("a.hdr", "a.img"), ("a.img", "a.hdr")])
@pytest.mark.parametrize("fault", ["missing", "pipe", "short"])
def test_a_pair_of_which_one_file_cannot_be_read_is_refused(
    given: str, other: str, fault: str, tmp_path: Path
) -> None:
    save(tmp_path / "a.img", nib.Nifti1Pair)
    content = (tmp_path / other).read_bytes()
    (tmp_path / other).unlink()
    if fault == "pipe":
        os.mkfifo(tmp_path / other)
    elif fault == "short":
        (tmp_path / other).write_bytes(content[: len(content) // 2])
    with pytest.raises(MedscoreError):
        read_volume(tmp_path / given)
