"""Stored projection matrices: their blocks, their values in float16, their cache on disk."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medscore.operators.ct import blocks
from medscore.operators.ct.backends import cache, matrix, storage
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.projector import backproject, project
from medscore.operators.ct.symmetry import octet

GEOMETRIES: dict[str, Geometry] = {
    "parallel, 8 symmetries": ParallelBeam(24, 1.5, 16),
    "parallel, odd size, views not divisible by 4": ParallelBeam(23, 0.7, 10),
    "parallel, displaced, 2 symmetries": ParallelBeam(24, 1.5, 16, detector_offset=0.4),
    "fan, 8 symmetries": FanBeam(24, 1.0, 16, 60.0, 90.0),
    "fan, displaced, 4 symmetries": FanBeam(24, 1.0, 16, 60.0, 90.0, detector_offset=0.4),
    "no symmetry": ParallelAngles(24, 1.0, (0.1, 0.5, 0.7853981633974483, 2.9)),
}
geometries = pytest.mark.parametrize("g", GEOMETRIES.values(), ids=GEOMETRIES)
stores = pytest.mark.parametrize("backend", ["csr", "csr-half"])


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def forget() -> None:
    for remembered in (storage.stored, storage.layout, matrix._indices, blocks.tiled):
        remembered.cache_clear()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of at most 150 pixels in every stored matrix."""
    monkeypatch.setattr(blocks, "TILE", 4)
    monkeypatch.setattr(blocks, "PIXELS", 150)
    monkeypatch.setattr(storage, "LARGE", 0)
    monkeypatch.setattr(storage, "SHORT", 400)
    forget()
    yield
    forget()


@pytest.mark.parametrize("size", [1, 7, 24, 33, 40])
def test_every_block_is_invariant_under_the_symmetries(size: int, small_blocks: None) -> None:
    found = blocks.tiled(size)
    assert found.order is not None
    assert found.place is not None
    assert torch.equal(found.order[found.place], torch.arange(size * size))
    stops = [0]
    for own in found.slices:
        assert own.start == stops[-1]
        assert 0 < own.stop - own.start <= 150
        stops.append(own.stop)
        inside = torch.zeros(size * size, dtype=torch.bool)
        inside[found.order[own]] = True
        assert all(torch.equal(turned, inside.reshape(size, size))
                   for turned in octet(inside.reshape(size, size)))  # fmt: skip
    assert stops[-1] == size * size
    assert (len(stops) > 2) == (size > 12)


@geometries
@pytest.mark.parametrize("batch", [1, 19])
def test_a_matrix_in_blocks_equals_one_in_a_piece(
    g: Geometry, batch: int, small_blocks: None
) -> None:
    x = draw(batch, g.size, g.size)
    y = project(x, g, backend="csr")
    torch.testing.assert_close(y, project(x, g, backend="chunked"))
    torch.testing.assert_close(
        backproject(y, g, backend="csr"), backproject(y, g, backend="chunked")
    )
    if g.seeds() is not None:
        assert len(storage.layout(g, None).slices) > 2


@geometries
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_half_precision_changes_line_integrals_little(g: Geometry, dtype: torch.dtype) -> None:
    x = draw(2, g.size, g.size, dtype=dtype).abs()
    y = project(x, g, backend="csr")
    rounded = project(x, g, backend="csr-half")
    assert rounded.dtype == dtype
    assert 0 < float((rounded - y).norm() / y.norm()) < 2e-4
    back = backproject(y, g, backend="csr")
    change = float((backproject(y, g, backend="csr-half") - back).norm() / back.norm())
    assert 0 < change < 2e-4


@geometries
@stores
@pytest.mark.parametrize("blocked", [False, True])
def test_the_stored_transpose_is_the_adjoint(
    g: Geometry, backend: str, blocked: bool, request: pytest.FixtureRequest
) -> None:
    if blocked:
        request.getfixturevalue("small_blocks")
    x = draw(3, g.size, g.size, dtype=torch.float32)
    y = draw(3, g.views, g.detectors, seed=1, dtype=torch.float32)
    ax, back = project(x, g, backend=backend), backproject(y, g, backend=backend)
    gap = float((ax.double() * y.double()).sum() - (x.double() * back.double()).sum())
    assert abs(gap) <= 1e-6 * float(ax.norm() * y.norm())


@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_half_precision_does_not_depend_on_the_unit_of_length(unit: float) -> None:
    g, x = ParallelBeam(16, 1.0, 8), draw(1, 16, 16)
    scaled = ParallelBeam(16, unit, 8)
    y = project(x, g, backend="csr-half")
    torch.testing.assert_close(project(x, scaled, backend="csr-half") / unit, y)
    back = backproject(y, g, backend="csr-half")
    torch.testing.assert_close(backproject(y, scaled, backend="csr-half") / unit, back)


@geometries
@stores
@pytest.mark.parametrize("blocked", [False, True])
def test_the_memory_of_a_matrix_is_known_before(
    g: Geometry, backend: str, blocked: bool, request: pytest.FixtureRequest
) -> None:
    if blocked:
        request.getfixturevalue("small_blocks")
    half = backend == "csr-half"
    pair = storage.stored(g, None, torch.float32, torch.device("cpu"), half)
    assert storage.stored_bytes(g, None, half=half) == pair.nbytes


@geometries
def test_half_precision_takes_half_of_the_memory(g: Geometry) -> None:
    assert storage.stored_bytes(g, None, half=True) < 0.55 * storage.stored_bytes(g, None)


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything is cached, here; nothing is in memory."""
    monkeypatch.setenv("MEDSCORE_CACHE", str(tmp_path / "made" / "cache"))
    monkeypatch.setattr(cache, "SMALLEST", 0)
    forget()
    return tmp_path / "made" / "cache"


@stores
def test_a_cached_matrix_is_read_instead_of_computed(
    backend: str, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    g, x = ParallelBeam(11, 1.0, 8), draw(1, 11, 11)
    y = project(x, g, backend=backend)
    assert len(list(small_cache.iterdir())) == 1
    storage.stored.cache_clear()

    def never(*arguments: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(storage, "joseph", never)
    assert torch.equal(project(x, g, backend=backend), y)
    with pytest.raises(AssertionError, match="made again"):
        project(x, replace(g, spacing=1.1), backend=backend)


def test_each_precision_has_its_own_file(small_cache: Path) -> None:
    g = ParallelBeam(11, 1.0, 8)
    for count, (backend, dtype) in enumerate(
        [("csr", torch.float64), ("csr", torch.float32), ("csr-half", torch.float32)], 1
    ):
        project(draw(1, 11, 11, dtype=dtype), g, backend=backend)
        assert len(list(small_cache.iterdir())) == count
    storage.stored.cache_clear()
    project(draw(1, 11, 11), g, backend="csr-half")  # the rounded matrix serves every type
    assert len(list(small_cache.iterdir())) == 3


@stores
def test_a_damaged_cache_file_is_computed_again(
    backend: str, small_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    g, x = ParallelBeam(11, 1.0, 8), draw(1, 11, 11)
    y = project(x, g, backend=backend)
    (path,) = small_cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    storage.stored.cache_clear()
    assert torch.equal(project(x, g, backend=backend), y)
    assert "computed again" in caplog.text
    values = load_file(path)["forward.0.values"]
    assert values.dtype == (torch.float16 if backend == "csr-half" else torch.float64)


def test_a_cache_that_cannot_be_written_is_not_needed(
    small_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_cache.parent.mkdir()
    small_cache.write_text("not a folder")
    g, x = ParallelBeam(11, 1.0, 8), draw(1, 11, 11)
    y = project(x, g, backend="csr")
    assert bool(y.any())
    assert "cannot be stored" in caplog.text


def test_the_oldest_matrices_are_removed_beyond_the_limit(
    small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for n in (11, 12, 13):
        project(draw(1, n, n), ParallelBeam(n, 1.0, 8), backend="csr")
        made += [p for p in small_cache.iterdir() if p not in made]
        monkeypatch.setattr(cache, "LIMIT", made[-1].stat().st_size + 1)
    assert list(small_cache.iterdir()) == [made[-1]]
