"""``make_measurement``: data, operator, unit and geometry must fit each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medscore.errors import MedscoreError
from medscore.measurements.custom import make_measurement
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.operators.base import Operator
from medscore.operators.ct.scans import sparse_view
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.linear import LinearOperator
from medscore.operators.mri.fourier import Fourier

SIDE = 16
RADON = sparse_view(SIDE, 2.0, 5)
PIXELS = Inpainting((torch.arange(SIDE) % 2 == 0).expand(SIDE, SIDE))
IMAGE = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.02
DATA = RADON(IMAGE)
FUNCTIONS = LinearOperator(lambda x: 2 * x, lambda y: 2 * y, (1, SIDE, SIDE))


@pytest.mark.parametrize(
    "operator",
    [RADON, 2 * RADON, RADON + RADON, RADON @ PIXELS, -(RADON @ PIXELS)],
    ids=["radon", "multiple", "sum", "composition", "negative"],
)
def test_operators_made_of_line_integrals_keep_their_pixel_size(
    operator: Operator, tmp_path: Path
) -> None:
    made = make_measurement(operator(IMAGE), operator, image_unit="1/mm")
    assert made.spacing == (2.0, 2.0)
    write_measurement(tmp_path / "m.h5", made)
    found = read_measurement(tmp_path / "m.h5")
    np.testing.assert_array_equal(found.data, made.data)
    torch.testing.assert_close(found.operator(IMAGE), operator(IMAGE))
    with pytest.raises(MedscoreError, match=r"`image_unit` is 'HU', which .* does not measure"):
        make_measurement(operator(IMAGE), operator, image_unit="HU")


@pytest.mark.parametrize(("unit", "operator"), [("HU", PIXELS), ("magnitude", FUNCTIONS)])
def test_other_operators_have_pixels_of_1_mm_by_default(unit: str, operator: Operator) -> None:
    made = make_measurement(operator(IMAGE), operator, image_unit=unit)
    assert made.spacing == (1.0, 1.0)
    assert make_measurement(made.data, operator, image_unit=unit, spacing_mm=3).spacing == (3, 3)


def test_a_slice_without_its_axes_gets_them() -> None:
    for data in (DATA, DATA[:, 0], DATA[:1], DATA[0, 0]):
        made = make_measurement(data, RADON, image_unit="1/mm")
        assert made.data.shape[1:] == (1, *RADON.grid_shape)
        assert len(made.data) == (1 if data.ndim == 2 else len(data))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"spacing_mm": 1.0}, "`spacing_mm` is 1, but the operator has pixels of 2 mm"),
        ({"spacing_mm": -1}, "`spacing_mm` is -1, expected a positive number"),
        ({"spacing_mm": 0}, "`spacing_mm` is 0"),
        ({"spacing_mm": float("nan")}, "`spacing_mm` is nan"),
        ({"spacing_mm": "a"}, "`spacing_mm` is 'a'"),
        ({"spacing_mm": (2, 2)}, r"`spacing_mm` is \(2, 2\)"),
        ({"affine": np.zeros((4, 4))}, "`affine`"),
        ({"affine": np.full((4, 4), np.nan)}, "`affine` is not a finite 4x4 matrix"),
        ({"affine": np.eye(3)}, "`affine` is not a finite 4x4 matrix"),
        ({"affine": np.eye(4)}, "`affine` does not have pixels of 2 mm"),
        ({"affine": "a"}, "`affine` is 'a', expected a 4x4 matrix"),
        ({"image_unit": "HU"}, "`image_unit` is 'HU', which .* does not measure"),
        ({"image_unit": "magnitude"}, "`image_unit` is 'magnitude', which"),
        ({"image_unit": ["HU"]}, r"`image_unit` is \['HU'\]"),
        ({"image_unit": None}, "`image_unit` is None"),
        ({"operator": PIXELS, "data": PIXELS(IMAGE)}, "`image_unit` is '1/mm', which"),
        ({"operator": lambda x: x}, "`operator` is a function"),
        ({"operator": None}, "`operator` is a NoneType"),
        ({"data": None}, "`data` is a NoneType"),
        ({"data": [1.0]}, "`data` is a list"),
        ({"data": np.array(["a"])}, "`data` is of type"),
        ({"data": DATA + 0j}, "`data` are complex64"),
        ({"data": DATA[:0]}, r"`data` has shape \(0, 1,"),
        ({"data": 0 * DATA}, "`data` are zero everywhere"),
        ({"data": DATA[..., 1:]}, "`data`: the data have shape"),
        ({"data": DATA * float("nan")}, "`data`: the data contain NaN"),
        ({"data": torch.tensor(1.0)}, "`data`"),
        ({"noise": 0.1}, "`noise` is 0.1 - use none, gaussian"),
        ({"noise": None}, "`noise` is None"),
        ({"noise": "loud"}, "`noise` is 'loud'"),
        ({"task": None}, "`task` is None"),
        ({"operator": Colorization(SIDE, SIDE), "image_unit": "HU",
          "data": Colorization(SIDE, SIDE)(IMAGE.expand(2, 3, SIDE, SIDE))},
         r"acts on images of shape \(3, 16, 16\), expected one channel"),
        ({"operator": Fourier(torch.ones(SIDE, SIDE)), "data": IMAGE, "image_unit": "magnitude"},
         "`data` are float32"),
    ],
)  # fmt: skip
def test_refuses_in_one_line(changes: dict[str, Any], why: str) -> None:
    valid = {"data": DATA, "operator": RADON, "image_unit": "1/mm"}
    with pytest.raises(MedscoreError, match=why) as refused:
        make_measurement(**(valid | changes))
    assert "\n" not in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("data", "why"),
    [(4e4 * torch.exp(-DATA), "look like counts"), (-10 * DATA, "not negative")],
    ids=["counts", "the wrong sign"],
)
def test_line_integrals_that_look_like_something_else_are_refused(
    data: torch.Tensor, why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        make_measurement(data * RADON.diagonal, RADON, image_unit="1/mm")
