"""The algorithm of Feldkamp against exact line integrals, and its back-projection."""

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError, MedscoreWarning
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.feldkamp import weighted_backprojection
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit, orbit_of
from medscore.operators.ct.ellipsoids import Ellipsoid, line_integrals
from medscore.operators.ct.geometry import FanBeam
from medscore.operators.ct.phantoms import Ellipse
from medscore.operators.ct.radon import Radon

PHANTOM = (
    Ellipsoid(Ellipse(0.02, 0.0, 0.0, 52.0, 46.0, 0.3), 0.0, 50.0),
    Ellipsoid(Ellipse(-0.01, 16.0, 10.0, 13.0, 11.0, 1.0), 2.0, 14.0),
    Ellipsoid(Ellipse(0.01, -22.0, -8.0, 10.0, 12.0), -4.0, 12.0),
)
"""Water with a lighter and a denser inner part, both around the middle plane."""
GRID = VoxelGrid((32, 32, 32), (4.0, 4.0, 4.0))
SETTING = {"source_distance": 300.0, "detector_distance": 450.0, "rows": 56, "columns": 60,
           "pitch": (4.0, 4.0)}  # fmt: skip


def orbit(degrees: Any, **changes: Any) -> ConeGeometry:
    angles = [math.radians(d) for d in degrees]
    return circular_orbit(GRID, angles, **{**SETTING, **changes})


def turn(views: int) -> list[float]:
    return [360 * k / views for k in range(views)]


def scanned(g: ConeGeometry) -> Tensor:
    """Exact line integrals (1, 1, views, rows, columns)."""
    rows = torch.arange(g.rows, dtype=torch.float64)[None, :, None, None] - g.middle[0]
    pixel = g.column_middles()[:, None] + rows * g.v[:, None, None]
    source = g.source[:, None, None]
    return line_integrals(PHANTOM, source.expand_as(pixel), pixel - source)[None, None].float()


def beam(g: ConeGeometry, mask: Tensor | None = None) -> ConeBeam:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some detectors do not cover the corners
        return ConeBeam(g, torch.ones(g.views, 1, 1) if mask is None else mask)


def reconstructed(g: ConeGeometry, mask: Tensor | None = None) -> Tensor:
    scan = beam(g, mask)
    y = scanned(g)
    return scan.fbp(scan.mask(y) * y)[0, 0]


def mean_in(x: Tensor, z: float, centre: tuple[float, float], radius: float) -> float:
    """Mean over the voxels of the two slices next to height z, within a circle."""
    at = (torch.arange(32) - 15.5) * 4.0
    inside = torch.hypot(at[None, :] - centre[0], -at[:, None] - centre[1]) < radius
    near = (at - z).abs() < 4.0
    return float(x[near][:, inside].mean())


def densities(x: Tensor) -> list[float]:
    """In the middle plane: of the water, of the lighter and of the denser part."""
    return [
        mean_in(x, 0.0, (0.0, -30.0), 8.0),
        mean_in(x, 2.0, (16.0, 10.0), 6.0),
        mean_in(x, -2.0, (-22.0, -8.0), 5.0),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "g",
    [
        orbit(turn(120)),
        orbit(turn(121)),
        orbit(turn(120), detector_shape="curved"),
        orbit(turn(160), columns=44, offset=(0.0, 60.0)),
        orbit(turn(160), columns=44, offset=(0.0, -60.0), detector_shape="curved"),
        orbit([20 + 1.5 * k for k in range(145)]),
        orbit([20 + 1.5 * k for k in range(145)][::-1], detector_shape="curved"),
        orbit(turn(120), offset=(6.0, 0.0)),
    ],
    ids=["turn", "odd", "curved", "half fan", "curved half fan", "short", "curved short", "raised"],
)
def test_densities_in_the_middle_plane_are_right_within_2_percent(g: ConeGeometry) -> None:
    assert densities(reconstructed(g)) == pytest.approx([0.02, 0.01, 0.03], rel=0.02)


@pytest.mark.slow
def test_half_of_the_views_of_the_full_grid_are_reconstructed_as_their_own_scan() -> None:
    mask = (torch.arange(240) % 2 == 0)[:, None, None]
    whole = reconstructed(orbit(turn(240)), mask)
    torch.testing.assert_close(whole, reconstructed(orbit(turn(120))), atol=2e-6, rtol=0)


@pytest.mark.slow
def test_off_the_plane_densities_fall_by_the_known_cone_artifact() -> None:
    """A circular orbit does not measure what is nearly constant along z: the density drops with
    the height, by far more for a wide cone than for a narrow one."""
    losses = []
    for distance in (300.0, 3000.0):
        g = orbit(turn(120), source_distance=distance, detector_distance=1.5 * distance)
        x = reconstructed(g)
        losses.append([0.02 - mean_in(x, z, (0.0, 0.0), 8.0) for z in (20.0, 40.0)])
    (low, high), (narrow_low, narrow_high) = losses
    assert high > low > 4 * abs(narrow_low)
    assert high > 10 * abs(narrow_high)
    assert 0.0004 < high < 0.003


def test_the_middle_slice_is_the_fan_beams() -> None:
    """One slice and one row: filtered back-projection of the fan beam, to rounding."""
    angles = [math.radians(20 + 4 * k) for k in range(60)]
    fan = FanBeam(24, 1.5, 60, 60.0, 90.0, 70, 1.3, list_of_angles=tuple(angles))
    g = circular_orbit(
        VoxelGrid((1, 24, 24), (2.0, 1.5, 1.5)), angles, source_distance=60.0,
        detector_distance=90.0, rows=1, columns=70, pitch=(1.0, 1.3),
    )  # fmt: skip
    y = torch.rand(1, 1, 60, 70, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = Radon(fan, torch.ones(60, 1)).fbp(y)
    found = ConeBeam(g, torch.ones(60, 1, 1)).fbp(y[:, :, :, None])
    torch.testing.assert_close(found[0], expected)


def by_voxels(y: Tensor, g: ConeGeometry) -> Tensor:
    """The weighted back-projection voxel by voxel, from where each voxel is projected."""
    grid, distance = g.grid, orbit_of(g).source_distance
    k, i, j = torch.meshgrid(
        *[torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in grid.shape], indexing="ij"
    )
    (s_z, s_y, s_x), (x, h, z) = grid.spacing, grid.centre
    points = torch.stack([x + j * s_x, h - i * s_y, z + k * s_z], -1).reshape(-1, 3)
    row, column, depth = g.locate(points)
    away = depth * orbit_of(g).detector_distance
    if g.detector_shape == "curved":
        away = (points[:, :2] - g.source[:, None, :2]).norm(dim=-1)
    total = torch.zeros(len(points), dtype=torch.float64)
    for view in range(g.views):
        seen = (column[view] >= -0.5) & (column[view] <= g.columns - 0.5)
        c = column[view].clamp(0, g.columns - 1)
        r = (row[view] + 1).clamp(0, g.rows + 1)
        framed = torch.nn.functional.pad(y[view], (0, 1, 1, 2))
        for a in (0, 1):
            for b in (0, 1):
                share = (1 - (r.floor() + a - r).abs()) * (1 - (c.floor() + b - c).abs())
                value = framed[(r.floor() + a).long(), (c.floor() + b).long()]
                total += share * value * seen * (distance / away[view]) ** 2
    return total.reshape(grid.shape)


SMALL = {"source_distance": 30.0, "detector_distance": 45.0, "rows": 6, "columns": 9,
         "pitch": (1.1, 1.2)}  # fmt: skip


@pytest.mark.parametrize(
    ("grid", "degrees", "changes"),
    [
        (VoxelGrid((4, 5, 5), (1.3, 1.0, 1.0)), turn(8), {}),
        (VoxelGrid((3, 6, 6), (1.3, 1.0, 1.0)), turn(8), {"rows": 5}),
        (VoxelGrid((4, 5, 5), (1.3, 1.0, 1.0)), turn(4), {"offset": (0.3, 0.7)}),
        (VoxelGrid((4, 5, 6), (1.3, 1.0, 1.0)), [46.0, 226.0], {"offset": (0.0, 0.7)}),
        (
            VoxelGrid((4, 5, 6), (1.3, 1.0, 0.7), (1.0, 2.0, 0.5)),
            [6.0, 50.0, 170.0],
            {"offset": (0.3, 0.7), "detector_shape": "curved"},
        ),
    ],
)
def test_back_projection_takes_what_each_voxel_sees(
    grid: VoxelGrid, degrees: list[float], changes: dict[str, Any]
) -> None:
    g = circular_orbit(grid, [math.radians(d) for d in degrees], **{**SMALL, **changes})
    y = torch.rand(1, *g.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for memory in (2000, 2**28):
        found = weighted_backprojection(y, g, orbit_of(g), memory=memory)[0]
        torch.testing.assert_close(found, by_voxels(y[0], g))


def test_a_short_arc_and_other_orbits_are_refused() -> None:
    y = torch.zeros(1, 1, 40, 56, 60)
    with pytest.raises(MedscoreError, match="needs an arc of"):
        beam(orbit([2 * k for k in range(40)])).fbp(y)
    g = orbit(turn(40))
    raised = ConeGeometry(
        g.grid, g.source + torch.linspace(0, 9, 40)[:, None], g.detector, g.u, g.v, 56, 60
    )
    with pytest.raises(MedscoreError, match="not on a circle"):
        beam(raised).fbp(y)
    with pytest.raises(MedscoreError, match=r"T_inv is not known.*diffpir, dds or dps"):
        beam(raised).T_inv(y)


def test_a_detector_that_does_not_cover_the_volume_is_reported() -> None:
    with pytest.warns(MedscoreWarning, match="of the volume lie outside the detector"):
        ConeBeam(orbit(turn(8), rows=20), torch.ones(8, 1, 1))
