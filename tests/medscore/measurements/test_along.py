"""k-space along a trajectory that users bring: arrays of samples, positions and coil maps."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medscore as ms
from medscore.errors import MedscoreError
from medscore.measurements.measurement import read_measurement, write_measurement
from medscore.measurements.read import measure
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.mri.trajectories import radial_trajectory

pytest.importorskip("finufft")
N, ARMS = 24, 38
TRAJECTORY = radial_trajectory(N, ARMS)
POSITIONS = TRAJECTORY.flip(0).T.reshape(ARMS, 2 * N, 2).numpy()
"""kx and ky in radians per pixel."""

MAPS = birdcage(3, N, N)
UNITS = {
    "radians-per-pixel": 1.0,
    "cycles-per-pixel": 1 / (2 * math.pi),
    "cycles-per-fov": N / (2 * math.pi),
}
GIVEN: dict[str, Any] = {
    "array": "kspace", "trajectory": "positions", "trajectory_unit": "radians-per-pixel",
    "spacing": 2.0,
}  # fmt: skip


def image() -> torch.Tensor:
    """Two slices (2, 1, N, N) that differ up and down, left and right."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, N)] * 2, indexing="ij")
    slices = [
        torch.exp(-8 * ((x - 0.2) ** 2 + 2 * (y + k) ** 2)) * (1 + 0.5j * x) for k in (0.1, 0.2)
    ]
    return 100 * torch.stack(slices)[:, None]


def kspace(coils: int = 3) -> np.ndarray[Any, np.dtype[Any]]:
    """(2, coils, arms, samples)."""
    every = torch.ones(TRAJECTORY.shape[1], dtype=torch.bool)
    scan = (
        MulticoilNonuniform(MAPS, TRAJECTORY, every)
        if coils > 1
        else NonuniformFourier(TRAJECTORY, every, N, N)
    )
    return scan.forward(image()).reshape(2, coils, ARMS, 2 * N).numpy()


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "scan.npz", **{"kspace": kspace(), "positions": POSITIONS, **arrays})
    return folder / "scan.npz"


@pytest.mark.parametrize("unit", list(UNITS))
@pytest.mark.parametrize("form", ["last", "first", "with kz", "flat"])
def test_positions_are_read_in_every_unit_and_form(tmp_path: Path, unit: str, form: str) -> None:
    given = UNITS[unit] * POSITIONS
    data = kspace()
    if form == "first":
        given = np.moveaxis(given, -1, 0)
    elif form == "with kz":
        given = np.concatenate([given, np.zeros_like(given[..., :1])], -1)
    elif form == "flat":
        given, data = given.reshape(-1, 2), data.reshape(2, 3, -1)
    path = saved(tmp_path, kspace=data, positions=given)
    made, _ = measure(
        path, geometry=GIVEN | {"trajectory_unit": unit},
        size=None if unit == "cycles-per-fov" else N,
    )  # fmt: skip
    scan = scanner(made.operator)
    assert isinstance(scan, MulticoilNonuniform)
    torch.testing.assert_close(scan.trajectory, TRAJECTORY, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(made.data, kspace().reshape(2, 3, -1))
    assert made.size == (N, N)
    assert made.spacing == (2.0, 2.0)


@pytest.mark.parametrize("maps", ["given", "low-resolution"])
@pytest.mark.parametrize("coils", [1, 3])
def test_the_image_is_found_and_not_turned(tmp_path: Path, coils: int, maps: str) -> None:
    more: dict[str, Any] = {"sensitivities": "maps"} if maps == "given" and coils > 1 else {}
    path = saved(tmp_path, kspace=kspace(coils), maps=MAPS.numpy())
    made, _ = measure(path, geometry=GIVEN | more, size=None if more else N)
    write_measurement(tmp_path / "m.h5", made)
    again = read_measurement(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.data, made.data)
    assert again.noise.startswith("gaussian:")
    found = ms.reconstruct(again, method="zero-filled").mean
    truth = image()[:, 0].abs().numpy()
    assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < 0.1


def test_arms_are_dropped_for_experiments(tmp_path: Path) -> None:
    path = saved(tmp_path)
    made, _ = measure(path, geometry=GIVEN, size=N, acceleration=4.0, slices="1:2")
    arms = scanner(made.operator).diagonal.reshape(ARMS, -1)
    assert int(arms.any(1).sum()) == round(ARMS / 4)
    np.testing.assert_array_equal(made.data.reshape(1, 3, ARMS, -1), kspace()[1:] * arms.numpy())


def test_a_coil_without_axis_and_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    np.savez(path, kspace=kspace(1)[0, 0], positions=POSITIONS)
    made, _ = measure(path, geometry={k: v for k, v in GIVEN.items() if k != "array"}, size=N)
    assert made.data.shape == (1, 1, ARMS * 2 * N)
    assert made.task == "mri"


@pytest.mark.parametrize(
    ("arrays", "geometry", "options", "message"),
    [
        ({}, {"trajectory": "other"}, {}, "trajectory is other, and the file has no such array"),
        ({}, {"sensitivities": "other"}, {}, "sensitivities is other, and the file has no such"),
        ({}, {"trajectory_unit": None}, {}, "the unit of the trajectory is not stated"),
        ({}, {"trajectory_unit": "1/m"}, {}, "trajectory_unit"),
        ({}, {"axes": ["readout", "phase"]}, {}, "axes does not apply to k-space along"),
        ({}, {"trajectory": None}, {}, "trajectory_unit needs trajectory"),
        ({}, {"spacing": None}, {}, "the pixel spacing is unknown - set `spacing` in mm"),
        ({}, {}, {"spacing": 1.0}, "the geometry states spacing as well"),
        ({}, {}, {"size": None}, "the number of pixels is unknown - set `size`"),
        ({}, {}, {"mask": "random"}, "`mask` does not apply to k-space along a trajectory"),
        ({}, {}, {"target": "rss"}, "`target` does not apply"),
        ({}, {}, {"acceleration": 0.0}, "`acceleration` is 0"),
        ({}, {}, {"acceleration": 1000.0}, "leaves none of 38 arms"),
        ({}, {"trajectory_unit": "cycles-per-pixel"}, {}, "not up to 3.14 - check trajectory_unit"),
        ({"positions": 4 * POSITIONS}, {"trajectory_unit": "cycles-per-fov"}, {"size": 8},
         "or increase `size`"),
        ({"positions": 0.9 * POSITIONS}, {"trajectory_unit": "cycles-per-fov"}, {},
         "not up to 3.14 - check trajectory_unit"),
        ({"positions": POSITIONS / (2 * math.pi)}, {}, {}, "is 0.5 radians per pixel of 24 x 24"),
        ({"positions": 1e-6 * POSITIONS}, {}, {}, "check trajectory_unit"),
        ({"positions": POSITIONS * np.nan}, {}, {}, "positions holds NaN or infinity"),
        ({"positions": POSITIONS + 0j}, {}, {}, "the trajectory positions is complex128"),
        ({"positions": POSITIONS[..., 0]}, {}, {}, "give kx and ky"),
        ({"positions": np.ones((ARMS, 2 * N, 3))}, {}, {}, "has kz other than 0"),
        ({"positions": POSITIONS[1:]}, {}, {}, "k-space is complex64 of shape (2, 3, 38, 48)"),
        ({"positions": POSITIONS[:, ::-1].copy().swapaxes(0, 1).reshape(POSITIONS.shape)},
         {}, {}, "k-space is not largest where the trajectory is near the centre"),
        ({"kspace": kspace().real}, {}, {}, "k-space is float32"),
        ({"kspace": kspace() * np.array([1, 0])[:, None, None, None]}, {}, {}, "in slice 1"),
        ({"kspace": kspace() * np.nan}, {}, {}, "k-space holds NaN or infinity"),
        ({"kspace": kspace()[None]}, {}, {}, "put the axes in the order slice, coil"),
        ({"maps": MAPS[:2].numpy()}, {"sensitivities": "maps"}, {}, "k-space has 3 coils in 2"),
        ({"maps": MAPS.numpy()}, {"sensitivities": "maps"}, {"size": 20}, "maps have 24 x 24"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path,
    arrays: dict[str, Any],
    geometry: dict[str, Any],
    options: dict[str, Any],
    message: str,
) -> None:
    fields = {k: v for k, v in (GIVEN | geometry).items() if v is not None}
    path = saved(tmp_path, **arrays)
    with pytest.raises(MedscoreError) as error:
        measure(path, geometry=fields, **{"size": N, **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or "acceleration" in options


def test_a_file_without_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.dat").write_bytes(b"no arrays")
    with pytest.raises(MedscoreError, match=r"trajectory names an array of a \.npz"):
        measure(tmp_path / "scan.dat", geometry=GIVEN, size=N)
