"""The written outputs of a reconstruction."""

import json

import pytest

from medscore.reconstruction.outcome import Row


@pytest.mark.parametrize(("psnr", "written"), [(30.5, 30.5), (float("inf"), None)])
def test_a_row_is_json_whatever_its_quality(psnr: float, written: float | None) -> None:
    record = json.loads(json.dumps(Row("FBP", psnr, 1.0, 0, 0.0).record(), allow_nan=False))
    assert record == {"method": "FBP", "psnr": written, "ssim": 1.0, "nfe": 0, "seconds": 0.0}
