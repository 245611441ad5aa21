"""The phase of reconstructed MR images: right where there is signal, and refused where unknown."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from local_networks import COMPLEX, local_prior, write_prior

import medscore as ms
from medscore.datasets.collections.phase import random_phase
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement, write_measurement
from medscore.operators.mri.fourier import Fourier
from medscore.reconstruction.cohort import Outputs, reconstruct_cohort
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file

SHAPE = 20, 24


def complex_image() -> torch.Tensor:
    """Two slices (2, 1, H, W)."""
    generator = torch.Generator().manual_seed(0)
    slices = []
    for _ in range(2):
        magnitude = 50 + 50 * torch.rand(SHAPE, generator=generator)
        slices.append(torch.polar(magnitude, random_phase(magnitude / 100, 1.0, generator)))
    return torch.stack(slices)[:, None]


def measurement(spacing: float = 1.0) -> Measurement:
    operator = Fourier(torch.ones(SHAPE, dtype=torch.bool))
    y = operator.forward(complex_image())
    return ms.make_measurement(y, operator, image_unit="magnitude", spacing_mm=spacing)


def wrapped(difference: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (difference + np.pi) % (2 * np.pi) - np.pi


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m") / "m.h5"
    write_measurement(path, measurement())
    return path


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense", "l1-wavelet", "fista-tv"])
def test_all_lines_give_the_phase_of_the_image(method: str) -> None:
    few = {"iterations": 30} if method == "fista-tv" else {}
    found = ms.reconstruct(measurement(), method=method, parameters=few)
    assert found.phase is not None
    assert (found.phase.shape, found.phase.dtype) == ((2, *SHAPE), np.float32)
    error = wrapped(found.phase - complex_image()[:, 0].angle().numpy())
    assert float(np.abs(error).max()) < 0.05
    assert found.complex_mean is not None
    np.testing.assert_allclose(np.abs(found.complex_mean), found.mean, rtol=1e-5)


def test_a_complex_prior_gives_the_phase_of_the_mean_sample() -> None:
    prior = local_prior(**COMPLEX)
    one = ms.reconstruct(measurement(), prior, samples=1, steps=2)
    assert one.phase is not None
    error = wrapped(one.phase - complex_image()[:, 0].angle().numpy())
    assert float(np.abs(error).max()) < 0.05  # all lines are measured
    assert one.complex_mean is not None
    np.testing.assert_allclose(np.abs(one.complex_mean), one.samples[:, 0], rtol=1e-5)
    two = ms.reconstruct(measurement(), prior, samples=2, steps=2)
    assert two.complex_mean is not None
    assert float((np.abs(two.complex_mean) - two.mean).max()) <= 1e-3  # |mean| <= mean |.|


def test_a_fitted_image_has_its_phase_on_its_own_grid() -> None:
    m = measurement(spacing=0.3)  # pixels smaller than the prior knows
    found = ms.reconstruct(m, local_prior(**COMPLEX), samples=1, steps=2)
    assert found.fit is not None
    assert found.phase is not None
    assert found.phase.shape == (2, *SHAPE)
    assert float(np.abs(found.phase).max()) > 0.1


def test_the_phase_is_written_on_request(file: Path, tmp_path: Path) -> None:
    method = choose_method(method="zero-filled")
    reconstruct_file(file, tmp_path / "without", method)
    assert not (tmp_path / "without" / "phase.nii.gz").exists()
    outcome = reconstruct_file(file, tmp_path / "with", method, phase=True)
    stored = nib.load(tmp_path / "with" / "phase.nii.gz").get_fdata()
    ms.save(outcome.reconstruction, tmp_path / "saved", phase=True)
    np.testing.assert_array_equal(stored, nib.load(tmp_path / "saved" / "phase.nii.gz").get_fdata())
    assert outcome.reconstruction.phase is not None
    assert float(np.sort(stored.ravel())[0]) == pytest.approx(outcome.reconstruction.phase.min())


def test_the_phase_is_written_for_a_cohort(file: Path, tmp_path: Path) -> None:
    reconstruct_cohort(
        [file], tmp_path / "out", {"method": "zero-filled"}, outputs=Outputs(phase=True)
    )
    assert len(list((tmp_path / "out").rglob("phase.nii.gz"))) == 1


@pytest.mark.parametrize("of_real_image", [True, False])
def test_a_method_of_magnitudes_refuses_before_it_begins(
    tmp_path: Path, of_real_image: bool
) -> None:
    """A magnitude prior on complex data, and a baseline on data of a real image."""
    if of_real_image:
        values = complex_image()[:, 0].abs().numpy()
        m = ms.simulate(Volume(values, np.eye(4), "MR", Source("array", "")), "mri")
        method = choose_method(method="zero-filled")
    else:
        m = measurement()
        magnitudes = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0}
        method = choose_method(write_prior(tmp_path / "p.safetensors", **magnitudes), steps=1)
    write_measurement(tmp_path / "m.h5", m)
    with pytest.raises(MedscoreError, match=r"m\.h5: `phase`: the method reconstructs") as error:
        reconstruct_file(tmp_path / "m.h5", tmp_path / "out", method, phase=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(MedscoreError, match="`phase`: the method reconstructs magnitudes"):
        ms.save(method.reconstruct(m), tmp_path / "out", phase=True)
    assert not (tmp_path / "out").exists()
