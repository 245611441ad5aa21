"""Metal in a result: the HU of the scanner's own image, its mask, and what leaves it out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import medscore as ms
from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.hounsfield import hu_to_mu
from medscore.measurements.from_ct import from_metal_image
from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
from medscore.operators.ct.metal import METAL_HU
from medscore.operators.ct.projector import project
from medscore.reconstruction.metal import with_metal
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.run import choose_method

IMPLANTS: dict[str, list[tuple[slice, slice]]] = {
    "one": [(slice(12, 14), slice(18, 21))],
    "two": [(slice(12, 14), slice(18, 21)), (slice(17, 19), slice(9, 11))],
    "beside the body": [(slice(2, 4), slice(1, 3))],
    "at the border": [(slice(0, 2), slice(14, 16))],
}
"""Metal in the first of two slices."""

METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("li", {}), ("nmar", {}), ("fbp", {}), ("cgls", {}), ("fista-tv", {"iterations": 2}),
)  # fmt: skip


def affected(where: str = "two") -> Volume:
    """Two slices, the first with metal of 3000 to 8000 HU and edges that it fills partly."""
    y, x = np.mgrid[-11.5:12, -11.5:12]
    hu = np.where(np.hypot(x, y) < 9, 40.0, -1000.0)
    volume = np.stack([hu, hu]).astype(np.float32)
    for rows, columns in IMPLANTS[where]:
        around = slice(max(0, rows.start - 1), rows.stop + 1), slice(columns.start, columns.stop)
        volume[0][around] = 1500.0
        volume[0][rows, columns] = np.linspace(3000, 8000, volume[0][rows, columns].size).reshape(
            volume[0][rows, columns].shape
        )
    source = Source("dicom", "ab" * 32, {"StudyInstanceUID": "1.2.3"})
    return Volume(volume, np.diag([-3.0, -3, 5, 1]), "CT", source)


def measured(where: str = "two") -> Measurement:
    return from_metal_image(affected(where), METAL_HU, 1, "image")


@pytest.mark.parametrize("where", IMPLANTS)
@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_metal_keeps_the_values_of_the_affected_image(
    where: str, method: str, parameters: dict[str, Any]
) -> None:
    truth, m = affected(where).values, measured(where)
    mask = truth > METAL_HU
    found = ms.reconstruct(m, method=method, parameters=parameters)
    plain = ms.reconstruct(m, method=method, parameters=parameters, metal=False)
    np.testing.assert_array_equal(m.metal_mask, mask)
    np.testing.assert_array_equal(found.mean[mask], truth[mask])
    np.testing.assert_array_equal(found.mean[~mask], plain.mean[~mask])
    assert plain.mean.max() < truth.max()


@pytest.mark.parametrize("where", IMPLANTS)
def test_no_measured_ray_crosses_metal(where: str) -> None:
    m = measured(where)
    mask = torch.from_numpy(m.metal_mask)[:, None]
    crossed = project(mask.float(), m.operator.geometry) > 0  # type: ignore[attr-defined]
    assert not bool((crossed & m.operator.diagonal.bool()).any())


@pytest.mark.parametrize("samples", [3, 7])
def test_every_sample_and_their_mean_hold_the_metal_without_spread(samples: int) -> None:
    m = measured()
    drawn = np.random.default_rng(0).normal(size=(2, samples, 24, 24)).astype(np.float32)
    found = with_metal(Reconstruction(drawn, np.zeros((2, samples)), 1, 0, (), 0.0, m))
    mask = m.metal_mask
    assert mask is not None
    assert m.metal is not None
    for image in (*found.samples.swapaxes(0, 1), found.mean):
        np.testing.assert_array_equal(image[mask], m.metal[mask])
    assert (found.std[mask] == 0).all()
    assert (found.std[~mask] > 0).all()


@pytest.mark.parametrize(("metal", "word"), [(True, "keep"), (False, "filled in")])
def test_a_note_and_the_record_say_what_was_done(metal: bool, word: str) -> None:
    found = ms.reconstruct(measured(), method="li", metal=metal)
    (note,) = found.notes
    assert "10 pixels in 1 of 2 slice(s)" in note
    assert "3000 to 8000 HU" in note
    assert word in note
    expected = {"pixels": 10, "slices": 1, "hu": [3000.0, 8000.0], "put_back": metal}
    assert found.record["metal"] == expected


def test_a_measurement_that_does_not_record_its_metal_is_warned_of() -> None:
    found = ms.reconstruct(replace(measured(), metal=None), method="li")
    assert found.notes == ()
    assert "does not record the metal" in found.warnings[0]


@pytest.mark.parametrize("metal", [True, False])
def test_the_folder_holds_image_mask_and_series(tmp_path: Path, metal: bool) -> None:
    m = measured()
    found = ms.reconstruct(m, method="li", metal=metal)
    ms.save(found, tmp_path / "out", hdf5=True, reference=np.full((2, 24, 24), 40, np.float32))
    mask = read_nifti(tmp_path / "out" / "metal.nii.gz")
    np.testing.assert_array_equal(mask.values > 0, m.metal_mask)
    np.testing.assert_allclose(mask.affine, m.affine)
    with h5py.File(tmp_path / "out" / "samples.h5") as file:
        np.testing.assert_array_equal(file["metal"][:] > 0, m.metal_mask)
    for image in (
        read_nifti(tmp_path / "out" / "recon.nii.gz").values,
        read_dicom(tmp_path / "out" / "dicom").values,
    ):
        np.testing.assert_allclose(image.max(), 8000 if metal else found.mean.max(), atol=0.1)
    assert "metal set to -1000 HU" in (tmp_path / "out" / "metrics.json").read_text()


def test_metrics_leave_the_metal_out() -> None:
    m, truth = measured(), np.full((2, 24, 24), 40, np.float32)
    found, plain = (ms.reconstruct(m, method="li", metal=metal) for metal in (True, False))
    assert ms.quality(found, truth) == ms.quality(plain, truth)
    assert ms.quality(found, truth, "thesis-mar") == ms.quality(found, truth)
    assert ms.quality(found, truth, "ct").psnr < ms.quality(plain, truth, "ct").psnr


def test_methods_themselves_leave_the_metal_out() -> None:
    """So that comparisons and tuning see what a method makes of the data."""
    m = measured()
    own = choose_method(method="nmar").reconstruct(m)
    np.testing.assert_array_equal(own.mean, ms.reconstruct(m, method="nmar", metal=False).mean)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mar", "sparse-mar"])
def test_simulated_metal_is_what_the_scanner_shows(task: str, tmp_path: Path) -> None:
    for package in ("spekpy", "xraydb"):
        pytest.importorskip(package)
    clean = replace(affected(), values=np.clip(affected().values, -1000, 40))
    m = ms.simulate(clean, task, implants=((-12.0, 0.0, 5.0), (12.0, 6.0, 4.0)))
    assert m.metal is not None
    assert 3000 < np.nanmax(m.metal) < 20_000
    assert [bool(each.any()) for each in ~np.isnan(m.metal)] == [True, True]
    write_measurement(tmp_path / "m.h5", m)
    np.testing.assert_array_equal(read_measurement(tmp_path / "m.h5").metal, m.metal)


def given(**changes: Any) -> Measurement:
    m = measured()
    whole = project(torch.from_numpy(hu_to_mu(affected().values))[:, None],
                    m.operator.geometry)  # type: ignore[attr-defined]  # fmt: skip
    parts = {"data": whole * m.operator.diagonal, "operator": m.operator, "image_unit": "1/mm"}
    return ms.make_measurement(**{**parts, **changes})


def nothing(value: float, *shape: int) -> NDArray[np.float32]:
    return np.full(shape, value, np.float32)


def test_metal_of_a_custom_measurement_is_put_back() -> None:
    found = ms.reconstruct(given(metal=measured().metal), method="li")
    assert found.mean.max() == 8000


@pytest.mark.parametrize(
    ("metal", "why"),
    [
        (nothing(5000.0, 2, 24, 23), "shape"),
        (nothing(np.inf, 2, 24, 24), "infinity"),
        (nothing(np.nan, 2, 24, 24), "there is none"),
    ],
)
def test_metal_that_does_not_fit_is_refused(metal: NDArray[np.float32], why: str) -> None:
    with pytest.raises(MedscoreError, match=why) as refused:
        given(metal=metal)
    assert str(refused.value).startswith("`metal`")
