"""``medscore measure`` on helical scans in DICOM-CT-PD."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import medscore as ms
from medscore.datasets.raw.ct_pd_helix import Poses, read_helix, read_poses
from medscore.datasets.raw.ct_pd_tags import water
from medscore.errors import MedscoreError
from medscore.hounsfield import MU_WATER
from medscore.measurements.from_helix import cone_geometry
from medscore.measurements.measurement import read_measurement
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.helix import helical_orbit
from medscore.operators.ct.cone.projector import project

Command = Callable[..., Any]
Readings = NDArray[np.float32]

SIZE, SPACING, SLICES = 16, 3.0, 23
GRID = VoxelGrid((SLICES, SIZE, SIZE), (1.0, SPACING, SPACING))
ROWS, COLUMNS, RADIUS, DISTANCE = 8, 34, 200.0, 350.0
PITCH = (1.75, 4.5)
"""A row is 1 mm at the axis."""

TURNS, VIEWS, ADVANCE = 4.0, 40, 6.0


def helix(advance: float = ADVANCE, offset: tuple[float, float] = (0.0, 1.1)) -> ConeGeometry:
    """Columns along (cos beta, sin beta) with beta = phi + pi, rows along z."""
    return helical_orbit(
        GRID, turns=TURNS, views_per_turn=VIEWS, advance=advance, source_distance=RADIUS,
        detector_distance=DISTANCE, rows=ROWS, columns=COLUMNS, pitch=PITCH, offset=offset,
        detector_shape="curved",
    )  # fmt: skip


def phantom() -> torch.Tensor:
    """Attenuation in 1/mm, without any symmetry."""
    z, y, x = np.mgrid[-1 : 1 : SLICES * 1j, -1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    mu = 0.02 * (x**2 + y**2 < 0.8)
    mu += 0.02 * ((x - 0.4) ** 2 + (y - 0.1) ** 2 + (z - 0.3) ** 2 < 0.1)
    mu += 0.01 * ((x + 0.2) ** 2 + (y + 0.5) ** 2 < 0.05) * (z < 0)
    return torch.from_numpy(mu).float()[None, None]


def projections(geometry: ConeGeometry | None = None) -> Readings:
    """Line integrals of the phantom, (views, rows, columns)."""
    return project(phantom(), geometry or helix())[0, 0].numpy()


def save(
    folder: Path,
    data: Readings,
    *,
    columns: int = -1,
    rows: int = 1,
    advance: float = ADVANCE,
    centre: tuple[float, float] | None = None,
    shifts: tuple[float, float, float] | None = None,
    drop: tuple[int, int] | None = None,
    shape: str = "CYLINDRICAL",
) -> Path:
    """Write views as DICOM-CT-PD, in an order of files that is not that of the scan.

    Columns and rows are counted in the directions of the signs; every second view has ``shifts``.
    """
    folder.mkdir()
    middle = ((COLUMNS + 1) / 2 - 1.1 / PITCH[1], (ROWS + 1) / 2) if centre is None else centre
    if columns == 1:
        data, middle = data[:, :, ::-1], (COLUMNS + 1 - middle[0], middle[1])
    if rows == -1:
        data, middle = data[:, ::-1], (middle[0], ROWS + 1 - middle[1])
    count = len(data)
    for view, values in enumerate(data):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"1.2.3.{view + 1}"
        ds.InstanceNumber = view + 1
        for group in (0x7029, 0x7031, 0x7033):
            ds.add_new((group, 0x0010), "LO", "CTPD")
        turned = view / VIEWS
        floats = {
            (0x7029, 0x1002): PITCH[1],
            (0x7029, 0x1006): PITCH[0],
            (0x7031, 0x1001): (2 * math.pi * turned - math.pi) % (2 * math.pi),
            (0x7031, 0x1002): 100 + advance * (turned - (count - 1) / 2 / VIEWS),
            (0x7031, 0x1003): RADIUS,
            (0x7031, 0x1031): DISTANCE,
        }
        moved = shifts if shifts is not None and view % 2 else (0.0, 0.0, 0.0)
        floats |= {(0x7033, 0x100B + k): value for k, value in enumerate(moved)}
        for tag, value in floats.items():
            if tag != drop:
                ds.add_new(tag, "UN", struct.pack("<f", value))  # of a private type
        ds.add_new((0x7031, 0x1033), "UN", struct.pack("<2f", *middle))
        ds.add_new((0x7029, 0x100B), "UN", shape.encode())
        ds.Rows, ds.Columns = values.shape[::-1]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.RescaleSlope, ds.RescaleIntercept = "0.0001", "-0.1"
        ds.PixelData = np.rint((values.T + 0.1) / 0.0001).astype("<u2").tobytes()
        ds.save_as(folder / f"{(7 * view) % count:05d}.dcm", enforce_file_format=True)
    return folder


GIVEN = ("--size", SIZE, "--spacing", SPACING)


@pytest.mark.parametrize("columns", [-1, 1])
@pytest.mark.parametrize("rows", [-1, 1])
def test_a_helical_scan_is_read_whichever_way_its_detector_is_counted(
    done: Command, tmp_path: Path, columns: int, rows: int
) -> None:
    """The operator of the measurement, on the volume that was scanned, gives its data."""
    folder = save(tmp_path / "pd", projections(), columns=columns, rows=rows)
    done("measure", folder, *GIVEN, "-o", tmp_path / "m.h5")
    m = read_measurement(tmp_path / "m.h5")
    assert isinstance(m.operator, ConeBeam)
    grid = m.operator.geometry.grid
    assert grid.spacing == pytest.approx(GRID.spacing)
    low = (SLICES - grid.shape[0]) // 2
    assert grid.centre == pytest.approx((0, 0, 100))
    assert grid.shape == (17, SIZE, SIZE)  # half a turn at either end is left out
    inside = phantom()[:, :, low : low + grid.shape[0]]
    expected = m.operator.forward(inside).numpy()
    ones = torch.ones(m.data.shape)
    rays = (m.operator.mask(ones) * ones).numpy() > 0
    assert 0.3 < rays.mean() <= 1
    assert np.abs(m.data - expected)[rays].max() < 0.02 * expected.max()
    assert not m.data[~rays].any()
    assert np.linalg.norm(m.affine[:3, :3], axis=0) == pytest.approx([SPACING, SPACING, 1.0])


def test_every_second_view_and_a_range_of_slices(done: Command, tmp_path: Path) -> None:
    folder = save(tmp_path / "pd", projections())
    done("measure", folder, *GIVEN, "-o", tmp_path / "all.h5")
    done(
        "measure", folder, *GIVEN, "--slices", "4:14", "--acceleration", 2, "-o", tmp_path / "m.h5"
    )
    whole, m = (read_measurement(tmp_path / name) for name in ("all.h5", "m.h5"))
    assert isinstance(m.operator, ConeBeam)
    assert isinstance(whole.operator, ConeBeam)
    assert m.slices == 10
    assert m.operator.geometry.views < 0.6 * whole.operator.geometry.views
    np.testing.assert_allclose(m.affine[:3, 3] - whole.affine[:3, 3], [0, 0, 4.0], atol=1e-4)
    looked = json.loads(done("inspect", tmp_path / "m.h5", "--json").out)
    assert "ConeBeam" in str(looked)


@pytest.mark.slow
def test_a_helical_scan_is_reconstructed(done: Command, tmp_path: Path) -> None:
    folder = save(tmp_path / "pd", projections())
    done("measure", folder, *GIVEN, "-o", tmp_path / "m.h5")
    m = read_measurement(tmp_path / "m.h5")
    r = ms.reconstruct(m, method="fista-tv", parameters={"weight": 1e-5, "iterations": 200})
    low = (SLICES - m.slices) // 2
    truth = 1000 * (phantom()[0, 0, low : low + m.slices].numpy() / m.mu_water - 1)
    inner = slice(3, -3)  # the last slices are seen by few rays
    assert np.abs(r.mean[inner] - truth[inner]).mean() < 25


def test_the_rays_of_a_flying_focal_spot_meet_the_detectors_about_the_focal_centre(
    tmp_path: Path,
) -> None:
    """The detector is a cylinder about the focal centre, beside which the source is."""
    shifts = (0.4 / RADIUS, 0.3, -0.5)
    folder = save(tmp_path / "pd", projections(), shifts=shifts, centre=(16.25, 4.75))
    poses = read_poses(folder)
    np.testing.assert_allclose(poses.shifts[:4], [[0] * 3, shifts] * 2, atol=1e-6)
    scan = read_helix(folder, poses)
    geometry = cone_geometry(scan, VoxelGrid(GRID.shape, GRID.spacing, (0.0, 0.0, 100.0)))
    for view in (6, 7):
        phi, z = float(poses.angle[view]), float(poses.height[view])
        d_phi, d_z, d_rho = poses.shifts[view]
        angle, rho = phi + d_phi, RADIUS + d_rho
        source = [-rho * math.sin(angle), rho * math.cos(angle), z + d_z]
        np.testing.assert_allclose(geometry.source[view].numpy(), source, atol=1e-9)
        places = [(0, 0), (4, 20), (7, 33)]
        points = []
        for row, column in places:
            gamma = (column + 1 - 16.25) * PITCH[1] / DISTANCE
            along = phi + scan.columns * gamma
            height = z + scan.rows * (row + 1 - 4.75) * PITCH[0]
            x = -RADIUS * math.sin(phi) + DISTANCE * math.sin(along)
            y = RADIUS * math.cos(phi) - DISTANCE * math.cos(along)
            points.append([x, y, height])
        row, column, _ = geometry.locate(torch.tensor(points, dtype=torch.float64))
        found = torch.stack([row[view], column[view]], 1).numpy()
        np.testing.assert_allclose(found, places, atol=0.03)  # of 4.5 mm


def test_views_are_in_the_order_of_the_scan(tmp_path: Path) -> None:
    poses = read_poses(save(tmp_path / "pd", projections()))
    assert isinstance(poses, Poses)
    assert bool((np.diff(poses.angle) > 0).all())
    assert bool((np.diff(poses.height) > 0).all())
    assert poses.advance == pytest.approx(ADVANCE, rel=1e-4)
    assert poses.row_mm == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "given", "why"),
    [
        ({"drop": (0x7029, 0x1006)}, GIVEN, "lacks the tag (7029,1006)"),
        ({"shape": "FLAT"}, GIVEN, "the detector is flat"),
        ({"centre": (16.0, 4.0)}, (*GIVEN, "--slices", "0:99"), "slices"),
        ({}, ("--size", SIZE), "--size and --spacing"),
        ({}, (*GIVEN, "--acceleration", 2.5), "every n-th view"),
        ({}, ("--size", SIZE, "--spacing", "3,2"), "square pixels"),
        ({}, (*GIVEN, "--slices", "3:4"), "no detector row sees these slices alone"),
        ({}, (*GIVEN, "--maps", "espirit"), "--maps"),
        ({}, ("--size", SIZE, "--spacing", 100), "source"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    refused: Command, tmp_path: Path, changes: dict[str, Any], given: tuple[Any, ...], why: str
) -> None:
    folder = save(tmp_path / "pd", projections(), **changes)
    assert why in refused("measure", folder, *given, "-o", tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0.0192", 0.0192), (b"0.02", 0.02), (struct.pack("<f", 0.021), 0.021),
        (b"192", MU_WATER), (b"water", MU_WATER), (None, MU_WATER),
    ],
)  # fmt: skip
def test_the_attenuation_of_water_is_text_or_a_number(value: bytes | None, expected: float) -> None:
    ds = Dataset()
    ds.add_new((0x7041, 0x0010), "LO", "CTPD")
    if value is not None:
        ds.add_new((0x7041, 0x1001), "UN", value)
    assert water(Path("a.dcm"), ds) == pytest.approx(expected)


def test_views_of_several_detectors_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "pd", projections())
    other = save(tmp_path / "other", projections()[:, :-1])
    next(folder.iterdir()).write_bytes(next(other.iterdir()).read_bytes())
    poses = read_poses(folder)
    with pytest.raises(MedscoreError, match="keep the files of one scan"):
        read_helix(folder, poses)
