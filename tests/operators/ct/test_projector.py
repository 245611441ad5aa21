"""Line integrals: against exact ones, other implementations, and backends against each other."""

import logging
import sys
import types
from dataclasses import replace
from typing import Any

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.ct import projector
from medscore.operators.ct.backends import matrix, torch_radon
from medscore.operators.ct.backends.astra import Astra
from medscore.operators.ct.backends.matrix import Chunked, Stored
from medscore.operators.ct.backends.storage import stored_bytes
from medscore.operators.ct.backends.triton import Triton
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram, rasterize
from medscore.operators.ct.projector import backproject, project

GEOMETRIES: dict[str, Geometry] = {
    "parallel": ParallelBeam(16, 1.5, 16),
    "parallel, odd size, views not divisible by 4": ParallelBeam(17, 0.7, 10),
    "parallel, odd number of detectors": ParallelBeam(16, 1.0, 12, 25, 1.1),
    "parallel, odd number of views": ParallelBeam(15, 1.0, 7),
    "list of angles": ParallelAngles(16, 1.0, (0.1, 0.5, 0.7853981633974483, 2.9)),
    "flat fan": FanBeam(16, 1.0, 16, 40.0, 60.0),
    "flat fan, views not divisible by 8": FanBeam(17, 1.0, 12, 40.0, 60.0),
    "flat fan, views not divisible by 4": FanBeam(16, 1.0, 10, 40.0, 60.0, 27),
    "curved fan": FanBeam(16, 1.0, 20, 40.0, 60.0, detector_shape="curved"),
    "fan with the source close by": FanBeam(16, 1.0, 8, 14.0, 30.0),
    "parallel, displaced": ParallelBeam(16, 1.5, 16, detector_offset=0.4),
    "parallel, displaced to one side": ParallelBeam(15, 1.0, 6, 14, 1.1, -5.0),
    "list of angles over a turn, displaced": ParallelAngles(
        16, 1.0, (0.1, 0.5, 2.9, 4.1), detector_offset=2.25
    ),
    "flat fan, displaced": FanBeam(16, 1.0, 16, 40.0, 60.0, detector_offset=0.4),
    "curved fan, displaced to one side": FanBeam(17, 1.0, 12, 40.0, 60.0, 20, 1.5, "curved", -9.0),
    "fan with listed views": FanBeam(16, 1.0, 3, 40.0, 60.0, list_of_angles=(0.2, 0.2, 3.0)),
}
geometries = pytest.mark.parametrize("g", GEOMETRIES.values(), ids=GEOMETRIES)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


@geometries
def test_the_symmetries_give_what_each_view_gives_by_itself(g: Geometry) -> None:
    x = draw(2, 1, g.size, g.size)
    full = project(x, g)
    torch.testing.assert_close(project(x, g, views=tuple(range(g.views))), full)
    y = draw(*full.shape, seed=1)
    alone = backproject(y, g, views=tuple(range(g.views)))
    torch.testing.assert_close(backproject(y, g), alone)


@geometries
def test_a_subset_of_the_views_may_have_any_order(g: Geometry) -> None:
    x, chosen = draw(1, 1, g.size, g.size), (g.views - 1, 0, g.views // 2)
    torch.testing.assert_close(project(x, g, views=chosen), project(x, g)[..., list(chosen), :])
    y = draw(1, 1, 3, g.detectors, seed=1)
    full = torch.zeros(1, 1, g.views, g.detectors).double()
    full[..., list(chosen), :] = y
    torch.testing.assert_close(backproject(y, g, views=chosen), backproject(full, g))


@geometries
@pytest.mark.parametrize("batch", [1, 3, 19])
def test_a_batch_may_be_computed_in_one_piece_or_several(g: Geometry, batch: int) -> None:
    x = draw(batch, g.size, g.size, dtype=torch.float32)
    y = project(x, g)
    torch.testing.assert_close(y, torch.stack([project(one, g) for one in x]))
    torch.testing.assert_close(
        backproject(y, g), torch.stack([backproject(one, g) for one in y]), rtol=1e-5, atol=1e-4
    )


EXACT = {
    "parallel": ParallelBeam(512, 300 / 512, 24),
    "fine detector": ParallelBeam(512, 300 / 512, 12, detector_spacing=0.3),
    "list of angles": ParallelAngles(512, 300 / 512, (0.05, 0.8, 1.7, 2.9)),
    "flat fan": FanBeam(512, 300 / 512, 12, 540.0, 950.0),
    "curved fan": FanBeam(512, 300 / 512, 12, 540.0, 950.0, detector_shape="curved"),
    "half fan": FanBeam(512, 300 / 512, 4, 540.0, 950.0, 300, 1.0, detector_offset=120.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_line_integrals_of_ellipses_are_exact_within_half_a_percent(name: str) -> None:
    """Relative L2 distance of the sinogram at 512 x 512."""
    shapes = (Ellipse(0.02, 30.0, -20.0, 60.0, 35.0, 0.6), Ellipse(0.01, -40.0, 50.0, 30.0, 30.0))
    g = EXACT[name]
    exact = exact_sinogram(shapes, g)
    found = project(rasterize(shapes, 512, 300 / 512), g)
    assert float((found - exact).norm() / exact.norm()) <= 0.005


def test_exact_line_integrals_of_a_disc_are_its_chords() -> None:
    g = ParallelBeam(64, 1.0, 6)
    s = g.offsets - (5 * torch.cos(g.angles) + 3 * torch.sin(g.angles))[:, None]
    chords = 2 * (10.0**2 - s**2).clamp_min(0).sqrt()
    torch.testing.assert_close(
        exact_sinogram((Ellipse(1.0, 5.0, 3.0, 10.0, 10.0),), g)[0, 0], chords
    )


@pytest.mark.skipif(not Astra.is_at_hand(), reason="astra-toolbox is not installed")
@pytest.mark.parametrize("name", [n for n, g in GEOMETRIES.items() if not isinstance(g, FanBeam)])
def test_astra_agrees(name: str) -> None:
    """An independent implementation of Joseph's method, in single precision."""
    g = GEOMETRIES[name]
    x = draw(2, g.size, g.size, dtype=torch.float32)
    y = project(x, g)
    torch.testing.assert_close(project(x, g, backend="astra"), y, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backproject(y, g, backend="astra"), backproject(y, g), rtol=1e-4,
                               atol=1e-3)  # fmt: skip


@pytest.mark.skipif(not Astra.is_at_hand(), reason="astra-toolbox is not installed")
def test_astra_refuses_a_fan_beam() -> None:
    g = GEOMETRIES["flat fan"]
    with pytest.raises(MedscoreError, match="astra does not support FanBeam"):
        project(draw(1, 16, 16), g, backend="astra")


SMALL: dict[str, Geometry] = {
    "parallel": ParallelBeam(7, 1.0, 4),
    "wide detectors": ParallelBeam(6, 1.0, 3, 5, 1.7),
    "fine detectors": ParallelBeam(6, 1.0, 3, 20, 0.4),
    "flat fan": FanBeam(6, 1.0, 5, 6.0, 9.0),
    "curved fan": FanBeam(6, 1.0, 5, 30.0, 50.0, detector_shape="curved"),
    "parallel, displaced": ParallelBeam(6, 1.0, 3, 9, 1.0, 1.3),
    "flat fan, displaced": FanBeam(6, 1.0, 5, 30.0, 50.0, 8, 1.5, detector_offset=-2.5),
    "curved fan, displaced": FanBeam(6, 1.0, 5, 30.0, 50.0, 8, 1.5, "curved", 2.5, (0, 1, 1, 2, 4)),
}


@pytest.mark.skipif(not Triton.is_at_hand(), reason="triton is not installed")
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triton_agrees(name: str, dtype: torch.dtype) -> None:
    g = SMALL[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = draw(2, g.size, g.size, dtype=dtype).to(device)
    y = project(x, g, backend="csr")
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(project(x, g, backend="triton"), y, **tolerance)
    back = backproject(y, g, backend="csr")
    torch.testing.assert_close(backproject(y, g, backend="triton"), back, **tolerance)


@pytest.mark.skipif(not Triton.is_at_hand(), reason="triton is not installed")
def test_triton_takes_some_views() -> None:
    g, x = SMALL["parallel"], draw(1, 7, 7)
    torch.testing.assert_close(
        project(x, g, views=(2, 0), backend="triton"), project(x, g, views=(2, 0), backend="csr")
    )


class FakeTorchRadon(types.ModuleType):
    """torch-radon's interface (v1.0), computed by our own projector in pixel units."""

    def Radon(self, size: int, angles: Any, det_count: int, det_spacing: float) -> Any:
        listed = tuple(angles.double().tolist())
        return self._Projector(ParallelAngles(size, 1.0, listed, det_count, det_spacing))

    def RadonFanbeam(
        self, size: int, angles: Any, source_distance: float, det_distance: float,
        det_count: int, det_spacing: float,
    ) -> Any:  # fmt: skip
        whole = source_distance + det_distance
        return self._Projector(
            FanBeam(size, 1.0, len(angles), source_distance, whole, det_count, det_spacing)
        )

    class _Projector:
        def __init__(self, geometry: Geometry) -> None:
            self.geometry = geometry

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return project(x, self.geometry, backend="csr")

        def backprojection(self, y: torch.Tensor) -> torch.Tensor:
            return backproject(y, self.geometry, backend="csr")


def test_torch_radon_refuses_a_displaced_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_radon.TorchRadon, "is_at_hand", staticmethod(lambda: True))
    monkeypatch.setitem(sys.modules, "torch_radon", FakeTorchRadon("torch_radon"))
    with pytest.raises(MedscoreError, match="`detector_offset`"):
        project(draw(1, 16, 16), GEOMETRIES["parallel, displaced"], backend="torch-radon")


@pytest.mark.parametrize("name", ["parallel", "list of angles", "flat fan"])
def test_torch_radon_is_called_in_its_own_units(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_radon", FakeTorchRadon("torch_radon"))
    monkeypatch.setattr(torch_radon.TorchRadon, "is_at_hand", staticmethod(lambda: True))
    torch_radon._projector.cache_clear()
    g = replace(GEOMETRIES[name], spacing=0.8, detector_spacing=1.2)
    x = draw(2, 16, 16, dtype=torch.float32)
    y = project(x, g, backend="csr")
    torch.testing.assert_close(project(x, g, backend="torch-radon"), y, rtol=1e-4, atol=1e-4)
    back = backproject(y, g, backend="csr")
    torch.testing.assert_close(backproject(y, g, backend="torch-radon"), back, rtol=1e-4, atol=1e-3)
    with pytest.raises(MedscoreError, match="multiple of 16"):
        project(draw(1, 17, 17), replace(g, size=17, detectors=0), backend="torch-radon")
    torch_radon._projector.cache_clear()


@pytest.mark.parametrize("kind", ["astra", "triton", "torch-radon"])
def test_a_backend_that_is_not_installed_says_so(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = projector.BACKENDS[kind]
    monkeypatch.setattr(backend, "is_at_hand", staticmethod(lambda: False))
    monkeypatch.setitem(sys.modules, kind.replace("-", "_"), None)
    projector.choose.cache_clear()
    with pytest.raises(MedscoreError, match=f"{kind}.*use csr"):
        project(draw(1, 16, 16), GEOMETRIES["parallel"], backend=kind)
    projector.choose.cache_clear()


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="`backend` is 'gpu', expected auto or one of csr"):
        project(draw(1, 16, 16), GEOMETRIES["parallel"], backend="gpu")


def test_auto_stores_what_fits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    g = ParallelBeam(20, 1.0, 12)
    need, half = stored_bytes(g, None), stored_bytes(g, None, half=True)
    projector.choose.cache_clear()
    with caplog.at_level(logging.INFO, "medscore.operators.ct.projector"):
        assert projector.choose(g, "cpu", None, "auto", need) == Stored()
        assert projector.choose(g, "cpu", None, "auto", need - 1) == Stored(half=True)
        assert projector.choose(g, "cpu", None, "auto", half) == Stored(half=True)
        assert isinstance(projector.choose(g, "cpu", None, "auto", half - 1), Chunked)
    chosen = [message.split(" for ")[0] for message in caplog.messages]
    assert chosen == [
        f"projector backend {name} on cpu" for name in ("csr", "csr-half", "csr-half", "chunked")
    ]


@geometries
def test_chunked_in_many_pieces_equals_csr(g: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "PIECE", 7 * g.size)
    x = draw(2, g.size, g.size)
    y = project(x, g, backend="csr")
    torch.testing.assert_close(project(x, g, backend="chunked"), y)
    torch.testing.assert_close(backproject(y, g, backend="chunked"), backproject(y, g))
