"""Where points of the world are projected, and projection matrices in and out."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.matrices import RTK_WORLD, from_matrices, projection_matrices
from medscore.operators.ct.cone.orbit import circular_orbit, orbit_of

GRID = VoxelGrid((8, 10, 12), (2.0, 1.5, 1.0))
ORBIT = {
    "source_distance": 100.0, "detector_distance": 150.0, "rows": 21, "columns": 31,
    "pitch": (2.0, 1.0),
}  # fmt: skip


def orbit(*degrees: float, **changes: Any) -> ConeGeometry:
    return circular_orbit(GRID, [math.radians(d) for d in degrees], **{**ORBIT, **changes})


def poses(**changes: Any) -> dict[str, Any]:
    one = orbit(0.0, 90.0)
    names = ("grid", "source", "detector", "u", "v", "rows", "columns", "detector_shape")
    return {name: getattr(one, name) for name in names} | changes


@pytest.mark.parametrize(
    ("degrees", "point", "row", "column"),
    [
        (0, (0, 0, 0), 10.0, 15.0),  # the central ray meets the middle pixel
        (0, (4, 0, 0), 10.0, 21.0),  # x is along u: magnified by 1.5, 1 mm a column
        (0, (0, 0, 4), 13.0, 15.0),  # z is along v: magnified by 1.5, 2 mm a row
        (0, (4, 20, 8), 15.0, 20.0),  # further away, at 120 mm: magnified by 1.25
        (90, (0, 4, 0), 10.0, 21.0),  # the source at (100, 0, 0): u is along y
        (90, (20, 4, 0), 10.0, 22.5),  # towards the source, at 80 mm: magnified by 1.875
        (180, (4, 0, 2), 11.5, 9.0),
        (270, (0, 4, 0), 10.0, 9.0),
        (45, (math.sqrt(8), math.sqrt(8), 0), 10.0, 21.0),
    ],
)
def test_a_point_of_the_world_is_projected_to_its_pixel(
    degrees: float, point: tuple[float, ...], row: float, column: float
) -> None:
    found = orbit(degrees).locate(torch.tensor([point], dtype=torch.float64))
    assert [float(f) for f in found[:2]] == pytest.approx([row, column])


def test_an_offset_moves_the_detector_and_the_pixel_of_a_point_the_other_way() -> None:
    row, column, _ = orbit(0, offset=(4.0, 3.0)).locate(torch.zeros(1, 3))
    assert (float(row), float(column)) == pytest.approx((8.0, 12.0))


def test_a_curved_detector_counts_columns_along_its_arc() -> None:
    at = 100 * math.tan(0.1), 0.0, 4.0
    row, column, _ = orbit(0, detector_shape="curved", offset=(0.0, 3.0)).locate(torch.tensor([at]))
    assert float(column) == pytest.approx(15 - 3 + 0.1 * 150, abs=1e-5)
    assert float(row) == pytest.approx(10 + 4 * 1.5 * math.cos(0.1) / 2, abs=1e-5)


@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_the_middle_of_every_pixel_is_projected_to_itself(shape: str) -> None:
    g = orbit(10.0, 200.0, detector_shape=shape, offset=(1.0, 5.0))
    rows = torch.arange(g.rows, dtype=torch.float64)[:, None]
    for view in range(2):
        pixel = g.column_middles()[view] + (rows - 10)[..., None] * g.v[view]
        along = g.source[view] + 0.6 * (pixel.reshape(-1, 3) - g.source[view])
        row, column, _ = g.locate(along)
        expected = torch.cartesian_prod(rows[:, 0], torch.arange(31, dtype=torch.float64))
        torch.testing.assert_close(torch.stack([row[view], column[view]], 1), expected)


@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_an_orbit_is_recognised_in_its_poses(shape: str) -> None:
    g = orbit(10.0, 200.0, 350.0, detector_shape=shape, offset=(1.0, 5.0))
    found = orbit_of(g)
    torch.testing.assert_close(found.angles, torch.tensor([10.0, 200, 350]).double().deg2rad())
    assert found.source_distance == pytest.approx(100)
    assert found.detector_distance == pytest.approx(150)
    assert found.pitch == pytest.approx((2.0, 1.0))
    assert found.offset == pytest.approx((1.0, 5.0))


def test_other_poses_are_no_orbit() -> None:
    higher = orbit(0.0, 90.0).source + torch.tensor([[0.0, 0, 1], [0, 0, 0]])
    with pytest.raises(MedscoreError, match="not on a circle about the z axis"):
        orbit_of(ConeGeometry(**poses(source=higher)))


def rotation(angles: tuple[float, float, float]) -> Tensor:
    """A rotation by Euler angles."""
    turn = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        one = torch.eye(3, dtype=torch.float64)
        one[i, i] = one[j, j] = math.cos(angle)
        one[i, j], one[j, i] = -math.sin(angle), math.sin(angle)
        turn = one @ turn
    return turn


numbers = st.floats(-0.3, 0.3)


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(0, 6.2), tilt=st.tuples(numbers, numbers, numbers), pitch=st.floats(0.2, 3.0),
    ratio=st.floats(0.3, 3.0), distance=st.floats(60, 2000),
    shift=st.tuples(numbers, numbers, numbers), unit=st.sampled_from(["pixels", "mm"]),
    sign=st.sampled_from([-7.0, 0.3]), rtk=st.booleans(),
)  # fmt: skip
def test_poses_survive_projection_matrices(
    angle: float, tilt: Any, pitch: float, ratio: float, distance: float, shift: Any,
    unit: Any, sign: float, rtk: bool,
) -> None:  # fmt: skip
    """Any detector, tilted and turned, with the matrix multiplied by any number."""
    g = circular_orbit(
        GRID, [angle], source_distance=distance, detector_distance=1.6 * distance, rows=40,
        columns=300, pitch=(ratio * pitch, pitch),
    )  # fmt: skip
    turn = rotation(tilt)
    u, v = g.u @ turn.mT, g.v @ turn.mT
    g = ConeGeometry(g.grid, g.source, g.detector + 20 * torch.tensor([shift]), u, v, 40, 300)
    world = {"world": RTK_WORLD} if rtk else {}
    matrices = sign * projection_matrices(g, unit=unit, **world)
    again = from_matrices(
        GRID, matrices, rows=40, columns=300, pitch=(ratio * pitch, pitch), unit=unit, **world
    )
    for name in ("source", "detector", "u", "v"):
        torch.testing.assert_close(getattr(again, name), getattr(g, name), rtol=1e-7, atol=1e-6)


def test_matrices_project_as_the_poses_do() -> None:
    g = orbit(20.0, 130.0, offset=(1.0, 5.0))
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double()
    row, column, depth = g.locate(points)
    homogeneous = torch.nn.functional.pad(points, (0, 1), value=1.0)
    image = homogeneous @ projection_matrices(g).mT
    torch.testing.assert_close(image[..., 0] / image[..., 2], column)
    torch.testing.assert_close(image[..., 1] / image[..., 2], row)
    torch.testing.assert_close(image[..., 2], 150 * depth)


def test_matrices_are_those_of_rtk() -> None:
    """The example of RTK's documentation of its geometry file."""
    angle = math.radians(271.847274780273)
    matrix = torch.tensor(
        [
            [-166.5093078829, 0, -1531.42837748039, -117056.503295898],
            [-1.01142410874151, -1536, 0.0326206557691505, -1011.95001602173],
            [-0.999480303105996, 0, 0.0322354417240802, -1000],
        ],
        dtype=torch.float64,
    )
    setting = {"source_distance": 1000.0, "detector_distance": 1536.0, "rows": 300,
               "columns": 400, "pitch": (0.8, 0.8)}  # fmt: skip
    g = circular_orbit(GRID, [angle], **setting, offset=(-1.01195001602173, -117.056503295898))
    found = projection_matrices(g, unit="mm", world=RTK_WORLD)[0]
    torch.testing.assert_close(-found, matrix, rtol=1e-9, atol=1e-6)
    again = from_matrices(
        GRID, matrix[None], rows=300, columns=400, pitch=(0.8, 0.8), unit="mm", world=RTK_WORLD
    )
    torch.testing.assert_close(again.detector, g.detector, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": torch.zeros(2, 2)}, "`source` has shape"),
        ({"u": torch.ones(3, 3)}, "`u` has 3 views, but `source` has 2"),
        ({"v": torch.full((2, 3), math.nan)}, "`v` contains NaN"),
        ({"v": orbit(0.0, 90.0).u}, "in a plane"),
        ({"source": torch.ones(2, 3)}, "view 0.* inside the volume"),
        ({"detector": 2 * orbit(0.0, 90.0).source}, "all rays of view 0 miss the volume"),
        ({"rows": 0}, "`rows` is 0"),
        ({"detector_shape": "round"}, "flat or curved"),
        (
            {"detector_shape": "curved", "detector": orbit(0.0, 90.0, offset=(0.0, 5.0)).detector},
            "no tangent",
        ),
    ],
)
def test_impossible_poses_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MedscoreError, match=message) as refused:
        ConeGeometry(**poses(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (0, 2, 2)}, "`shape`"),
        ({"shape": (2, 2)}, "`shape`"),
        ({"spacing": (1.0, -1.0, 1.0)}, "`spacing`"),
        ({"centre": (math.nan, 0.0, 0.0)}, "`centre`"),
    ],
)
def test_impossible_grids_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MedscoreError, match=message):
        VoxelGrid(**{"shape": (2, 2, 2), "spacing": (1.0, 1.0, 1.0), **arguments})


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        (torch.eye(4)[None], "expected .views, 3, 4."),
        (torch.zeros(1, 3, 4), "singular"),
        (torch.full((1, 3, 4), math.nan), "NaN"),
    ],
)
def test_impossible_matrices_are_refused(matrices: Tensor, message: str) -> None:
    with pytest.raises(MedscoreError, match=message):
        from_matrices(GRID, matrices, rows=4, columns=4, pitch=1.0)


@pytest.mark.parametrize(
    ("angles", "changes", "message"),
    [
        ([0.0, 90.0], {}, "look like degrees"),
        ([math.nan], {}, "finite"),
        ([0.0], {"source_distance": 0.0}, "`source_distance`"),
        ([0.0], {"pitch": (1.0, math.inf)}, "`pitch.1.`"),
        ([0.0], {"source_distance": 3.0}, "inside the volume"),
    ],
)
def test_impossible_orbits_are_refused(
    angles: list[float], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(MedscoreError, match=message):
        circular_orbit(GRID, angles, **{**ORBIT, **changes})


def test_a_curved_detector_has_no_matrix() -> None:
    with pytest.raises(MedscoreError, match="no projection matrix"):
        projection_matrices(orbit(0.0, detector_shape="curved"))
