"""``medscore measure`` on CT: stacks of projections with a geometry file, images with metal."""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
import torch
import yaml
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medscore.datasets.nifti import read_nifti
from medscore.hounsfield import hu_to_mu
from medscore.measurements.measurement import read_measurement
from medscore.metrics.image_quality import CT_CONVENTION, quality
from medscore.operators.ct.geometry import FanBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import fan_sparse_view, fan_view_list, sparse_view, view_list
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.run import reconstruct

Command = Callable[..., Any]
SIZE, SPACING, ANGLES = 32, 3.0, [2.0, 40.0, 41.5, 100.0, 171.0]
FAN = {"source_distance": 400.0, "detector_distance": 700.0}
WIDE = {**FAN, "detector_spacing": 6.0}
SHORT = [float(a) for a in range(100, 310, 7)]


def displaced(operator: Radon, offset: float) -> Radon:
    """The scan with its detector displaced by ``offset`` mm."""
    return Radon(replace(operator.geometry, detector_offset=offset), operator.diagonal)


SCANS: dict[str, tuple[Radon, dict[str, Any]]] = {
    "parallel": (sparse_view(SIZE, SPACING, 60), {"beam": "parallel", "views": 60}),
    "angles": (
        view_list(SIZE, SPACING, [math.radians(a) for a in ANGLES]),
        {"beam": "parallel", "angles": ANGLES},
    ),
    "flat fan": (
        fan_sparse_view(SIZE, SPACING, 90, **FAN),
        {"beam": "fan", "views": 90, **FAN},
    ),
    "curved fan": (
        fan_sparse_view(SIZE, SPACING, 90, detector_shape="curved", **FAN),
        {"beam": "fan", "views": 90, "detector_shape": "curved", **FAN},
    ),
    "short scan": (
        fan_view_list(SIZE, SPACING, [math.radians(a) for a in SHORT], **FAN),
        {"beam": "fan", "angles": SHORT, **FAN},
    ),
    "displaced": (
        displaced(sparse_view(SIZE, SPACING, 60), 2.5),
        {
            "beam": "parallel",
            "views": 60,
            "detector_offset": 2.5,
        },
    ),
    "displaced curved fan": (
        displaced(fan_sparse_view(SIZE, SPACING, 90, detector_shape="curved", **FAN), -4.0),
        {"beam": "fan", "views": 90, "detector_shape": "curved", "detector_offset": -4.0, **FAN},
    ),
}


def scanned(operator: Radon, scan: Path) -> NDArray[np.float32]:
    """Line integrals (slice, view, detector) of the measured views."""
    hu = torch.from_numpy(read_nifti(scan).values)[:, None]
    return operator.forward(hu_to_mu(hu))[:, 0, operator.measured].numpy()


def written(path: Path, data: NDArray[Any]) -> Path:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["exchange/data"] = data
            file["exchange/theta"] = np.zeros(3)
    else:
        tifffile.imwrite(path, data)
    return path


def described(path: Path, operator: Radon, **fields: Any) -> Path:
    base = {
        "size": SIZE, "spacing": SPACING, "slice_spacing": 5.0,
        "detector_spacing": operator.geometry.detector_spacing,
    }  # fmt: skip
    path.write_text(yaml.safe_dump({**base, **fields}))
    return path


@pytest.mark.parametrize("suffix", [".h5", ".tif"])
@pytest.mark.parametrize("name", SCANS)
def test_projections_find_their_place_on_the_full_grid(
    done: Command, scan: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    operator, fields = SCANS[name]
    path = written(tmp_path / f"p{suffix}", scanned(operator, scan))
    geometry = described(tmp_path / "g.yaml", operator, **fields)
    done("measure", path, "--geometry", geometry, "-o", tmp_path / "m.h5")
    found = read_measurement(tmp_path / "m.h5")
    assert isinstance(found.operator, Radon)
    assert found.operator.geometry == operator.geometry
    assert torch.equal(found.operator.diagonal, operator.diagonal)
    hu = torch.from_numpy(read_nifti(scan).values)[:, None]
    np.testing.assert_allclose(found.data, operator.forward(hu_to_mu(hu)).numpy(), atol=1e-6)
    assert np.linalg.norm(found.affine[:3, :3], axis=0) == pytest.approx([3, 3, 5])


def test_other_axes_and_transmissions_are_the_same_scan(
    done: Command, scan: Path, tmp_path: Path
) -> None:
    operator, fields = SCANS["parallel"]
    data = scanned(operator, scan)
    path = written(tmp_path / "p.tif", np.exp(-data).transpose(1, 0, 2))
    fields = {**fields, "axes": ["view", "slice", "detector"], "values": "transmission"}
    geometry = described(tmp_path / "g.yaml", operator, **fields)
    done("measure", path, "--geometry", geometry, "-o", tmp_path / "m.h5")
    found = read_measurement(tmp_path / "m.h5")
    np.testing.assert_allclose(
        found.data[:, 0, operator.measured.numpy()], data, atol=1e-5, rtol=1e-4
    )
    name, image = classical(found)
    assert name == "FBP"
    assert quality(image, read_nifti(scan).values, CT_CONVENTION).psnr > 22


def test_measured_projections_are_reconstructed(
    done: Command, scan: Path, prior: Path, tmp_path: Path
) -> None:
    """The noise of the projections is unknown, so it is estimated."""
    operator, fields = SCANS["flat fan"]
    noise = 0.02 * np.random.default_rng(0).standard_normal((2, 90, operator.grid_shape[1]))
    path = written(tmp_path / "p.tif", (scanned(operator, scan) + noise).astype(np.float32))
    geometry = described(tmp_path / "g.yaml", operator, **fields)
    done("measure", path, "--geometry", geometry, "-o", tmp_path / "m.h5")
    args = ("--prior", prior, "--steps", 4, "--device", "cpu", "-o", tmp_path / "out")
    done("recon", tmp_path / "m.h5", *args)
    assert not json.loads((tmp_path / "out" / "provenance.json").read_text())["final_exact_step"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"views": 59}, "there are 60 views, the geometry has 59"),
        ({"views": None}, "views or angles"),
        ({"angles": ANGLES}, "views or angles"),
        ({"beam": "cone"}, "beam"),
        ({"beam": "fan"}, "source_distance"),
        ({"beam": "fan", "source_distance": 10.0, "detector_distance": 20.0}, "within the image"),
        ({"views": None, "angles": [0.05 * a for a in range(60)]}, "they look like radians"),
        ({"views": None, "angles": [0.0355 * a for a in range(60)]}, "they look like radians"),
        ({"views": None, "angles": [math.pi * a / 15 for a in range(60)]}, "look like radians"),
        ({"views": None, "angles": [math.nan] * 60}, "angles"),
        ({"beam": "fan", "source_distance": 400.0, "detector_distance": 300.0}, "counts from the"),
        ({"source_distance": 400.0, "detector_distance": 700.0}, "those of a fan beam"),
        ({"views": None, "angles": []}, "angles"),
        ({"detector_offset": 1.0, "centre_of_rotation": 20.0}, "either centre_of_rotation or"),
        ({"detector_offset": math.inf}, "detector_offset"),
        ({"detector_offset": 500.0}, "beside the detector"),
        ({"centre_of_rotation": -1.0}, "beside the detector"),
        ({"size": 2}, "size"),
        ({"spacing": -1.0}, "spacing"),
        ({"colour": "red"}, "colour"),
        ({"axes": ["slice", "slice", "view"]}, "axes"),
        ({"values": "transmission"}, "line-integrals"),
        ({"mu_water": 0.2}, "mu_water"),
    ],
)
def test_refuses_a_geometry(
    refused: Command,
    scan: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fields: dict[str, Any],
    why: str,
) -> None:
    operator, right = SCANS["parallel"]
    folder = tmp_path_factory.mktemp("ct")
    path = written(folder / "p.tif", scanned(operator, scan))
    changed = {k: v for k, v in {**right, **fields}.items() if v is not None}
    geometry = described(folder / "g.yaml", operator, **changed)
    assert why in refused("measure", path, "--geometry", geometry, "-o", tmp_path / "m.h5")


LISTS = {
    "beyond 360 degrees": (np.arange(200.0, 376.0, 3.0), np.arange(200.0, 376.0, 3.0) - 360),
    "several turns later": (np.arange(720.0, 900.0, 3.0), np.arange(0.0, 180.0, 3.0)),
    "in any order": (np.array([90.0, 3.0, 171.0, 45.0]), np.array([3.0, 45.0, 90.0, 171.0])),
    "descending": (np.arange(0.0, -180.0, -3.0), np.arange(-177.0, 1.0, 3.0)),
    "descending through zero": (77.0 - np.arange(0.0, 360.0, 6.0), np.arange(5.0, 360.0, 6.0)),
    "both ends of a turn": (np.arange(0.0, 361.0, 6.0), np.r_[0.0, np.arange(0.0, 360.0, 6.0)]),
    "golden angle": (111.246 * np.arange(40), np.sort(111.246 * np.arange(40) % 360)),
}


@pytest.mark.parametrize("beam", ["parallel", "fan"])
@pytest.mark.parametrize("name", LISTS)
def test_any_list_of_degrees_is_the_views_that_it_lists(
    done: Command, tmp_path: Path, beam: str, name: str
) -> None:
    """Each view holds the cosine and sine of its own angle."""
    given, listed = LISTS[name]
    fields = {"beam": beam, **(WIDE if beam == "fan" else {})}
    marks = np.stack([np.cos(np.radians(given)), np.sin(np.radians(given))], 1).astype(np.float32)
    data = np.full((len(given), 60), 1.0, np.float32)
    data[:, :2] = marks
    written(tmp_path / "p.tif", data)
    described(tmp_path / "g.yaml", SCANS["parallel"][0], angles=given.tolist(), **fields)
    done("measure", tmp_path / "p.tif", "--geometry", tmp_path / "g.yaml", "-o", tmp_path / "m.h5")
    found = read_measurement(tmp_path / "m.h5")
    assert isinstance(found.operator, Radon)
    angles = found.operator.geometry.angles[found.operator.measured].numpy()
    rows = found.data[0, 0, found.operator.measured.numpy()]
    np.testing.assert_allclose(rows[:, 0], np.cos(angles), atol=1e-5)
    np.testing.assert_allclose(rows[:, 1], np.sin(angles), atol=1e-5)
    folded = np.sort(np.degrees(angles + 1e-9) % 360)
    np.testing.assert_allclose(folded, np.sort((listed + 1e-7) % 360), atol=1e-5)


@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_the_centre_of_rotation_is_a_place_on_the_detector(
    done: Command, tmp_path: Path, beam: str
) -> None:
    """A point on the axis is seen by detector 27.25 in every view: an offset of 2.25 detectors."""
    fields = {"beam": beam, "views": 60, **(WIDE if beam == "fan" else {})}
    width = fields.get("detector_spacing", SPACING)
    written(tmp_path / "p.tif", np.ones((60, 60), np.float32))
    for key, value in (("centre_of_rotation", 27.25), ("detector_offset", 2.25 * width)):
        described(tmp_path / "g.yaml", SCANS["parallel"][0], **{**fields, key: value})
        made = tmp_path / f"{key}.h5"
        files = (tmp_path / "p.tif", "--geometry", tmp_path / "g.yaml", "-o", made)
        done("measure", *files)
        operator = read_measurement(made).operator
        assert isinstance(operator, Radon)
        assert operator.geometry.detector_offset == pytest.approx(2.25 * width)
        on_axis = np.interp(0.0, operator.geometry.offsets.numpy(), np.arange(60))
        assert on_axis == pytest.approx(27.25)
        assert f"{2.25 * width:g} mm beside the axis" in done("inspect", made).out


def water() -> NDArray[np.float64]:
    """Line integrals of a water disc, (view, detector), with air at both ends."""
    s = np.linspace(-60, 60, 64)
    return np.tile(2 * 0.02 * np.sqrt(np.clip(45.0**2 - s**2, 0, None)), (60, 1))


def noisy(photons: float) -> NDArray[np.float64]:
    counts = np.random.default_rng(0).poisson(photons * np.exp(-water()))
    return np.maximum(counts, 1) / photons


WRONG: dict[str, tuple[NDArray[np.float64], str, str]] = {
    "counts as transmission": (4e4 * np.exp(-water()), "transmission", "flat field"),
    "counts as line integrals": (4e4 * np.exp(-water()), "line-integrals", "flat field"),
    "counts of 16 bits": (np.rint(60000 * np.exp(-water())), "line-integrals", "look like counts"),
    "per cent": (100 * np.exp(-water()), "transmission", "flat field"),
    "grey values": (255 * np.exp(-water()), "transmission", "flat field"),
    "logarithms as transmission": (2 * water() + 1e-3, "transmission", "line-integrals"),
    "weak logarithms as transmission": (water() + 1e-3, "transmission", "line-integrals"),
    "transmission as line integrals": (np.exp(-water()), "line-integrals", "to transmission"),
    "scaled counts as line integrals": (0.3 * np.exp(-water()), "line-integrals", "flat field"),
    "logarithms of many counts": (np.log(2e4 * np.exp(-water())), "line-integrals", "flat field"),
    "air at 2 as transmission": (2 * np.exp(-water()) - 0.02, "transmission", "flat field"),
    "the wrong sign": (-water(), "line-integrals", "sign"),
    "logarithms of counts": (np.log(4e4 * np.exp(-water())) - 25, "line-integrals", "sign"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_the_unit_cannot_have_are_refused_with_the_likely_one(
    refused: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    data, unit, why = WRONG[name]
    folder = tmp_path_factory.mktemp("ct")
    written(folder / "p.tif", data.astype(np.float32))
    operator, fields = SCANS["parallel"]
    described(folder / "g.yaml", operator, **fields, values=unit)
    args = ("measure", folder / "p.tif", "--geometry", folder / "g.yaml", "-o", tmp_path / "m.h5")
    assert why in refused(*args)


RIGHT: dict[str, tuple[NDArray[np.float64], str]] = {
    "few photons": (noisy(50.0), "transmission"),
    "few photons, logarithm": (-np.log(noisy(50.0)), "line-integrals"),
    "air brighter by a fifth": (1.2 * noisy(1e4), "transmission"),
    "air brighter by a fifth, logarithm": (-np.log(1.2 * noisy(1e4)), "line-integrals"),
    "hot pixels": (np.where(np.arange(3840).reshape(60, 64) % 700 == 3, 60.0, noisy(1e4)),
                   "transmission"),
    "metal": (np.where(np.abs(np.arange(64) - 32) < 3, 14.0, 1.0) * water() / 2, "line-integrals"),
    "interior of an object": (water()[:, 16:48] + 0.5, "line-integrals"),
    "interior of an object, transmission": (np.exp(-water()[:, 16:48] - 4), "transmission"),
    "nothing but air": (noisy(1e4) * 0 + np.exp(-1e-3), "transmission"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:the detector covers")
@pytest.mark.parametrize("name", RIGHT)
def test_real_noise_and_calibration_pass(done: Command, tmp_path: Path, name: str) -> None:
    data, unit = RIGHT[name]
    written(tmp_path / "p.tif", data.astype(np.float32))
    operator, fields = SCANS["parallel"]
    described(tmp_path / "g.yaml", operator, **fields, values=unit)
    done("measure", tmp_path / "p.tif", "--geometry", tmp_path / "g.yaml", "-o", tmp_path / "m.h5")


def test_back_projection_needs_no_noise_level(done: Command, tmp_path: Path) -> None:
    """The projections are free of noise, so its level cannot be estimated."""
    written(tmp_path / "p.tif", water().astype(np.float32))
    described(tmp_path / "g.yaml", *SCANS["parallel"][:1], **SCANS["parallel"][1])
    done("measure", tmp_path / "p.tif", "--geometry", tmp_path / "g.yaml", "-o", tmp_path / "m.h5")
    found = reconstruct(read_measurement(tmp_path / "m.h5"), method="fbp")
    assert found.mean.shape == (1, SIZE, SIZE)


def test_a_short_arc_is_previewed_by_the_adjoint(done: Command, tmp_path: Path) -> None:
    """Filtered back-projection refuses it; the reconstruction does not need it."""
    written(tmp_path / "p.tif", water().astype(np.float32))
    fields = {"beam": "fan", "angles": [float(a) for a in range(0, 120, 2)], **WIDE}
    described(tmp_path / "g.yaml", SCANS["parallel"][0], **fields)
    done("measure", tmp_path / "p.tif", "--geometry", tmp_path / "g.yaml", "-o", tmp_path / "m.h5")
    name, image = classical(read_measurement(tmp_path / "m.h5"))
    assert name == "adjoint"
    assert np.isfinite(image).all()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.tif", b"no TIFF", "TIFF"),
        ("p.h5", b"no HDF5", "HDF5"),
        ("g.yaml", b"a: [", "YAML"),
        ("g.yaml", b"\xff\xfe\x00", "YAML"),
        ("g.yaml", b"none", "g.yaml"),
    ],
)
def test_refuses_files(
    refused: Command,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    content: bytes,
    why: str,
) -> None:
    operator, right = SCANS["parallel"]
    folder = tmp_path_factory.mktemp("ct")
    written(folder / "p.tif", np.ones((2, 60, 46), np.float32))
    described(folder / "g.yaml", operator, **right)
    (folder / name).write_bytes(content)
    path = folder / (name if name.startswith("p") else "p.tif")
    args = ("measure", path, "--geometry", folder / "g.yaml", "-o", tmp_path / "m.h5")
    assert why in refused(*args)


def test_an_image_with_metal_becomes_its_sinogram_without_the_trace(
    done: Command, scan: Path, prior: Path, tmp_path: Path
) -> None:
    loaded = nib.load(scan)
    values = np.asarray(loaded.dataobj).copy()
    values[20:22, 18:20, 0] = 6000.0  # of the first slice
    nib.save(nib.Nifti1Image(values, loaded.affine), tmp_path / "metal.nii")
    done("measure", tmp_path / "metal.nii", "--margin", 0, "-o", tmp_path / "m.h5")
    found = read_measurement(tmp_path / "m.h5")
    mask = found.operator.diagonal.numpy()
    hu = read_nifti(tmp_path / "metal.nii").values
    assert isinstance(found.operator, Radon)
    whole = Radon(found.operator.geometry, torch.ones(found.operator.geometry.views, 1))
    crossed = whole.forward(torch.from_numpy(1.0 * (hu > 2500))[:, None].float()).numpy() > 0
    assert np.array_equal(mask, ~crossed)
    assert mask[1].all()
    assert found.noise == "estimate:uniform"
    args = ("--prior", prior, "--steps", 4, "--device", "cpu", "-o", tmp_path / "out")
    said = done("recon", tmp_path / "m.h5", *args, "--noise", "gaussian:0.05").err
    assert "note: metal: 4 pixels in 1 of 2 slice(s)" in " ".join(said.split())
    recon = read_nifti(tmp_path / "out" / "recon.nii.gz").values
    np.testing.assert_array_equal(recon > 2500, read_nifti(tmp_path / "out/metal.nii.gz").values)
    np.testing.assert_array_equal(recon[hu > 2500], 6000)


def test_the_option_without_metal_leaves_it_out(done: Command, scan: Path, tmp_path: Path) -> None:
    loaded = nib.load(scan)
    values = np.asarray(loaded.dataobj).copy()
    values[20:22, 18:20] = 6000.0
    nib.save(nib.Nifti1Image(values, loaded.affine), tmp_path / "metal.nii")
    done("measure", tmp_path / "metal.nii", "-o", tmp_path / "m.h5")
    args = ("--baseline", "li", "--without-metal", "-o", tmp_path / "out")
    assert "filled in" in done("recon", tmp_path / "m.h5", *args).err
    assert read_nifti(tmp_path / "out" / "recon.nii.gz").values.max() < 2500


def test_an_image_without_metal_is_refused(refused: Command, scan: Path, tmp_path: Path) -> None:
    assert "no metal" in refused("measure", scan, "-o", tmp_path / "m.h5")
    assert "--margin" in refused("measure", scan, "--margin=-1", "-o", tmp_path / "m.h5")


def ct_pd(
    folder: Path, operator: Radon, data: NDArray[np.float32], *, columns: int = -1, **tags: Any
) -> Path:
    """Write views (slice, view, detector) as DICOM-CT-PD in random order, with three detector rows.

    The table moves by 5 mm between rotations; ``columns`` is the sign of their direction.
    """
    geometry = operator.geometry
    assert isinstance(geometry, FanBeam)
    folder.mkdir()
    turns, count, width = data.shape
    order = np.random.default_rng(0).permutation(turns * count)
    for number, index in enumerate(order):
        turn, view = divmod(int(index), count)
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"1.2.3.{number + 1}"
        for group in (0x7029, 0x7031):
            ds.add_new((group, 0x0010), "LO", "CTPD")
        values = {
            (0x7029, 0x1002): geometry.detector_spacing,
            (0x7031, 0x1001): (2 * math.pi * view / count + math.pi) % (2 * math.pi),
            (0x7031, 0x1002): 5.0 * turn,
            (0x7031, 0x1003): geometry.source_distance,
            (0x7031, 0x1031): geometry.detector_distance,
        }
        for tag, value in values.items():
            ds.add_new(tag, "FL", value)
        offset = geometry.detector_offset / geometry.detector_spacing
        middle = (width + 1) / 2 + columns * offset
        centre = struct.pack("<2f", middle, 2.0)
        ds.add_new((0x7031, 0x1033), "UN", centre)
        ds.add_new((0x7029, 0x100B), "CS", tags.get("shape", "CYLINDRICAL"))
        ds.Rows, ds.Columns = width, 3
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.RescaleSlope, ds.RescaleIntercept = "0.0002", "-0.1"
        stored = np.zeros((width, 3), "<u2")
        stored[:, 1] = np.rint((data[turn, view, ::-columns] + 0.1) / 0.0002)
        ds.PixelData = stored.tobytes()
        ds.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("columns", [-1, 1])
@pytest.mark.parametrize("name", ["curved fan", "displaced curved fan"])
def test_axial_dicom_projections_are_the_scan(
    done: Command, scan: Path, tmp_path: Path, name: str, columns: int
) -> None:
    """Whichever way the columns of the detector are counted."""
    operator, _ = SCANS[name]
    data = scanned(operator, scan)
    args = ("--size", SIZE, "--spacing", SPACING, "-o", tmp_path / "m.h5")
    done("measure", ct_pd(tmp_path / "pd", operator, data, columns=columns), *args)
    found = read_measurement(tmp_path / "m.h5")
    assert isinstance(found.operator, Radon)
    assert repr(found.operator) == repr(operator)
    np.testing.assert_allclose(
        found.data[:, 0, operator.measured.numpy()], data, atol=2e-4, rtol=1e-6
    )
    assert np.linalg.norm(found.affine[:3, 2]) == pytest.approx(5)
    looked = json.loads(done("inspect", tmp_path / "pd", "--json").out)
    assert looked["what"].startswith("CT projections")
    assert looked["facts"]["views"].startswith(f"180, detector of {data.shape[2]} x 3")


@pytest.mark.parametrize(
    ("changes", "drop", "why"),
    [
        ({"shape": "FLAT"}, 0, "flat"),
        ({}, 1, "turns have 44 to 45 views"),
    ],
)
def test_refuses_dicom_projections(
    refused: Command,
    scan: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    changes: dict[str, Any],
    drop: int,
    why: str,
) -> None:
    operator = fan_sparse_view(SIZE, SPACING, 45, detector_shape="curved", **FAN)
    folder = tmp_path_factory.mktemp("ct") / "pd"
    ct_pd(folder, operator, scanned(operator, scan), **changes)
    for path in sorted(folder.iterdir())[:drop]:
        path.unlink()
    args = ("measure", folder, "-o", tmp_path / "m.h5")
    assert why in refused(*args, "--size", SIZE, "--spacing", SPACING)
    assert "--size and --spacing" in refused(*args)


def test_refuses_dicom_projections_of_several_detectors(
    refused: Command, scan: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    operator = fan_sparse_view(SIZE, SPACING, 45, detector_shape="curved", **FAN)
    folder = tmp_path_factory.mktemp("ct") / "pd"
    ct_pd(folder, operator, scanned(operator, scan))
    path = sorted(folder.iterdir())[3]
    ds = pydicom.dcmread(path)
    ds.Rows -= 1
    ds.PixelData = ds.PixelData[: -2 * ds.Columns]
    ds.save_as(path)
    args = ("measure", folder, "-o", tmp_path / "m.h5")
    assert "detectors" in refused(*args, "--size", SIZE, "--spacing", SPACING)


def test_keys_of_the_geometry_are_set_on_the_command_line(
    done: Command, refused: Command, scan: Path, tmp_path: Path
) -> None:
    """They complete a file and take precedence over it; values are those of YAML."""
    operator, _ = SCANS["angles"]
    np.save(tmp_path / "p.npy", scanned(operator, scan))
    spacing = operator.geometry.detector_spacing
    words = ["--set", "beam=parallel", "--set", f"angles={ANGLES}", "--size", SIZE]
    words += ["--set", f"detector_spacing={spacing}", "--spacing", SPACING]
    done("measure", tmp_path / "p.npy", *words, "-o", tmp_path / "a.h5")
    described(tmp_path / "g.yaml", operator, beam="fan", angles=ANGLES)
    args = ("measure", tmp_path / "p.npy", "--geometry", tmp_path / "g.yaml")
    done(*args, "--set", "beam=parallel", "-o", tmp_path / "b.h5")
    for name in ("a.h5", "b.h5"):
        found = read_measurement(tmp_path / name)
        assert isinstance(found.operator, Radon)
        assert found.operator.geometry == operator.geometry
    for setting, why in (
        ("beam", "--set is 'beam'"), ("=3", "--set is '=3'"), ("center_of_rotation=3", "centre_of"),
        ("angles=[1,", "YAML"), ("beam=parallel\nx: 1", "beam"),
    ):  # fmt: skip
        assert why in refused(*args, "--set", setting, "-o", tmp_path / "c.h5")
