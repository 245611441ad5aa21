"""Cone-beam projections against Joseph's definition, exact integrals, and the fan beam."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit
from medscore.operators.ct.cone.projector import backproject, project
from medscore.operators.ct.cone.symmetry import OCTET, plan
from medscore.operators.ct.cone.voxel_rays import voxel_rays
from medscore.operators.ct.ellipsoids import Ellipsoid, cut, line_integrals
from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.phantoms import Ellipse, rasterize
from medscore.operators.ct.projector import project as project_slice

SQUARE, BOX = VoxelGrid((4, 5, 5), (1.3, 1.0, 1.0)), VoxelGrid((4, 5, 6), (1.3, 1.0, 0.7))
ODD = VoxelGrid((3, 6, 6), (1.3, 1.0, 1.0))
MOVED = VoxelGrid((4, 5, 6), (1.3, 1.0, 0.7), (1.0, 2.0, 0.5))
SETTING = {
    "source_distance": 30.0, "detector_distance": 45.0, "rows": 6, "columns": 9,
    "pitch": (1.1, 1.2),
}  # fmt: skip


def orbit(grid: VoxelGrid, *angles: float, **changes: Any) -> ConeGeometry:
    return circular_orbit(grid, angles, **{**SETTING, **changes})


def turn(views: int, start: float = 0.0) -> list[float]:
    return [start + 2 * math.pi * k / views for k in range(views)]


def tilted(g: ConeGeometry) -> ConeGeometry:
    """Detectors that are tilted and turned in their planes, and sources of various heights."""
    lean = torch.tensor([0.1, -0.05, 0.2], dtype=torch.float64)
    up = torch.arange(g.views, dtype=torch.float64)[:, None] * torch.tensor([[0, 0, 1.5]]).double()
    return ConeGeometry(g.grid, g.source + up, g.detector - up, g.u + lean.flip(0) / 2, g.v + lean,
                        g.rows, g.columns)  # fmt: skip


SCANS = {
    "all symmetries": orbit(SQUARE, *turn(8)),
    "all symmetries, odd sizes": orbit(ODD, *turn(8), rows=5),
    "quarter turns": orbit(SQUARE, *turn(4, 0.1), offset=(0.3, 0.7)),
    "half turns": orbit(BOX, *turn(2, 0.8), offset=(0.0, 0.7)),
    "none": orbit(MOVED, 0.1, 0.9, 3.0, offset=(0.3, 0.7), detector_shape="curved"),
    "rows downwards": ConeGeometry(**{
        **{n: getattr(orbit(BOX, 0.1, 2.0), n) for n in
           ("grid", "source", "detector", "u", "rows", "columns")},
        "v": -orbit(BOX, 0.1, 2.0).v,
    }),
    "fine rows": orbit(BOX, 0.1, 2.0, pitch=(0.2, 1.2), rows=30),
    "tilted": tilted(orbit(MOVED, 0.1, 0.9, 3.0)),
    "steep": orbit(VoxelGrid((30, 4, 4), (1.3, 1.0, 1.0)), 0.3, source_distance=8.0,
                   detector_distance=16.0, rows=13, pitch=(6.0, 1.0)),
}  # fmt: skip
every_scan = pytest.mark.parametrize("name", SCANS)


def joseph(g: ConeGeometry) -> Tensor:
    """The matrix (rays, voxels) by definition: each voxel takes part in the plane of the main axis
    that it lies in, by its distance along the two other axes from where the ray crosses it."""
    rays = voxel_rays(g)
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in g.grid.shape]
    voxel = torch.cartesian_prod(*axes)
    rows = []
    for view in range(g.views):
        towards = rays.directions(view).reshape(-1, 1, 3)
        main = towards.abs().argmax(-1, keepdim=True)
        along = torch.gather(towards, -1, main)
        there = torch.gather(voxel.expand(len(towards), -1, -1), -1, main.expand(-1, len(voxel), 1))
        t = (there - rays.source[view].expand_as(towards).gather(-1, main)) / along
        share = (1 - (rays.source[view] + t * towards - voxel).abs()).clamp_min(0)
        spacing = torch.tensor(g.grid.spacing, dtype=torch.float64)
        length = (towards * spacing).norm(dim=-1, keepdim=True) / along.abs()
        rows.append((length * (t > 0))[..., 0] * share.prod(-1))  # 1 along the main axis itself
    return torch.cat(rows)


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@every_scan
def test_projection_and_adjoint_are_josephs_matrix_and_its_transpose(name: str) -> None:
    g = SCANS[name]
    matrix = joseph(g)
    x, y = draw(2, 1, *g.grid.shape), draw(2, 1, *g.shape)
    forward = (x.reshape(2, -1) @ matrix.mT).reshape(y.shape)
    back = (y.reshape(2, -1) @ matrix).reshape(x.shape)
    assert relative(project(x, g), forward) <= 1e-12
    assert relative(backproject(y, g), back) <= 1e-12


@every_scan
def test_dot_test_in_float32(name: str) -> None:
    g = SCANS[name]
    x, y = draw(2, *g.grid.shape, dtype=torch.float32), draw(2, *g.shape, dtype=torch.float32)
    ax, aty = project(x, g), backproject(y, g)
    gap = (ax.double() * y.double()).sum() - (x.double() * aty.double()).sum()
    assert abs(float(gap)) <= 1e-5 * float(ax.norm() * y.norm())


def test_the_symmetries_of_the_scans_are_found() -> None:
    found = {name: plan(voxel_rays(g)) for name, g in SCANS.items()}
    groups = {name: (len(p.elements), p.fold) for name, p in found.items()}
    assert groups["all symmetries"] == groups["all symmetries, odd sizes"] == (8, True)
    assert groups["quarter turns"] == (4, False)
    assert groups["half turns"] == (2, True)
    assert groups["none"] == groups["tilted"] == (1, False)
    assert len(found["all symmetries"].seeds) == 2


def test_the_elements_are_a_group() -> None:
    p = draw(5, 3)
    for a in OCTET:
        torch.testing.assert_close(a.inverse.point(a.point(p)), p)
        for b in OCTET:
            torch.testing.assert_close(a.after(b).point(p), a.point(b.point(p)))
            assert a.after(b) in OCTET


@pytest.mark.parametrize("name", ["all symmetries", "none", "tilted"])
def test_gradients_are_the_adjoint_and_back(name: str) -> None:
    g = SCANS[name]
    x, y = draw(1, *g.grid.shape).requires_grad_(), draw(1, *g.shape).requires_grad_()
    (by_x,) = torch.autograd.grad((project(x, g) * y).sum(), x, create_graph=True)
    torch.testing.assert_close(by_x, backproject(y, g))
    (by_y,) = torch.autograd.grad((by_x * x).sum(), y)
    torch.testing.assert_close(by_y, project(x, g))
    torch.testing.assert_close(torch.func.vmap(lambda v: project(v, g))(x), project(x, g))


@pytest.mark.parametrize("name", ["all symmetries", "none", "tilted"])
def test_the_memory_changes_no_result(name: str) -> None:
    g = SCANS[name]
    x, y = draw(3, *g.grid.shape), draw(3, *g.shape)
    for run, a in ((project, x), (backproject, y)):
        torch.testing.assert_close(run(a, g, memory=2000), run(a, g), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(run(a[:1], g), run(a, g)[:1], rtol=1e-12, atol=1e-12)


def test_some_views_are_projected_as_in_the_whole_scan() -> None:
    g = SCANS["all symmetries"]
    x, views = draw(1, *g.grid.shape), (5, 0, 3)
    torch.testing.assert_close(project(x, g, views=views), project(x, g)[:, list(views)])
    y = torch.zeros(1, *g.shape, dtype=torch.float64)
    y[:, list(views)] = draw(1, 3, 6, 9)
    torch.testing.assert_close(backproject(y[:, list(views)], g, views=views), backproject(y, g))


def test_no_memory_is_refused() -> None:
    with pytest.raises(MedscoreError, match="`memory` is 0"):
        project(draw(1, 4, 5, 5), SCANS["quarter turns"], memory=0)


@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_the_central_slice_is_the_fan_beam(shape: str) -> None:
    """One slice, and one row of detectors: the projector of the fan beam, to rounding."""
    fan = FanBeam(24, 1.5, 20, 60.0, 90.0, 40, 1.3, detector_shape=shape, detector_offset=2.0)
    g = circular_orbit(
        VoxelGrid((1, 24, 24), (2.0, 1.5, 1.5)), fan.angles, source_distance=60.0,
        detector_distance=90.0, rows=1, columns=40, pitch=(1.0, 1.3), offset=(0.0, 2.0),
        detector_shape=shape,
    )  # fmt: skip
    x = draw(1, 1, 24, 24)
    expected = project_slice(x, fan)
    assert relative(project(x, g)[:, :, 0], expected[:, 0]) <= 1e-12


@pytest.mark.parametrize("name", ["orbit", "curved", "tilted"])
def test_a_small_sphere_is_seen_where_its_centre_is_projected(name: str) -> None:
    grid = VoxelGrid((20, 24, 28), (1.0, 1.2, 0.9), (2.0, -1.0, 3.0))
    g = circular_orbit(
        grid, [0.2, 1.9, 4.0], source_distance=100.0, detector_distance=150.0, rows=60, columns=80,
        pitch=(0.8, 0.9), offset=(1.0, -3.0),
        detector_shape="curved" if name == "curved" else "flat",
    )  # fmt: skip
    g = tilted(g) if name == "tilted" else g
    centre = torch.tensor([[5.0, -4.0, 6.0]], dtype=torch.float64)
    x = torch.zeros(grid.shape, dtype=torch.float64)
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in grid.shape]
    k, i, j = torch.meshgrid(*axes, indexing="ij")
    at = torch.stack([2 + 0.9 * j, -1 - 1.2 * i, 3 + k], -1)
    x = (1 - ((at - centre) ** 2).sum(-1) / 9).clamp_min(0)
    y = project(x[None], g)[0]
    row, column, _ = g.locate(centre)
    for view in range(3):
        weight = y[view] / y[view].sum()
        r = (weight.sum(1) * torch.arange(60)).sum()
        c = (weight.sum(0) * torch.arange(80)).sum()
        assert float(r) == pytest.approx(float(row[view]), abs=0.03)
        assert float(c) == pytest.approx(float(column[view]), abs=0.03)


PHANTOM = (
    Ellipsoid(Ellipse(1.0, 0.0, 0.0, 22.0, 18.0, 0.3), 1.0, 17.0),
    Ellipsoid(Ellipse(-0.5, 6.0, 3.0, 7.0, 9.0, 1.0), -3.0, 8.0),
)


def volume(grid: VoxelGrid, fine: int = 4) -> Tensor:
    """The phantom in voxels, each the mean of some points; (Z, Y, X), cubic in its slices."""
    depth, size, _ = grid.shape
    z = (torch.arange(depth * fine) - (depth * fine - 1) / 2) * (grid.spacing[0] / fine)
    slices = [rasterize(cut(PHANTOM, float(h)), size, grid.spacing[1], samples=fine) for h in z]
    return torch.cat(slices)[:, 0].unflatten(0, (depth, fine)).mean(1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_projections_of_ellipsoids_are_the_exact_integrals(shape: str) -> None:
    """The mean error is 0.5 % of the mean integral; it falls in proportion to the voxels, as it
    comes from the surface."""
    errors = []
    for n in (32, 64, 128):
        grid = VoxelGrid((n, 9 * n // 8, 9 * n // 8), (44.8 / n,) * 3)
        g = circular_orbit(
            grid, turn(2, 0.3), source_distance=120.0, detector_distance=180.0, rows=60,
            columns=70, pitch=(1.1, 1.2), detector_shape=shape,
        )  # fmt: skip
        y = project(volume(grid, 2).float()[None], g)[0]
        rows = torch.arange(60, dtype=torch.float64)[None, :, None, None] - 29.5
        pixel = g.column_middles()[:, None] + rows * g.v[:, None, None]
        source = g.source[:, None, None]
        exact = line_integrals(PHANTOM, source.expand_as(pixel), pixel - source)
        errors.append(float((y - exact).abs().mean() / exact.mean()))
        assert float(y.mean() / exact.mean()) == pytest.approx(1, abs=2e-3)
    assert errors[2] <= 5e-3
    assert errors[1] <= errors[0] / 1.7
    assert errors[2] <= errors[1] / 1.7


def test_the_integral_along_a_half_line_is_the_chord_ahead_of_it() -> None:
    ball = (Ellipsoid(Ellipse(2.0, 0.0, 0.0, 3.0, 3.0), 0.0, 3.0),)
    start = torch.tensor([[0.0, -10, 0], [0, 0, 0], [0, 10, 0], [1.0, 1.0, -9.0]])
    towards = torch.tensor([[0.0, 2, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0.5]])
    chord = 4 * math.sqrt(9 - 2)
    found = line_integrals(ball, start, towards)
    torch.testing.assert_close(found, torch.tensor([12.0, 6.0, 0.0, chord], dtype=torch.float64))
