"""ESPIRiT: maps from the centre of k-space, by sigpy and by the eigenvectors of all pixels."""

import sys

import pytest
import torch
from coil_scan import COILS, N, error, scan

from medscore.operators.grid import OperatorError
from medscore.operators.mri.espirit import (
    WINDOW,
    eigenvector_maps,
    espirit,
    sigpy_maps,
    window_correlation,
)
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.sensitivity import birdcage, unit_peak


@pytest.fixture(params=["sigpy", "ours"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sigpy":
        pytest.importorskip("sigpy.mri.app", exc_type=ImportError)
    else:
        monkeypatch.setitem(sys.modules, "sigpy.mri.app", None)
    return str(request.param)


def noisy(kspace: torch.Tensor, std: float) -> torch.Tensor:
    noise = torch.randn(*kspace.shape, 2, generator=torch.Generator().manual_seed(0))
    return kspace + std * torch.view_as_complex(noise) * (kspace != 0)


def test_the_maps_are_found_with_unit_power_where_there_is_signal(implementation: str) -> None:
    kspace, maps, where = scan()
    found = espirit(kspace)[0]
    power = found.abs().square().sum(0)
    assert bool(((power - 1).abs() < 1e-4).logical_or(power == 0).all()), implementation
    kept = where & (power > 0)
    assert float(kept.sum() / where.sum()) > 0.95
    assert error(found, maps, kept) <= 0.05
    assert bool((power[:4, :4] == 0).all())  # air


def test_the_maps_do_not_depend_on_the_unit_of_the_data(implementation: str) -> None:
    kspace = scan()[0]
    reference = espirit(kspace)
    for scale in (1e-12, 1e12):
        torch.testing.assert_close(espirit(scale * kspace), reference, atol=2e-3, rtol=0)


def test_a_batch_has_the_maps_of_each_sample(implementation: str) -> None:
    kspace = scan()[0]
    pair = torch.cat([kspace, noisy(kspace, 0.01)])
    torch.testing.assert_close(espirit(pair)[1], espirit(pair[1:])[0])


def test_a_coil_without_signal_has_zero_sensitivity(implementation: str) -> None:
    kspace = scan()[0]
    kspace[:, 2] = 0
    found = espirit(kspace)[0]
    assert bool(found.isfinite().all())
    assert float(found[2].abs().max()) < 1e-3


@pytest.mark.parametrize(("std", "bound"), [(0.0, 5e-3), (0.002, 5e-3)])
def test_both_implementations_agree(std: float, bound: float) -> None:
    app = pytest.importorskip("sigpy.mri.app", exc_type=ImportError)
    sample = unit_peak(noisy(scan()[0], std))[0]
    ours, theirs = (
        eigenvector_maps(sample, (20, 20), 0.02, 0.95),
        sigpy_maps(app, sample, 20, 0.02, 0.95),
    )
    seen = [m.abs().sum(0) > 0 for m in (ours, theirs)]
    assert float((seen[0] ^ seen[1]).sum() / seen[1].sum()) < 0.01
    both = seen[0] & seen[1]
    assert float((ours - theirs)[:, both].norm() / theirs[:, both].norm()) <= bound


def test_the_matrices_are_those_of_the_projection_on_all_windows() -> None:
    """At random pixels, against the sum over the Fourier transforms of the singular vectors."""
    kspace = unit_peak(noisy(scan()[0], 0.002))[0]
    correlation = window_correlation(kspace, (20, 20), 0.02)
    top = N // 2 - 10
    centre = kspace[:, top : top + 20, top : top + 20].to(torch.complex128)
    rows = torch.stack(
        [
            centre[:, y : y + WINDOW, x : x + WINDOW].flatten()
            for y in range(21 - WINDOW)
            for x in range(21 - WINDOW)
        ]
    )
    _, s, vh = torch.linalg.svd(rows, full_matrices=False)
    kernels = vh[s > 0.02 * s[0]].reshape(-1, COILS, WINDOW, WINDOW)
    p = torch.arange(WINDOW, dtype=torch.float64)
    d = torch.arange(1 - WINDOW, WINDOW, dtype=torch.float64)
    for y, x in ((-3, 11), (20, -31)):
        at = [torch.polar(torch.ones_like(p), 2 * torch.pi * v * p / N) for v in (y, x)]
        images = torch.einsum("ncab,a,b->nc", kernels, *at)
        expected = images.T @ images.conj()
        waves = [torch.polar(torch.ones_like(d), 2 * torch.pi * v * d / N) for v in (y, x)]
        found = torch.einsum("cdab,a,b->cd", correlation, *waves)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(24, 33), (33, 24), (20, 20)])
def test_images_of_any_shape_have_maps(shape: tuple[int, int]) -> None:
    image = torch.zeros(shape, dtype=torch.complex64)
    image[4:-4, 5:-5] = 1
    maps = birdcage(3, *shape)
    found = eigenvector_maps(unit_peak(fft2c(maps * image)[None])[0], (18, 18), 0.02, 0.9)
    where = (found.abs().sum(0) > 0) & (image.abs() > 0)
    assert float(where.sum()) > 0.8 * float(image.abs().sum())
    assert error(found.to(maps), maps, where) < 0.05


@pytest.mark.parametrize("lines", [6, 8, 10])
def test_few_lines_of_a_long_readout_have_maps(lines: int, implementation: str) -> None:
    kspace, maps, where = scan()
    few = torch.zeros_like(kspace)
    kept = slice(N // 2 - lines // 2, N // 2 + lines // 2)
    few[..., kept] = kspace[..., kept]
    found = espirit(few)[0]
    seen = where & (found.abs().sum(0) > 0)
    assert float(seen.sum() / where.sum()) > 0.9, implementation
    assert error(found, maps, seen) < 0.1


def test_a_centre_smaller_than_a_window_is_refused() -> None:
    kspace = scan()[0]
    with pytest.raises(OperatorError, match="`calibration` is"):
        espirit(kspace, (4, 20))
    few = torch.zeros_like(kspace)
    few[..., N // 2 - 2 : N // 2 + 3] = kspace[..., N // 2 - 2 : N // 2 + 3]
    with pytest.raises(OperatorError, match="64 x 4 samples is too small, 6 x 6"):
        espirit(few)
