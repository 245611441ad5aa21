"""From any format of image to any other, on the command line: a marked voxel keeps its place."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from medscore.datasets.dicom.write import write_dicom_series
from medscore.datasets.formats.write import write_image
from medscore.datasets.load import read_volume
from medscore.datasets.volume import Source

Command = Callable[..., Any]
AFFINE = np.array([[-2.0, 0, 0, 31.25], [0, -1.92, -1.4, -20.5], [0, -0.56, 4.8, 77.125],
                   [0, 0, 0, 1]])  # fmt: skip
"""Axes of 2 and 5 mm, turned about the first."""

PLACE = (11, 6, 1)
"""Column, row and slice of the marked voxel."""

INPUTS = ("a.nii", "a.nrrd", "a.mha", "a.npz", "series", "series.zip")


@pytest.fixture(scope="module")
def head() -> NDArray[np.float32]:
    """Water with one voxel of bone, in air."""
    hu = np.full((2, 16, 16), -1000, np.float32)
    hu[:, 3:13, 3:13] = 0
    hu[PLACE[::-1]] = 2000
    return hu


def save(path: Path, hu: NDArray[np.float32]) -> Path:
    """An image in a format that is read."""
    if path.suffix == ".zip":
        folder = save(path.with_suffix(""), hu)
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"x/{file.name}")
        shutil.rmtree(folder)
    elif not path.suffix:
        path.mkdir()
        write_dicom_series(path, hu, AFFINE, Source("dicom", "ab"), description="x", version="0")
        for file in path.iterdir():
            file.write_bytes(
                file.read_bytes().replace(b"DERIVED\\SECONDARY", b"ORIGINAL\\PRIMARY ")
            )
    else:
        write_image(path, hu, AFFINE, "CT")
    return path


def brightest(values: NDArray[Any], affine: NDArray[Any]) -> NDArray[np.float64]:
    """Place in RAS mm of the brightest voxel of (i, j, k)."""
    place = np.unravel_index(int(np.asarray(values).argmax()), values.shape)
    return np.asarray(nib.affines.apply_affine(affine, place))


def places(folder: Path, image: str) -> list[NDArray[np.float64]]:
    """The brightest voxel of every image of a reconstruction, by nibabel and SimpleITK."""
    nifti: Any = nib.load(folder / "recon.nii.gz")
    found = [brightest(nifti.dataobj, nifti.affine)]
    for name in ("recon.nii.gz", image):
        if name.endswith((".npy", ".npz")):
            continue
        itk = SimpleITK.ReadImage(str(folder / name))
        values = SimpleITK.GetArrayFromImage(itk)
        place = np.unravel_index(int(values.argmax()), values.shape)
        lps = itk.TransformIndexToPhysicalPoint([int(i) for i in place[::-1]])
        found.append(np.multiply(lps, (-1, -1, 1)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "image"),
    list(zip(INPUTS, ("r.nrrd", "r.mha", "r.npy", "r.npz", "r.nii", "R.NRRD"), strict=True)),
)
def test_a_marked_voxel_keeps_its_place_from_simulation_to_reconstruction(
    name: str, image: str, head: NDArray[np.float32], done: Command, tmp_path: Path
) -> None:
    path = save(tmp_path / name, head)
    options = ("--resample",) if "series" in name else ()
    done("simulate", path, "--views", 60, "-o", tmp_path / "m.h5", *options)
    out = tmp_path / "out"
    done("recon", tmp_path / "m.h5", "--baseline", "fbp", "-o", out, "--image", image,
         "--reference", path)  # fmt: skip
    truth = (AFFINE @ (*PLACE, 1))[:3]
    for found in places(out, image):
        np.testing.assert_allclose(found, truth, atol=1e-4)
    recon = read_volume(out / "recon.nii.gz")
    same = {"spacing": (2.0, 2.0, 5.0)} if image.endswith(".npy") else {}
    again = read_volume(out / image, **same)
    np.testing.assert_array_equal(again.values, recon.values)
    if not same:
        np.testing.assert_allclose(again.affine, recon.affine, atol=1e-5)


def test_an_array_takes_its_spacing_and_modality_as_options(
    head: NDArray[np.float32], done: Command, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", head + 1000)
    done("simulate", tmp_path / "a.npy", "--task", "sr", "--spacing", "0.5,0.5,3", "--modality",
         "MR", "-o", tmp_path / "m.h5")  # fmt: skip
    assert "modality: MR" in done("inspect", tmp_path / "m.h5").out


def test_inspect_describes_arrays_and_volumes(
    head: NDArray[np.float32], done: Command, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", first=head, second=head, spacing=[2, 2, 5.0])
    text = done("inspect", tmp_path / "a.npz", "--array", "second", "--slices", "1:2").out
    assert "array image" in text
    assert "1 of 16 x 16" in text
    assert "2 x 2 x 5 mm" in text
    assert "nrrd image" in done("inspect", save(tmp_path / "a.nrrd", head)).out


def test_options_that_a_file_has_no_use_for_are_refused(
    head: NDArray[np.float32], refused: Callable[..., str], tmp_path: Path
) -> None:
    nrrd = save(tmp_path / "a.nrrd", head)
    assert "--array is" in refused("simulate", nrrd, "--array", "x", "-o", tmp_path / "m.h5")
    assert "--spacing applies" in refused("simulate", nrrd, "--spacing", 2, "-o", tmp_path / "m.h5")
    message = refused("simulate", nrrd, "--modality", "MR", "-o", tmp_path / "m.h5")
    assert "sparse-ct is measured of CT" in message


@pytest.mark.parametrize("name", ["a/b.nrrd", "../b.nrrd", "b.tif", "std.nii.gz", ".nrrd", "b"])
def test_an_image_must_be_a_name_in_the_folder(
    name: str, head: NDArray[np.float32], done: Command, medscore: Command, tmp_path: Path
) -> None:
    done("simulate", save(tmp_path / "a.nrrd", head), "--views", 8, "-o", tmp_path / "m.h5")
    result = medscore("recon", tmp_path / "m.h5", "--baseline", "fbp", "-o", tmp_path / "out",
                      "--image", name)  # fmt: skip
    assert result.code == 2
    assert "--image is" in result.err
    assert not (tmp_path / "out").exists()
