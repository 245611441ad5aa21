"""Filtered back-projection against exact line integrals, and against the textbook formula."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.operators.ct.fbp import ramp_filter
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.redundancy import redundancy
from medscore.operators.ct.shares import turn_arcs

MU = 0.02
N, SPACING, VIEWS = 64, 4.0, 240
HALF = N * SPACING / 2
PHANTOM = (
    Ellipse(MU, 0.0, 0.0, 0.95 * HALF, 0.95 * HALF),
    *(
        Ellipse(MU / 2, r * HALF * math.cos(a), r * HALF * math.sin(a), 0.13 * HALF, 0.13 * HALF)
        for r, a in ((0.35, 0.9), (0.72, 2.5), (0.72, 4.4), (0.72, 5.9))
    ),
)
"""A water disc that fills the field, and denser discs in it."""
SHAPES = pytest.mark.parametrize("shape", ["flat", "curved"])


def fan(shape: str = "flat", **changes: Any) -> FanBeam:
    return replace(FanBeam(N, SPACING, VIEWS, 595.0, 1085.6, detector_shape=shape), **changes)


def listed(degrees: object, shape: str = "flat") -> FanBeam:
    angles = tuple(np.radians(np.asarray(degrees, dtype=np.float64)).tolist())
    return fan(shape, views=len(angles), list_of_angles=angles)


def scanned(g: Geometry, parts: int = 3) -> Tensor:
    """Exact line integrals, each the mean of some thin rays within the detector."""
    thin = replace(g, detectors=parts * g.detectors, detector_spacing=g.detector_spacing / parts)
    return exact_sinogram(PHANTOM, thin).unflatten(-1, (g.detectors, parts)).mean(-1)


def everything(g: Geometry) -> Tensor:
    return torch.ones(g.views, 1, dtype=torch.bool)


def fbp(g: Geometry, measured: Tensor | None = None) -> Tensor:
    mask = everything(g) if measured is None else measured[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some detectors do not cover the corners
        return Radon(g, mask).fbp(scanned(g) * mask)[0, 0]


def radius_about(x: float, y: float) -> Tensor:
    at = (torch.arange(N, dtype=torch.float64) - (N - 1) / 2) * SPACING
    return torch.hypot(at[None, :] - x, -at[:, None] - y)


def errors(image: Tensor) -> list[float]:
    """Mean errors in HU in each denser disc, and in rings of the water around them."""
    pieces = PHANTOM[1:]
    inner = [radius_about(e.x, e.y) < e.a - 1.5 * SPACING for e in pieces]
    near = torch.stack([radius_about(e.x, e.y) < e.a + 1.5 * SPACING for e in pieces]).any(0)
    r = radius_about(0.0, 0.0) / HALF
    rings = [(r >= low) & (r < low + 0.2) & ~near for low in (0.1, 0.3, 0.5, 0.7)]
    in_pieces = [1000 * (float(image[mask].mean()) / MU - 1.5) for mask in inner]
    return in_pieces + [1000 * (float(image[mask].mean()) / MU - 1) for mask in rings]


def worst(g: Geometry, measured: Tensor | None = None) -> float:
    return float(np.abs(errors(fbp(g, measured))).max())


def textbook(g: FanBeam, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kak and Slaney 1988, Eq. 3.81, with the detector on the axis of rotation, as sums."""
    d, beta = g.source_distance, g.angles.numpy()
    u = g.offsets.numpy() * d / g.detector_distance
    step = u[1] - u[0]
    k = np.arange(len(u))[:, None] - np.arange(len(u))
    odd = np.where(k % 2 == 1, -1 / (np.pi * np.where(k == 0, 1, k) * step) ** 2, 0)
    kernel = np.where(k == 0, 1 / (4 * step**2), odd)
    filtered = (p * d / np.sqrt(d**2 + u**2)) @ kernel.T * step
    at = (np.arange(g.size) - (g.size - 1) / 2) * g.spacing
    x, y = np.meshgrid(at, -at)
    image = np.zeros_like(x)
    for b, row in zip(beta, filtered, strict=True):
        away = (d - x * np.sin(b) + y * np.cos(b)) / d
        image += np.interp((x * np.cos(b) + y * np.sin(b)) / away, u, row) / away**2
    return image * np.pi / len(beta)


@SHAPES
@pytest.mark.parametrize("distance", [595.0, 260.0])
def test_a_fan_beam_shows_water_at_its_level_everywhere(shape: str, distance: float) -> None:
    g = FanBeam(N, SPACING, VIEWS, distance, 2 * distance, detector_shape=shape)
    assert worst(g) < 2


def test_a_flat_fan_beam_is_the_textbooks() -> None:
    g = FanBeam(N, SPACING, 240, 300.0, 500.0)
    p = scanned(g)
    book = torch.from_numpy(textbook(g, p[0, 0].numpy()))
    found = Radon(g, everything(g)).fbp(p)[0, 0]
    assert float((found - book)[radius_about(0, 0) < HALF].abs().max()) < 0.002 * MU


ARCS = [(0.0, 216.0), (100.0, 216.0), (300.0, 206.0), (200.0, 240.0), (50.0, 300.0), (20.0, 355.0)]


@SHAPES
@pytest.mark.parametrize(("start", "arc"), ARCS)
def test_a_short_scan_shows_water_at_its_level(shape: str, start: float, arc: float) -> None:
    g = fan(shape)
    inside = (g.angles.rad2deg() - start).remainder(360) < arc - 1e-6
    assert worst(g, inside) < 2


@SHAPES
@pytest.mark.parametrize("arc", [60.0, 150.0, 180.0, 201.0])
def test_an_arc_without_all_rays_is_refused_in_one_line(shape: str, arc: float) -> None:
    g = fan(shape)
    expected = 180 + math.degrees(2 * math.asin(HALF / 595.0))
    with pytest.raises(MedscoreError, match=rf"cover {arc:g} degrees.*of {expected:.4g} degrees"):
        fbp(g, g.angles.rad2deg() < arc - 1e-6)


RANDOM = np.random.default_rng(0)
UNEVEN = {
    "random": RANDOM.uniform(0, 360, 500),
    "dense, then sparse": np.r_[np.arange(0, 120, 0.5), np.arange(120, 360, 1.5)],
    "a gap": np.r_[np.arange(0, 100, 1.5), np.arange(130, 360, 1.5)],
    "two gaps that opposite views fill": np.r_[
        np.arange(0, 150, 1.5), np.arange(180, 240, 1.5), np.arange(270, 360, 1.5)
    ],
    "a random short scan": RANDOM.uniform(0, 225, 300),
    "equal views": np.r_[np.arange(0, 360, 1.5), np.arange(0, 90, 1.5)],
}


@SHAPES
@pytest.mark.parametrize("name", UNEVEN)
def test_unevenly_spaced_fan_views_show_water_at_its_level(shape: str, name: str) -> None:
    g = listed(np.sort(UNEVEN[name]), shape)
    assert worst(g) < 4


PARALLEL = {
    "random": RANDOM.uniform(0, 180, 250),
    "dense, then sparse": np.r_[np.arange(0, 60, 0.5), np.arange(60, 180, 1.0)],
    "equal views": np.r_[np.arange(0, 180, 1.5), np.arange(0, 45, 1.5)],
    "200 degrees": np.arange(0, 200, 1.5),
    "a full turn": np.arange(0, 360, 1.5),
    "beyond zero": np.arange(-90, 90, 1.5),
}


@pytest.mark.parametrize("name", PARALLEL)
def test_unevenly_spaced_parallel_views_show_water_at_its_level(name: str) -> None:
    g = ParallelAngles(N, SPACING, tuple(np.sort(np.radians(PARALLEL[name])).tolist()))
    assert worst(g) < 4


def test_a_limited_arc_is_scaled_by_its_share() -> None:
    g = ParallelBeam(N, SPACING, VIEWS)
    limited, whole = fbp(g, g.angles < 2 * math.pi / 3 - 1e-9), fbp(g)
    ratio = (
        limited[radius_about(0, 0) < 0.7 * HALF].mean()
        / whole[radius_about(0, 0) < 0.7 * HALF].mean()
    )
    assert float(ratio) == pytest.approx(2 / 3, 0.02)


@pytest.mark.parametrize(
    "grid",
    [ParallelBeam(N, SPACING, 128), FanBeam(N, SPACING, 128, 595.0, 1085.0)],
    ids=["parallel", "fan"],
)
def test_each_sample_has_its_own_views(grid: Geometry) -> None:
    """Even and odd views: together all of them, but each sample has half."""
    even = (torch.arange(128) % 2 == 0)[:, None]
    masks = torch.stack([even, ~even])[:, None]
    p = scanned(grid).expand(2, 1, -1, -1) * masks
    together = Radon(grid, masks).fbp(p)
    for index, mask in enumerate((even, ~even)):
        alone = Radon(grid, mask).fbp(p[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


@SHAPES
@pytest.mark.parametrize("offset", [0.25, -0.25, -3.3, 10.0])
def test_a_displaced_detector_that_covers_the_image_changes_nothing(
    shape: str, offset: float
) -> None:
    g = fan(shape, detectors=0, detector_offset=offset * fan(shape).detector_spacing)
    short = g.angles.rad2deg() < 216
    for measured in (None, short):
        assert worst(g, measured) < 2


@SHAPES
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("overlap", [4, 16])
def test_a_half_fan_is_completed_by_the_opposite_views(shape: str, side: int, overlap: int) -> None:
    """``overlap`` detectors reach beyond the axis; the others cover one half of the image."""
    whole = fan(shape)
    detectors = whole.detectors // 2 + overlap
    away = side * (detectors / 2 - overlap) * whole.detector_spacing
    g = replace(whole, detectors=detectors, detector_offset=away)
    assert worst(g) < 2


@pytest.mark.parametrize("side", [-1, 1])
def test_half_a_parallel_beam_is_completed_over_a_full_turn(side: int) -> None:
    angles = tuple(np.radians(np.arange(0, 360, 1.5)).tolist())
    g = ParallelAngles(N, SPACING, angles, 56, SPACING, side * 22 * SPACING)
    assert worst(g) < 2


HALVES: dict[str, Callable[[], tuple[Geometry, Tensor | None]]] = {
    "parallel, half a turn": lambda: (ParallelBeam(N, SPACING, 90, 56, SPACING, 88.0), None),
    "fan, short scan": lambda: (
        (g := fan(detectors=56, detector_offset=140.0)),
        g.angles.rad2deg() < 240,
    ),
}


@pytest.mark.parametrize("name", HALVES)
def test_a_half_that_no_opposite_view_completes_is_refused(name: str) -> None:
    g, measured = HALVES[name]()
    with pytest.raises(MedscoreError, match=r"`detector_offset` is .*needs a full turn"):
        fbp(g, measured)


@pytest.mark.parametrize("spacing", [1.3, 2.0, 3.0])
def test_detectors_wider_than_the_pixels_leave_no_pattern(spacing: float) -> None:
    g = ParallelBeam(N, SPACING, 240, detector_spacing=spacing * SPACING)
    water = torch.stack([radius_about(e.x, e.y) > e.a + 3 * SPACING for e in PHANTOM[1:]]).all(0)
    inside = fbp(g)[water & (radius_about(0, 0) < 0.7 * HALF)]
    assert float((inside / MU - 1).abs().max()) < 0.06


@SHAPES
@pytest.mark.parametrize(("start", "arc"), ARCS)
def test_the_weights_of_the_two_directions_of_a_ray_sum_to_one(
    shape: str, start: float, arc: float
) -> None:
    g = fan(shape)
    step = math.tau / VIEWS
    beta = g.angles[(g.angles.rad2deg() - start).remainder(360) < arc - 1e-6]
    arcs = turn_arcs(beta)
    weights = redundancy(g, beta, arcs)
    assert weights is not None
    for detector in range(0, g.detectors, 17):
        other = g.detectors - 1 - detector
        opposite = beta + math.pi - 2 * g.fan_angles[detector]
        both = redundancy(g, opposite, arcs)
        assert both is not None
        (begin, length) = arcs.ends[0]
        seen = (opposite - begin).remainder(math.tau) < length - step
        total = weights[:, detector] + torch.where(seen, both[:, other], 0.0)
        clear = seen | ((opposite - begin).remainder(math.tau) > length + step)
        assert torch.allclose(total[clear], torch.ones(()).double())


@pytest.mark.parametrize(
    "g", [ParallelBeam(N, 2.5, 90), fan(), fan("curved")], ids=["parallel", "flat", "curved"]
)
def test_the_weights_of_the_views_are_angles(g: Geometry) -> None:
    """Half a turn, whatever the spacing; half of the full turn, on which rays count half."""
    assert float(ramp_filter(g).weights.sum()) == pytest.approx(math.pi)
    taken = tuple(sorted(RANDOM.choice(g.views, 40, replace=False).tolist()))
    assert float(ramp_filter(g, taken).weights.sum()) == pytest.approx(math.pi)
