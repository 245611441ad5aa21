"""Positions of the rays, and invalid geometries."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import limited_angle, view_list

FAN = {"size": 16, "spacing": 1.0, "views": 12, "source_distance": 40.0, "detector_distance": 70.0}


def all_rays(g: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    view = torch.arange(g.views).repeat_interleave(g.detectors)
    rays = g.rays(view, torch.arange(g.detectors).repeat(g.views))
    return rays.point, rays.direction


@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_fan_rays_run_from_the_source_to_their_detector(shape: str) -> None:
    g = FanBeam(**FAN, detector_shape=shape)
    point, direction = all_rays(g)
    beta = g.angles.repeat_interleave(g.detectors)
    source = 40.0 * torch.stack([beta.sin(), -beta.cos()], 1)
    torch.testing.assert_close(point, source)
    axis = torch.stack([beta.cos(), beta.sin()], 1)
    ahead = torch.stack([-beta.sin(), beta.cos()], 1)
    offset = (torch.arange(g.detectors).double() - (g.detectors - 1) / 2) * g.detector_spacing
    offset = offset.repeat(g.views)
    if shape == "flat":
        hit = 70.0 * ahead + offset[:, None] * axis
    else:
        gamma = (offset / 70.0)[:, None]
        hit = 70.0 * (gamma.cos() * ahead + gamma.sin() * axis)
    torch.testing.assert_close(direction, hit / hit.norm(dim=1, keepdim=True))


def test_a_parallel_ray_is_where_the_module_says() -> None:
    g = ParallelBeam(8, 2.0, 6, 5, 3.0)
    point, direction = all_rays(g)
    theta = g.angles.repeat_interleave(5)
    s = torch.tensor([-6.0, -3.0, 0.0, 3.0, 6.0], dtype=torch.float64).repeat(6)
    torch.testing.assert_close(point, torch.stack([s * theta.cos(), s * theta.sin()], 1))
    torch.testing.assert_close(direction, torch.stack([-theta.sin(), theta.cos()], 1))


@pytest.mark.parametrize(
    "g",
    [
        ParallelBeam(16, 1.5, 12),
        ParallelBeam(17, 1.5, 12, detector_spacing=0.7),
        FanBeam(**FAN),
        FanBeam(**FAN, detector_shape="curved"),
        FanBeam(16, 1.0, 12, 12.0, 30.0),
        ParallelBeam(16, 1.5, 12, detector_offset=3.3),
        FanBeam(**FAN, detector_offset=-7.0),
    ],
    ids=repr,
)
def test_the_default_detector_covers_the_image(g: Geometry) -> None:
    assert g.field_of_view >= g.size * g.spacing / math.sqrt(2) - 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Radon(g, torch.ones(g.views, 1).bool())


@pytest.mark.parametrize(
    "g",
    [ParallelBeam(100, 1.0, 8, 100), FanBeam(100, 1.0, 8, 200.0, 400.0, 90, 2.0)],
    ids=repr,
)
def test_a_detector_that_does_not_cover_the_image_warns_with_the_share_lost(g: Geometry) -> None:
    y = torch.arange(100) - 49.5
    radius = (y[:, None] ** 2 + y**2).sqrt()
    lost = 100 * float((radius > g.field_of_view + 0.5).double().mean())
    with pytest.warns(UserWarning, match=rf"{lost:.1f} % of the image's pixels"):
        Radon(g, torch.ones(g.views, 1).bool())
    assert 10 < lost < 40


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: ParallelBeam(8, None, 8), "spacing is missing: give `spacing` in mm"),  # type: ignore[arg-type]
    (lambda: ParallelBeam(1, 1.0, 8), "`size` is 1"),
    (lambda: ParallelBeam(8, 0.0, 8), "`spacing` is 0"),
    (lambda: ParallelBeam(8, float("nan"), 8), "`spacing` is nan"),
    (lambda: ParallelBeam(8, 1.0, 0), "`views` is 0"),
    (lambda: ParallelBeam(8, 1.0, 8, -2), "`detectors` is -2"),
    (lambda: ParallelBeam(8, 1.0, 8, 8, -1.0), "`detector_spacing` is -1"),
    (lambda: ParallelBeam(8, 1.0, 8, 8, 1.0, float("inf")), "`detector_offset` is inf"),
    (lambda: ParallelBeam(8, 1.0, 8, 8, 1.0, -4.0), "`detector_offset` is -4 mm.*beside"),
    (lambda: ParallelAngles(8, 1.0, (0.0, 0.2, 0.1)), "must not decrease, but number 2 is 0.1"),
    (lambda: ParallelAngles(8, 1.0, (0.0, 60.0, 120.0)), "look like degrees.*math.radians"),
    (lambda: ParallelAngles(8, 1.0, (-1.0, 5.2832)), "span 6.2832"),
    (lambda: ParallelAngles(8, 1.0, (3.5, 5.0, 6.5)), "subtract full turns"),
    (lambda: view_list(8, 1.0, [math.radians(a) for a in range(200, 376)]), "subtract full turns"),
    (lambda: ParallelAngles(8, 1.0, (0.0, float("nan"))), "finite"),
    (lambda: ParallelAngles(8, 1.0, ()), "at least one"),
    (lambda: view_list(8, 1.0, [0.0, 45.0, 90.0]), "look like degrees"),
    (lambda: limited_angle(8, 1.0, 0.0, 120.0), "math.radians"),
    (lambda: limited_angle(8, 1.0, 2.0, 1.0), "from 2 to 1"),
    (lambda: FanBeam(**{**FAN, "source_distance": 10.0}), "within the image"),
    (lambda: FanBeam(**{**FAN, "detector_distance": 0.0}), "`detector_distance` is 0"),
    (lambda: FanBeam(**FAN, detector_shape="round"), "expected flat or curved"),
    (
        lambda: FanBeam(**FAN, list_of_angles=(0.0, 1.0)),
        "`views` is 12, but `list_of_angles` has 2",
    ),
    (lambda: FanBeam(**FAN, detectors=8, detector_spacing=1.0, detector_offset=5.0), "beside"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_invalid_scans_are_refused_with_a_hint(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "wide",
    [
        ParallelBeam(16, 1.0, 12, 60),
        ParallelAngles(16, 1.0, (0.0, 0.3, 4.0), 60),
        FanBeam(**FAN, detectors=60),
        FanBeam(**FAN, detectors=60, detector_shape="curved"),
    ],
    ids=lambda g: type(g).__name__,
)
@pytest.mark.parametrize("first", [0, 7, 20])
def test_a_displaced_detector_is_a_part_of_a_wider_one(wide: Geometry, first: int) -> None:
    """The middle of detectors ``first`` to ``first`` + 39 of 60 lies first - 10 detectors aside."""
    offset = (first - 10) * wide.detector_spacing
    part = replace(wide, detectors=40, detector_offset=offset)
    point, direction = all_rays(part)
    rows = torch.arange(wide.views * 60).reshape(wide.views, 60)[:, first : first + 40].flatten()
    torch.testing.assert_close(point, all_rays(wide)[0][rows])
    torch.testing.assert_close(direction, all_rays(wide)[1][rows])
    assert part.field_of_view < wide.field_of_view


def test_listed_views_of_a_fan_beam_are_those_of_the_full_turn() -> None:
    whole = FanBeam(**FAN)
    taken = [1, 2, 5, 5, 9]
    listed = FanBeam(**{**FAN, "views": 5}, list_of_angles=tuple(whole.angles[taken].tolist()))
    rows = torch.arange(12 * whole.detectors).reshape(12, -1)[taken].flatten()
    torch.testing.assert_close(all_rays(listed)[1], all_rays(whole)[1][rows])
    assert listed.seeds() is None
