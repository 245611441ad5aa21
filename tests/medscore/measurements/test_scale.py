"""The unit of an MR scanner does not matter: scaled data give the scaled reconstruction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medscore.datasets.volume import Source, Volume, centred_affine
from medscore.errors import MedscoreError
from medscore.measurements.read import measure
from medscore.measurements.simulation import simulate
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.modulus import root_sum_of_squares
from medscore.reconstruction.run import reconstruct

SCALES = [1e-33, 1e-21, 1e20, 1e33]
SIDE = 32


@pytest.fixture(scope="module")
def head() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    y, x = np.mgrid[-15.5:16, -15.5:16]
    noise = np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE))
    return 600.0 * (np.hypot(x, y) < 13) + 300 * (np.hypot(x - 5, y + 2) < 4) + noise


@pytest.fixture(scope="module")
def reconstructed(
    head: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> Callable[[float, str], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    def call(scale: float, task: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        values = np.float32(head[None] * scale)
        affine = centred_affine(SIDE, SIDE, (3.0, 3.0, 1.0))
        volume = Volume(values, affine, "MR", Source("array", ""))
        m = simulate(volume, task, noise=f"gaussian:{2 * scale:g}")
        return reconstruct(m, method="fista-tv", parameters={"iterations": 20}).mean / scale

    return call


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mri", "mri-multicoil"])
def test_a_reconstruction_scales_with_its_image(
    reconstructed: Callable[[float, str], np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
    task: str,
) -> None:
    expected = reconstructed(1.0, task)
    for scale in SCALES:
        np.testing.assert_allclose(reconstructed(scale, task), expected, atol=1e-4 * 900)


@pytest.mark.parametrize("scale", [1e-33, 1e-21, 1e20, 1e25])  # k-space reaches 1e4 times more
def test_measured_kspace_keeps_its_maps_and_targets_at_any_scale(
    tmp_path: Path, head: np.ndarray[tuple[int, ...], np.dtype[np.float64]], scale: float
) -> None:
    coils = torch.tensor([1.0, 0.5j, 0.3])[:, None, None]
    kspace = fft2c(torch.from_numpy(head) * coils).numpy()
    found = []
    for factor in (1.0, scale):
        np.save(tmp_path / "k.npy", kspace * factor)
        made, target = measure(tmp_path / "k.npy", spacing=2.0, target="mvue")
        assert target is not None
        found.append((made.operator.sensitivity.numpy(), target / factor))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("exponent", range(-120, 121, 24))
def test_the_root_sum_of_squares_neither_overflows_nor_vanishes(exponent: int) -> None:
    x = torch.randn(3, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    found = root_sum_of_squares(x * 2.0**exponent, 0) / 2.0**exponent
    assert torch.equal(found, root_sum_of_squares(x, 0))  # powers of two round nothing
    torch.testing.assert_close(found, torch.linalg.vector_norm(x, dim=0))


def test_the_root_sum_of_squares_of_nothing_is_zero() -> None:
    assert not root_sum_of_squares(torch.zeros(2, 3), 0).any()


@pytest.mark.parametrize("task", ["mri", "mri-multicoil"])
@pytest.mark.parametrize("phase", ["none", "random"])
def test_a_slice_without_values_in_the_centre_of_kspace_has_no_scale(
    head: np.ndarray[tuple[int, ...], np.dtype[np.float64]], task: str, phase: str
) -> None:
    volume = Volume(
        np.float32(np.stack([head, head])), centred_affine(SIDE, SIDE, (3.0, 3.0, 1.0)), "MR",
        Source("array", ""),
    )  # fmt: skip
    m = simulate(volume, task, phase=phase)
    data = m.data.copy()
    middle = slice(SIDE // 2 - 4, SIDE // 2 + 4)
    data[1, ..., middle] = 0
    with pytest.raises(MedscoreError, match=r"^slice 1: the centre of k-space is zero") as error:
        reconstruct(replace(m, data=data), method="zero-filled")
    assert "\n" not in str(error.value)
    data[1] = 0  # nothing at all is an image of zeros
    found = reconstruct(replace(m, data=data), method="zero-filled").mean
    assert float(np.abs(found[1]).max()) == 0.0
