"""Radial and spiral scans, of one coil and of several, with priors and baselines."""

from typing import Any

import numpy as np
import pytest
import torch
from local_networks import COMPLEX, local_prior

import medscore as ms
from medscore.datasets.collections.phase import random_phase
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.operators.base import Operator
from medscore.operators.linear import LinearOperator
from medscore.operators.mri.centre import gridded, sampled_cells
from medscore.operators.mri.fourier import Fourier, fft2c
from medscore.operators.mri.masks import calibration_region
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.mri.trajectories import radial_trajectory, spiral_trajectory

pytest.importorskip("finufft")
N = 24
MAGNITUDE: dict[str, Any] = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0}


def image() -> torch.Tensor:
    """Two complex slices (2, 1, N, N), smooth and zero at the border."""
    generator = torch.Generator().manual_seed(0)
    window = torch.hann_window(N, periodic=False)
    slices = []
    for scale in (100.0, 300.0):
        magnitude = (
            scale * window[:, None] * window * (1 + 0.2 * torch.rand(N, N, generator=generator))
        )
        slices.append(torch.polar(magnitude, 0.3 * random_phase(magnitude / scale, 4.0, generator)))
    return torch.stack(slices)[:, None]


def operator(kind: str, coils: int, share: int = 1) -> Operator:
    """A trajectory of which one arm in ``share`` is measured."""
    arms = 40 if kind == "radial" else 8
    trajectory = radial_trajectory(N, arms) if kind == "radial" else spiral_trajectory(N, arms)
    mask = (torch.arange(arms) % share == 0).repeat_interleave(trajectory.shape[1] // arms)
    if coils == 1:
        return NonuniformFourier(trajectory, mask, N, N)
    return MulticoilNonuniform(birdcage(coils, N, N), trajectory, mask)


def measured(scan: Operator, scale: float = 1.0) -> Measurement:
    y = scan.forward(scale * image())
    return ms.make_measurement(y, scan, image_unit="magnitude", spacing_mm=1.0)


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("kind", ["radial", "spiral"])
@pytest.mark.parametrize("prior", ["magnitude", "complex"])
def test_a_prior_reconstructs_a_full_scan(kind: str, coils: int, prior: str) -> None:
    """Within the disc of k-space that is sampled; an untrained prior invents the corners."""
    given = local_prior(**(MAGNITUDE if prior == "magnitude" else COMPLEX))
    found = ms.reconstruct(measured(operator(kind, coils)), given, samples=1, steps=3)
    assert found.samples.shape == (2, 1, N, N)
    if prior == "magnitude":  # whose phase is that of the centre
        assert float(found.residual.max()) < 0.2
        return
    assert float(found.residual.max()) < 2e-3
    assert found.complex_mean is not None
    k = torch.arange(N) - N // 2
    disc = (k[:, None] ** 2 + k**2) < (N // 2 - 1) ** 2
    error = fft2c(torch.from_numpy(found.complex_mean) - image()[:, 0]) * disc
    assert float(error.norm() / image().norm()) < 0.05


@pytest.mark.parametrize("kind", ["radial", "spiral", "linear"])
@pytest.mark.parametrize("coils", [1, 3])
def test_a_reconstruction_scales_with_its_data(kind: str, coils: int) -> None:
    """Also of operators that are no Fourier transform with an orthonormal factor."""
    if kind == "linear":
        inner = operator("radial", coils)
        shape = coils, 40, inner.grid_shape[-1] // 40
        scan: Operator = LinearOperator(
            lambda x: 7 * inner.forward(x).reshape(-1, *shape),
            lambda y: 7 * inner.adjoint(y.flatten(2)),
            (N, N), shape, dtype=torch.complex64,
        )  # fmt: skip
    else:
        scan = operator(kind, coils, share=2)
    one, more = (
        ms.reconstruct(measured(scan, s), method="fista-tv", parameters={"iterations": 10}).mean / s
        for s in (1.0, 1e6)
    )
    np.testing.assert_allclose(one, more, atol=0.05)


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("kind", ["radial", "spiral"])
def test_the_brightness_is_that_of_the_image(kind: str, coils: int) -> None:
    """That of 99.5 % of the pixels becomes 1, with half of the arms as with all."""
    from medscore.measurements.units import NetworkUnits, Range

    truth = torch.quantile(image().abs().flatten(1), 0.995, dim=1)
    for share in (1, 2):
        units = NetworkUnits.of(Range(0.0, 1.0), measured(operator(kind, coils, share)))
        assert isinstance(units.unit, torch.Tensor)
        torch.testing.assert_close(units.unit.flatten(), truth, rtol=0.1, atol=0)


@pytest.mark.parametrize("share", [1, 2, 4])
def test_the_centre_of_a_radial_scan_shrinks_with_its_spokes(share: int) -> None:
    scan = operator("radial", 3, share)
    assert isinstance(scan, MulticoilNonuniform)
    sides = calibration_region(sampled_cells(scan))
    assert abs(sides[0] - 25 / share) <= 25 / share / 2
    y = scan.forward(image())
    truth = fft2c(scan.sensitivity * image())
    middle = slice(N // 2 - 2, N // 2 + 3)
    found = gridded(scan, y)[..., middle, middle]
    expected = truth[..., middle, middle]
    assert float((found - expected).norm() / expected.norm()) < 0.1


def test_magnitudes_of_unknown_complex_operators_are_refused_in_one_line() -> None:
    inner = Fourier(torch.ones(N, N, dtype=torch.bool))
    scan = LinearOperator(inner.forward, inner.adjoint, (N, N), (1, N, N), dtype=torch.complex64)
    m = ms.make_measurement(inner.forward(image()), scan, image_unit="magnitude", spacing_mm=1.0)
    with pytest.raises(MedscoreError, match="the phase of complex images of LinearOp") as error:
        ms.reconstruct(m, local_prior(**MAGNITUDE), samples=1, steps=1)
    assert "\n" not in str(error.value)
