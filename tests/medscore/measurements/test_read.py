"""``measure``: the kind of raw data at a path, and the parameters of that kind."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from medscore.errors import MedscoreError
from medscore.measurements.read import measure
from medscore.operators.ct.radon import Radon
from medscore.operators.mri.fourier import fft2c


@pytest.fixture
def head() -> NDArray[np.float32]:
    y, x = np.mgrid[-15.5:16, -15.5:16]
    return np.float32([np.hypot(x, y) < 12, np.hypot(x, y - 2) < 9]) * 100


@pytest.fixture
def kspace(tmp_path: Path, head: NDArray[np.float32]) -> Path:
    np.save(tmp_path / "k.npy", fft2c(torch.from_numpy(head)[:, None] + 0j).numpy())
    return tmp_path / "k.npy"


@pytest.fixture
def projections(tmp_path: Path) -> dict[str, Path]:
    data = np.random.default_rng(0).uniform(0.1, 2, (2, 60, 46)).astype(np.float32)
    tifffile.imwrite(tmp_path / "p.tif", data)
    (tmp_path / "g.yaml").write_text(
        "{beam: parallel, views: 60, size: 32, spacing: 3.0, detector_spacing: 3.0}"
    )
    return {"path": tmp_path / "p.tif", "geometry": tmp_path / "g.yaml"}


@pytest.fixture
def metal(tmp_path: Path, head: NDArray[np.float32]) -> Path:
    hu = np.where(head > 0, 40.0, -1000.0)
    hu[0, 15:17, 15:17] = 8000
    affine = np.diag([-3.0, -3, 5, 1])
    nib.save(nib.Nifti1Image(np.float32(hu).transpose(2, 1, 0), affine), tmp_path / "metal.nii")
    return tmp_path / "metal.nii"


@pytest.mark.parametrize("spacing", [2.0, (2.0, 2.0), [2.0, 2.0]])
def test_kspace_with_its_target(kspace: Path, head: NDArray[np.float32], spacing: Any) -> None:
    made, target = measure(kspace, spacing=spacing, acceleration=2.0, target="magnitude")
    assert made.task == "mri"
    assert made.spacing == (2, 2)
    assert target is not None
    np.testing.assert_allclose(target, head, atol=1e-3)
    mask = made.operator.diagonal
    assert 0.4 < float(mask.float().mean()) < 0.6
    assert measure(str(kspace), spacing=2.0)[1] is None


def test_a_range_of_slices_and_a_lower_resolution(kspace: Path) -> None:
    made, _ = measure(kspace, spacing=2.0, slices=(1, 2), size=16)
    assert made.data.shape == (1, 1, 16, 16)
    assert made.spacing == (4, 4)


def test_a_stack_of_projections(projections: dict[str, Path]) -> None:
    made, target = measure(str(projections["path"]), geometry=str(projections["geometry"]))
    assert isinstance(made.operator, Radon)
    assert (made.task, made.noise, target) == ("ct-projections", "unknown", None)


def test_an_image_with_metal(metal: Path) -> None:
    made, target = measure(metal, margin=0, slices="0:1")
    assert (made.task, made.noise, target) == ("mar", "estimate:uniform", None)
    wide, _ = measure(metal, margin=2, slices="0:1")
    assert wide.operator.diagonal.sum() < made.operator.diagonal.sum()
    with pytest.raises(MedscoreError, match="no metal"):
        measure(metal, slices="1:2")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"maps": "guess"}, "`maps` is 'guess'"),
        ({"mask": "star"}, "`mask` is 'star'"),
        ({"target": "best"}, "`target` is 'best'"),
        ({"size": 4}, "`size` is 4"),
        ({"size": 64}, "`size` is 64"),
        ({"margin": -1}, "`margin` is -1"),
        ({"seed": -1}, "`seed` is -1"),
        ({"spacing": 0.0}, "`spacing` is 0.0"),
        ({"spacing": (1.0, 2.0, 3.0)}, "`spacing` is (1.0, 2.0, 3.0)"),
        ({"spacing": float("nan")}, "`spacing` is nan"),
        ({"spacing": None}, "set `spacing`"),
        ({"slices": "0:9"}, "`slices` is '0:9'"),
        ({"acceleration": 0.2}, "`acceleration` is 0.2"),
        ({"metal": 3000.0}, "`metal` does not apply to k-space"),
        ({"series": "lung"}, "`series` does not apply to k-space"),
    ],
)
def test_refuses_for_kspace(kspace: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError) as error:
        measure(kspace, **{"spacing": 2.0, **options})
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_the_grid_and_the_slices_of_a_stack(projections: dict[str, Path]) -> None:
    with pytest.raises(MedscoreError, match="`size` is 16, and the geometry states size: "):
        measure(**projections, size=16)
    with pytest.raises(MedscoreError, match="`slices` is '3:9'"):
        measure(**projections, slices="3:9")
    made, _ = measure(**projections, slices="0:1")
    assert len(made.data) == 1


@pytest.mark.parametrize("options", [{"target": "rss"}, {"seed": 3}, {"maps": "espirit"}])
def test_refuses_for_a_stack(projections: dict[str, Path], options: dict[str, Any]) -> None:
    with pytest.raises(MedscoreError, match=f"`{next(iter(options))}` does not apply to a stack"):
        measure(**projections, **options)


@pytest.mark.parametrize("options", [{"acceleration": 2.0}, {"target": "rss"}, {"seed": 3}])
def test_refuses_for_an_image(metal: Path, options: dict[str, Any]) -> None:
    with pytest.raises(
        MedscoreError, match=f"`{next(iter(options))}` does not apply to a CT image"
    ):
        measure(metal, **options)


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="no such file"):
        measure(tmp_path / "none.h5")


@pytest.mark.filterwarnings("ignore:the detector covers")
@pytest.mark.parametrize(
    ("key", "value"), [("detector_spacing", 1e-9), ("slice_spacing", 1e-7), ("spacing", 1e-6)]
)
def test_pixels_of_no_possible_size_are_refused(tmp_path: Path, key: str, value: float) -> None:
    """Such a measurement could be written, but not be read again."""
    np.save(tmp_path / "rays.npy", np.ones((1, 12, 32), np.float32))
    geometry = {
        "beam": "parallel", "views": 12, "first_angle": 0.0, "last_angle": 165.0,
        "angle_unit": "degrees", "detector_spacing": 1.0,
    }  # fmt: skip
    with pytest.raises(MedscoreError, match=r"the voxels are .*between 1e-05 and 100000 mm"):
        measure(tmp_path / "rays.npy", geometry=geometry | {key: value})
