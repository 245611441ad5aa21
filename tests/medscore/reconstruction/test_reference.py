"""The reference of a measurement is read as the image was that was measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from image_fixtures import write_slice

from medscore.datasets.load import load_image
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction.reference import ReferenceChoice, reference_values

WriteSlice = Callable[..., Path]
__all__ = ["write_slice"]
SIDE = 16


def _hu(seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    hu = np.random.default_rng(seed).integers(-500, 500, (SIDE, SIDE)) * 2
    hu[0, 0] = -1000
    return hu


def _measured(folder: Path, path: Path, **options: Any) -> Measurement:
    volume = load_image(path, **options)
    write_measurement(folder / "m.h5", simulate(volume, "sparse-ct", views=5))
    return read_measurement(folder / "m.h5")


@pytest.fixture
def four(tmp_path: Path) -> Path:
    data = np.stack([_hu(k) for k in range(3)], axis=-1)[:, :, None].astype(np.float32)
    image = nib.Nifti1Image(data, np.diag([-2.0, -2, 2, 1]))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "four.nii.gz")
    return tmp_path / "four.nii.gz"


@pytest.fixture
def export(write_slice: WriteSlice) -> Path:
    """Two series; "thin" lacks a slice, "drawn" is derived from other images."""
    for uid, name, heights, kind in (
        ("1.2.3.7", "thin", (0, 2, 4, 8), "ORIGINAL"), ("1.2.3.8", "drawn", (0, 2, 4), "DERIVED"),
    ):  # fmt: skip
        for z in heights:
            path = write_slice(
                f"{name}{z}.dcm", _hu(z), SeriesInstanceUID=uid, SeriesDescription=name,
                ImagePositionPatient=[0, 0, z], PixelSpacing=[2, 2],
                ImageType=[kind, "SECONDARY", "AXIAL"],
            )  # fmt: skip
    return path.parent


@pytest.mark.parametrize("channel", [0, 2])
def test_the_channel_is_that_of_the_measurement(tmp_path: Path, four: Path, channel: int) -> None:
    m = _measured(tmp_path, four, channel=channel)
    found = reference_values(four, m)
    np.testing.assert_array_equal(found, load_image(four, channel=channel).values)
    other = reference_values(four, m, ReferenceChoice(channel=1))
    np.testing.assert_array_equal(other, load_image(four, channel=1).values)


def test_a_reference_without_channels_needs_none(tmp_path: Path, four: Path) -> None:
    m = _measured(tmp_path, four, channel=2)
    image = nib.load(four)
    nib.save(image.slicer[..., 2], tmp_path / "three.nii")
    np.testing.assert_array_equal(
        reference_values(tmp_path / "three.nii", m), load_image(four, channel=2).values
    )


@pytest.mark.parametrize(
    "options",
    [{"series": "thin", "resample": True}, {"series": "drawn", "accept": "derived"},
     {"series": "1.2.3.8", "accept": ("derived", "phase"), "slices": "1:3"}],
)  # fmt: skip
def test_series_resampling_and_kind_are_those_of_the_measurement(
    tmp_path: Path, export: Path, options: dict[str, Any]
) -> None:
    m = _measured(tmp_path, export, **options)
    np.testing.assert_array_equal(reference_values(export, m), load_image(export, **options).values)


def test_a_choice_overrides_what_the_measurement_records(tmp_path: Path, export: Path) -> None:
    m = _measured(tmp_path, export, series="thin", resample=True)
    with pytest.raises(MedscoreError, match="missing slices"):
        reference_values(export, m, ReferenceChoice(resample=False))
    with pytest.raises(MedscoreError, match="set `accept` to derived"):
        reference_values(export, m, ReferenceChoice(series="drawn"))


def test_older_measurements_record_no_choice(tmp_path: Path, four: Path) -> None:
    m = _measured(tmp_path, four, channel=0)
    assert m.source.taken.channel == 0
    plain = replace(m, source=replace(m.source, taken=type(m.source.taken)()))
    with pytest.raises(MedscoreError, match="`channel`"):
        reference_values(four, plain)


@pytest.mark.parametrize("reference", [None, np.zeros((1, SIDE, SIDE))])
@pytest.mark.parametrize("choice", [{"channel": 1}, {"resample": False}, {"accept": "phase"}])
def test_a_choice_without_a_file_is_refused(
    tmp_path: Path, four: Path, reference: Any, choice: dict[str, Any]
) -> None:
    m = _measured(tmp_path, four, channel=0)
    with pytest.raises(MedscoreError, match=f"`{next(iter(choice))}` applies to the file"):
        reference_values(reference, m, ReferenceChoice(**choice))
