"""Units of NIfTI headers: lengths are in mm whatever the header counts in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.nifti import read_nifti, write_nifti

Refused = Callable[..., str]
AFFINE = np.array(
    [[-0.8, 0.1, 0, 90.5], [0.1, -0.8, 0.2, -50.5], [0, 0.2, 2.5, 7.25], [0, 0, 0, 1]]
)
IN_MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


def _image(
    shape: tuple[int, ...], affine: NDArray[np.float64], kind: Any = nib.Nifti1Image, **units: str
) -> Any:
    image = kind(np.random.default_rng(0).normal(size=shape).astype(np.float32), affine)
    image.header.set_xyzt_units(**units)
    return image


def _saved(path: Path, image: Any) -> Path:
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("forms", ["sform", "qform", "pixdim"])
@pytest.mark.parametrize("unit", IN_MM)
def test_one_image_in_three_units_has_one_affine(
    tmp_path: Path, unit: str, forms: str, kind: Any
) -> None:
    scaled = np.diag([-0.8, -0.8, 2.5, 1.0]) if forms != "sform" else AFFINE.copy()
    scaled[:3] /= IN_MM[unit]
    image = _image((5, 4, 3), scaled, kind, xyz=unit)
    if forms == "qform":
        image.set_sform(None)
    elif forms == "pixdim":
        image.set_sform(None)
        image.set_qform(None)
    volume = read_nifti(_saved(tmp_path / "a.nii", image))
    if forms == "sform":
        np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-5, atol=1e-5)
    else:
        assert volume.spacing == pytest.approx((0.8, 0.8, 2.5), rel=1e-5)
    converted = [note for note in volume.source.notes if "converted" in note]
    assert len(converted) == (unit != "mm")


def test_an_unknown_unit_is_mm_with_a_note(tmp_path: Path) -> None:
    volume = read_nifti(_saved(tmp_path / "a.nii", _image((5, 4, 3), AFFINE, xyz="unknown")))
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-5, atol=1e-5)
    assert "mm are assumed" in volume.source.notes[0]


@pytest.mark.parametrize("factor", [1e3, 1e-3])
def test_an_unknown_unit_that_cannot_be_mm_is_refused(
    tmp_path: Path, refused: Refused, factor: float
) -> None:
    affine = np.diag([-0.8 * factor, -0.8 * factor, 2.5 * factor, 1.0])
    path = _saved(tmp_path / "a.nii", _image((64, 64, 3), affine, xyz="unknown"))
    assert "no unit of lengths" in refused(read_nifti, path)


@pytest.mark.parametrize(
    ("unit", "step", "said"),
    [("sec", 2.5, "at 6 s"), ("msec", 2500, "at 6 s"), ("usec", 2.5e6, "at 6 s"),
     ("hz", 10, "at 21 Hz"), ("ppm", 2, "at 5 ppm"), ("rads", 2, "at 5 rad/s"),
     ("unknown", 2, "from 0")],
)  # fmt: skip
def test_a_volume_of_several_is_placed_in_the_unit_of_the_fourth_axis(
    tmp_path: Path, unit: str, step: float, said: str
) -> None:
    image = _image((5, 4, 3, 4), np.diag([-1.0, -1, 1, 1]), xyz="mm", t=unit)
    image.header["pixdim"][4] = step
    image.header["toffset"] = {"sec": 1, "msec": 1e3, "usec": 1e6}.get(unit, 1)
    (note,) = read_nifti(_saved(tmp_path / "a.nii", image), channel=2).source.notes
    assert note.startswith("volume 2 of 4")
    assert note.endswith(said)


def test_what_is_written_states_its_unit(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), AFFINE)
    assert nib.load(tmp_path / "a.nii.gz").header.get_xyzt_units()[0] == "mm"
    assert read_nifti(tmp_path / "a.nii.gz").source.notes == ()
