"""Scans of any grid go through simulation and reconstruction, and return to their grid."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medscore.datasets.fit import fit_grid
from medscore.datasets.formats.write import write_image
from medscore.datasets.load import load_image
from medscore.datasets.volume import Source, Volume
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.hounsfield import hu_to_mu
from medscore.measurements.fitting import fit_to, inside_data, on_new_grid, resampling_psnr
from medscore.measurements.measurement import (
    ATTENUATION,
    Measurement,
    read_measurement,
    write_measurement,
)
from medscore.measurements.simulation import simulate
from medscore.measurements.tasks import NEEDS, TASKS
from medscore.nets.any_size import AnySize
from medscore.nets.unet import UNetSpec
from medscore.priors.analytic import GaussianPrior
from medscore.reconstruction.grid import grid_of
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.run import reconstruct
from medscore.reconstruction.saving import save
from medscore.sdes.linear import VE

SIZE = 16
GRIDS = [((20, 14), (2.0, 2.0)), ((16, 16), (1.0, 1.5)), ((40, 40), (1.0, 1.0)), ((9, 12), (2, 2))]
"""Rows and columns, and the distance between rows and between columns in mm."""


def scan(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    modality: str = "CT",
    turn: tuple[float, float, float] = (10.0, -20.0, 30.0),
    mark: tuple[int, int, int] | None = None,
) -> Volume:
    """Two oblique slices of an ellipse with a bright spot around a voxel (slice, row, column)."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    inside = (y[:, None] / shape[0]) ** 2 + (x / shape[1]) ** 2 < 0.16
    air, tissue, bright = (-1000.0, 0.0, 1200.0) if modality == "CT" else (0.0, 100.0, 300.0)
    values = np.where(inside, tissue, air).astype(np.float32) * np.ones((2, 1, 1), np.float32)
    if mark is not None:
        far = ((y + (shape[0] - 1) / 2 - mark[1]) ** 2)[:, None]
        far = far + (x + (shape[1] - 1) / 2 - mark[2]) ** 2
        values[mark[0]] += np.exp(-far / 4) * (bright - tissue)
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag([spacing[1], spacing[0], 3.0])
    affine[:3, 3] = -31.25, 12.5, 101.0
    return Volume(values, affine, modality, Source("nifti", ""))


def prior(
    modality: str = "CT", size: int | None = SIZE, spacing: tuple[float, float] | None = (1.0, 4.0)
) -> GaussianPrior:
    ct = modality == "CT"
    made = GaussianPrior(VE(0.01, 5.0), torch.full((SIZE**2,), 0.2), 0.1 * torch.eye(SIZE**2))
    made.domain = ImageDomain(
        name="small", modality="CT" if ct else "MR", quantity="HU" if ct else "magnitude",
        low=-1000.0 if ct else 0.0, high=1500.0 if ct else 1.0, size=size, spacing_mm=spacing,
    )  # fmt: skip
    return made


def task_of(modality: str) -> tuple[str, dict[str, float]]:
    return ("sparse-ct", {"views": 8}) if modality == "CT" else ("mri", {"acceleration": 2.0})


def measured(volume: Volume, task: str = "", **options: float) -> Measurement:
    name, own = task_of(volume.modality)
    return simulate(volume, task or name, **(options or ({} if task else own)))


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_a_measurement_is_on_the_grid_of_its_source_and_fits_it(
    modality: str, shape: tuple[int, int], spacing: tuple[float, float], tmp_path: Path
) -> None:
    volume = scan(shape, spacing, modality)
    m = measured(volume)
    write_measurement(tmp_path / "m.h5", m)
    again = read_measurement(tmp_path / "m.h5")
    assert again.size == shape
    np.testing.assert_array_equal(again.affine, volume.affine)
    found = reconstruct(again, method="fbp" if modality == "CT" else "zero-filled")
    assert found.mean.shape == volume.values.shape


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_samples_of_a_prior_return_to_the_grid_of_the_source(
    modality: str, shape: tuple[int, int], spacing: tuple[float, float], tmp_path: Path
) -> None:
    volume = scan(shape, spacing, modality)
    found = reconstruct(measured(volume), prior(modality), samples=2, steps=3)
    assert found.samples.shape == (2, 2, *shape)
    save(found, tmp_path / "out")
    for name in ("recon.nii.gz", "std.nii.gz", "samples/001.nii.gz"):
        written = nib.load(tmp_path / "out" / name)
        assert written.shape == (*shape[::-1], 2)
        np.testing.assert_allclose(written.affine, volume.affine, atol=1e-5)  # stored in float32
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())["grid"]
    assert record["fitted"]
    assert record["size"] == [SIZE, SIZE]
    (note,) = found.notes
    assert "16 x 16 pixels" in note
    assert f"{shape[1]} x {shape[0]} pixels" in note


def marked(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """(column, row, slice) of the brightest voxel."""
    slice_, row, column = np.unravel_index(int(values.argmax()), values.shape)
    return np.array([column, row, slice_])


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(18, 26), columns=st.integers(18, 26), ratio=st.sampled_from([1.0, 1.3]),
    turn=st.tuples(*[st.floats(-60, 60)] * 3), modality=st.sampled_from(["CT", "MR"]),
)  # fmt: skip
def test_a_marked_voxel_is_found_at_its_place_in_mm(
    rows: int, columns: int, ratio: float, turn: tuple[float, float, float], modality: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """Read by nibabel and by SimpleITK; the prior's pixels are larger than those of the image."""
    folder = tmp_path_factory.mktemp("marked") / "out"
    mark = (1, rows // 2 + 2, columns // 2 - 3)
    volume = scan((rows, columns), (1.0, ratio), modality, turn, mark)
    task, options = ("sparse-ct", {"views": 60}) if modality == "CT" else ("deblur", {"blur": 0.5})
    found = reconstruct(measured(volume, task, **options), prior(modality), steps=12)
    save(found, folder)
    place = (volume.affine @ (mark[2], mark[1], mark[0], 1))[:3]
    image = nib.load(folder / "recon.nii.gz")
    at = marked(image.get_fdata().transpose(2, 1, 0))
    nibabel_mm = (image.affine @ (*at, 1))[:3]
    itk = SimpleITK.ReadImage(str(folder / "recon.nii.gz"))
    at = marked(SimpleITK.GetArrayFromImage(itk))
    itk_mm = np.array(itk.TransformContinuousIndexToPhysicalPoint(at.astype(float)))
    for found_mm in (nibabel_mm, itk_mm * (-1, -1, 1)):  # LPS to RAS
        assert np.linalg.norm(found_mm - place) < 1e-3


def test_data_that_the_padded_grid_can_fit_are_fitted_exactly() -> None:
    """Padding loses nothing, so noise-free sampling ends with a projection onto the data."""
    volume = scan((9, 12), (2.0, 2.0))
    found = reconstruct(measured(volume), prior(spacing=(2.0, 2.0)), steps=3)
    assert found.residual.max() < 1e-3
    assert found.record["final_exact_step"]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_data_finer_than_the_grid_are_not_forced_into_it(modality: str) -> None:
    volume = scan((48, 40), (1.0, 1.0), modality, mark=(0, 22, 18))
    m = measured(volume)
    found = reconstruct(m, prior(modality), steps=3)
    assert not found.record["final_exact_step"]
    assert np.isfinite(found.mean).all()
    lowest, highest = float(volume.values.min()), float(volume.values.max())
    width = highest - lowest
    assert lowest - width < found.mean.min()
    assert found.mean.max() < highest + width


@pytest.mark.parametrize(
    ("task", "modality"), [("sparse-ct", "CT"), ("deblur", "CT"), ("mri", "MR")]
)
def test_what_lies_outside_of_the_field_is_air_and_said(
    task: str, modality: str, tmp_path: Path
) -> None:
    volume = scan((24, 24), (2.0, 2.0), modality)
    found = reconstruct(measured(volume, task), prior(modality, spacing=(1.0, 2.0)), steps=3)
    inside = np.zeros((24, 24), bool)
    inside[4:20, 4:20] = True
    np.testing.assert_array_equal(found.field, inside)
    air = -1000.0 if modality == "CT" else 0.0
    np.testing.assert_allclose(found.samples[..., ~inside], air)
    assert any("55.6 % of the pixels lie outside" in text for text in found.warnings)
    save(found, tmp_path / "out")
    field = nib.load(tmp_path / "out" / "field.nii.gz").get_fdata()
    np.testing.assert_array_equal(field[..., 1].T > 0, inside)
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["grid"]["share_inside"] == pytest.approx((16 / 24) ** 2)


def test_air_around_the_field_is_no_part_of_the_blurred_data() -> None:
    """In HU air is -1000; the data of the field are those of an image that is 0 around it."""
    volume = scan((24, 24), (2.0, 2.0))
    fit = fit_grid((24, 24), (2.0, 2.0), SIZE, (1.0, 2.0))
    volume.values[:, ~fit.inside] = -1000
    m = measured(volume, "deblur", blur=1.0)
    field = torch.from_numpy(volume.values * fit.inside)[:, None]
    expected = m.operator(field).numpy()
    np.testing.assert_allclose(inside_data(m, fit), expected, atol=1e-2)
    mri = measured(scan((24, 24), (2.0, 2.0), "MR"))
    assert inside_data(mri, fit) is mri.data


def test_the_reference_on_the_grid_bounds_the_table(tmp_path: Path) -> None:
    volume = scan((40, 40), (1.0, 1.0), mark=(0, 20, 20))
    found = reconstruct(measured(volume), prior(), steps=2)
    rows = {row.method: row for row in save(found, tmp_path / "out", reference=volume).rows()}
    bound = rows["reference on the prior's grid"]
    assert bound.nfe == 0
    domain = prior().domain
    assert domain is not None
    fit = fit_to(domain, (40, 40), (1.0, 1.0))
    assert fit is not None
    parts = [10 ** (-resampling_psnr(volume.select(k, k + 1), fit) / 10) for k in (0, 1)]
    assert bound.psnr == pytest.approx(float(np.mean(-10 * np.log10(parts))), abs=1e-3)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_prior_runs_outside_its_domain_if_that_is_allowed(modality: str, tmp_path: Path) -> None:
    volume = scan((SIZE, SIZE), (7.0, 7.0), modality)
    other = prior("MR" if modality == "CT" else "CT")
    m = measured(volume)
    with pytest.raises(MedscoreError, match="modality is"):
        reconstruct(m, other, steps=2)
    found = reconstruct(m, other, steps=2, allow_mismatch=True)
    assert found.mean.shape == volume.values.shape
    save(found, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())["grid"]
    assert not record["fitted"]
    said = " ".join(record["outside_the_domain"])
    for what in ("modality is", "quantity is", "pixel spacing in mm is 7"):
        assert what in said
        assert any(what in text for text in found.warnings)


@pytest.mark.parametrize("spacing", [None, (1.0, 4.0)])
def test_a_prior_of_any_size_keeps_the_matrix(spacing: tuple[float, float] | None) -> None:
    domain = prior(size=None, spacing=spacing).domain
    assert domain is not None
    assert fit_to(domain, (20, 14), (2.0, 2.0)) is None
    other = fit_to(domain, (20, 14), (2.0, 3.0))
    assert (other is None) == (spacing is None)
    assert other is None or other.shape == (30, 30)


@pytest.mark.parametrize("shape", [(16, 16), (217, 181), (5, 9), (3, 40)])
def test_a_network_sees_multiples_of_its_stride_and_returns_the_size(
    shape: tuple[int, int],
) -> None:
    seen = []

    class Same(torch.nn.Module):
        def forward(self, u: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            seen.append(u.shape[-2:])
            return 2 * u

    u = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    out = AnySize(Same(), 16)(u, torch.zeros(2))
    assert all(n % 16 == 0 for n in seen[0])
    torch.testing.assert_close(out, 2 * u)
    assert UNetSpec().stride == 16


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_operator_on_the_grid_measures_what_the_image_does(modality: str) -> None:
    """A U x is A of the image that the result shows, and its adjoint passes the dot test."""
    volume = scan((24, 20), (1.0, 1.2), modality)
    m = measured(volume)
    domain = prior(modality).domain
    assert domain is not None
    grid = grid_of(domain, m)
    assert grid.fit is not None
    operator = on_new_grid(m.operator, grid.fit)
    x = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    shown = torch.from_numpy(grid.fit.undo(x.numpy()))
    torch.testing.assert_close(operator(x), m.operator(shown), rtol=1e-4, atol=1e-4)
    y = operator(x).roll(3, -1)
    left, right = (operator(x).conj() * y).sum().real, (x * operator.adjoint(y)).sum().real
    assert float(left) == pytest.approx(float(right), rel=1e-4)


def test_a_result_on_its_own_grid_has_no_fit() -> None:
    found = reconstruct(measured(scan((SIZE, SIZE), (2.0, 2.0))), prior(), steps=2)
    assert isinstance(found, Reconstruction)
    assert found.fit is None
    assert found.field is None
    assert not found.notes


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spacing", [(2.0, 2.0), (2.0, 3.0)], ids=["oblong", "not square"])
def test_every_task_measures_slices_that_are_not_square(
    task: str, spacing: tuple[float, float], tmp_path: Path
) -> None:
    """The data are those of the operator in the file, and the measured image explains them."""
    if "mar" in task:
        pytest.importorskip("spekpy")
    modality = NEEDS.get(task, "CT")
    volume = scan((36, 32), spacing, modality)
    m = measured(volume, task)
    write_measurement(tmp_path / "m.h5", m)
    again = read_measurement(tmp_path / "m.h5")
    assert again.size == (36, 32)
    assert again.spacing == pytest.approx(spacing[::-1])
    if "mar" in task:  # polychromatic: no operator explains these data
        return
    image = torch.from_numpy(volume.values)[:, None]
    image = hu_to_mu(image) if m.image_unit == ATTENUATION else image
    y = torch.from_numpy(again.data)
    assert float(again.operator.residual(image, y).max()) < 1e-5


@pytest.mark.parametrize("name", ["fbp", "li", "nmar", "sirt", "fista-tv"])
def test_baselines_of_ct_take_slices_that_are_not_square(name: str) -> None:
    volume = scan((24, 16), (2.0, 3.0))
    m = measured(volume, "sparse-ct", views=24)
    few = {} if name in ("fbp", "li", "nmar") else {"iterations": 30}
    found = reconstruct(m, method=name, parameters=few)
    error = np.sqrt(((found.mean - volume.values) ** 2).mean())
    assert error < 0.6 * volume.values.std()


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "ILA"])
def test_the_output_has_the_voxels_and_the_affine_of_the_source(tmp_path: Path, axes: str) -> None:
    volume = scan((20, 16), (2.0, 2.0))
    write_image(tmp_path / "scan.nii.gz", volume.values, volume.affine, axes=axes)
    measurement = simulate(load_image(tmp_path / "scan.nii.gz"), "sparse-ct", views=9)
    write_measurement(tmp_path / "m.h5", measurement)
    found = reconstruct(tmp_path / "m.h5", method="fbp")
    save(found, tmp_path / "out", image="recon.nrrd")
    source, out = (nib.load(tmp_path / name) for name in ("scan.nii.gz", "out/recon.nii.gz"))
    assert out.shape == source.shape
    np.testing.assert_allclose(out.affine, source.affine, atol=1e-5)
    itk = SimpleITK.ReadImage(str(tmp_path / "out" / "recon.nrrd"))
    assert itk.GetSize() == source.shape
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(itk).T, np.asarray(out.dataobj))
