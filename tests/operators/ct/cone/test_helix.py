"""Scans on a helix: their symmetry, their limits, and reconstruction from them."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import medscore as ms
from medscore.errors import MedscoreWarning
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import VoxelGrid
from medscore.operators.ct.cone.helix import helical_orbit
from medscore.operators.ct.cone.orbit import circular_orbit, orbit_of
from medscore.operators.ct.cone.projector import project
from medscore.operators.grid import OperatorError

GRID = VoxelGrid((12, 16, 16), (1.5, 1.0, 1.0))
DETECTOR: dict[str, Any] = {
    "source_distance": 60.0, "detector_distance": 90.0, "rows": 14, "columns": 36,
    "pitch": (1.5, 1.2),
}  # fmt: skip


def volume(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(1, 1, *GRID.shape, generator=generator, dtype=torch.float64)
    values[:, :, :4] = values[:, :, -4:] = 0  # room to move
    return values


def test_without_advance_it_is_the_circle() -> None:
    helix = helical_orbit(GRID, turns=1.0, views_per_turn=9, advance=0.0, start=0.3, **DETECTOR)
    angles = [(0.3 + 2 * math.pi * k / 9) % (2 * math.pi) for k in range(9)]
    circle = circular_orbit(GRID, angles, **DETECTOR)
    for name in ("source", "detector", "u", "v"):
        torch.testing.assert_close(getattr(helix, name), getattr(circle, name))
    assert orbit_of(helix).source_distance == pytest.approx(60.0)


@pytest.mark.parametrize("advance", [3.0, -3.0])
def test_a_volume_that_advances_as_the_helix_does_looks_the_same_a_turn_later(
    advance: float,
) -> None:
    """Two slices in a turn; the symmetry of a screw."""
    helix = helical_orbit(GRID, turns=2.0, views_per_turn=10, advance=advance, **DETECTOR)
    x = volume()
    moved = x.roll(int(advance / GRID.spacing[0]), 2)
    torch.testing.assert_close(
        project(moved, helix)[..., 10:, :, :], project(x, helix)[..., :10, :, :]
    )


def test_the_middle_of_the_scan_is_that_of_the_volume() -> None:
    helix = helical_orbit(GRID, turns=2.5, views_per_turn=8, advance=5.0, **DETECTOR)
    assert helix.views == 20
    heights = helix.source[:, 2]
    assert float(heights.mean()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(heights.diff(), torch.full((19,), 5.0 / 8, dtype=torch.float64))


def test_voxels_that_no_view_sees_are_warned_of() -> None:
    setting = DETECTOR | {"rows": 4}
    helix = helical_orbit(GRID, turns=1.0, views_per_turn=8, advance=4.0, **setting)
    with pytest.warns(MedscoreWarning, match="outside the detector"):
        ConeBeam(helix, torch.ones(8, 1, 1, dtype=torch.bool))


def test_feldkamp_refuses_it() -> None:
    with pytest.raises(OperatorError, match="not on a circle"):
        orbit_of(helical_orbit(GRID, turns=2.0, views_per_turn=8, advance=5.0, **DETECTOR))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"turns": 0.0}, "`turns` is 0.0"),
        ({"turns": math.nan}, "`turns` is nan"),
        ({"views_per_turn": 0}, "`views_per_turn` is 0"),
        ({"advance": math.inf}, "`advance` is inf"),
        ({"source_distance": -1.0}, "`source_distance` is -1"),
    ],
)
def test_impossible_scans_are_refused(change: dict[str, Any], why: str) -> None:
    setting = {"turns": 2.0, "views_per_turn": 8, "advance": 5.0, **DETECTOR} | change
    with pytest.raises(OperatorError, match=why):
        helical_orbit(GRID, **setting)


@pytest.mark.slow
def test_a_volume_is_reconstructed_from_a_helix() -> None:
    """A detector of six rows, which sees a part of the volume at a time: each slice in turn."""
    setting = DETECTOR | {"rows": 6, "pitch": (3.0, 1.2)}
    helix = helical_orbit(GRID, turns=4.0, views_per_turn=24, advance=4.5, **setting)
    operator = ConeBeam(helix, torch.ones(helix.views, 1, 1, dtype=torch.bool))
    z, y, x = np.mgrid[-1:1:12j, -1:1:16j, -1:1:16j]
    hu = np.where(x**2 + y**2 + z**2 < 0.7, 40 + 300 * (x > 0.2), -1000).astype(np.float32)
    mu = torch.from_numpy((hu + 1000) / 1000 * 0.02)[None, None]
    data = operator.forward(mu)
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    m = ms.make_measurement(data, operator, image_unit="1/mm", affine=affine)
    found = ms.reconstruct(m, method="fista-tv", parameters={"weight": 1e-6, "iterations": 150})
    error = np.sqrt(((found.mean - hu) ** 2).mean())
    assert error < 60  # HU, of edges of 1040 and 300
    once = ConeBeam(helix, (torch.arange(helix.views) < 24)[:, None, None])  # misses some slices
    part = ms.make_measurement(once.forward(mu), once, image_unit="1/mm", affine=affine)
    alone = ms.reconstruct(part, method="fista-tv", parameters={"weight": 1e-6, "iterations": 150})
    assert np.sqrt(((alone.mean - hu) ** 2).mean()) > 3 * error
