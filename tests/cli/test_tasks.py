"""Every task of ``simulate`` is measured, inspected and reconstructed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.datasets.dicom.read import read_dicom
from medscore.datasets.nifti import read_nifti
from medscore.measurements.measurement import read_measurement
from medscore.measurements.tasks import NEEDS, TASKS
from medscore.metrics.image_quality import CT_CONVENTION, Convention, quality
from medscore.reconstruction.baselines.classical import classical

Command = Callable[..., Any]
EITHER = [task for task in TASKS if task not in NEEDS]
CASES = [*NEEDS.items(), *((task, modality) for task in EITHER for modality in ("CT", "MR"))]
every_task = pytest.mark.parametrize(("task", "modality"), CASES)
WHOLE = {
    "sparse-ct": ("--views", 180), "limited-angle": ("--arc", 180), "mri": ("--acceleration", 1),
    "mri-multicoil": ("--acceleration", 1, "--coils", 3), "deblur": ("--blur", 0.3),
}  # fmt: skip
"""Options with which a task is fully sampled."""


@pytest.fixture
def image(scan: Path, mr_scan: Path) -> Callable[[str], Path]:
    return lambda modality: {"CT": scan, "MR": mr_scan}[modality]


@pytest.fixture
def fitting(prior: Path, mr_prior: Path) -> Callable[[str], Path]:
    return lambda modality: {"CT": prior, "MR": mr_prior}[modality]


@pytest.mark.slow
@every_task
def test_every_task_is_measured_looked_at_and_reconstructed(
    done: Command,
    image: Callable[[str], Path],
    fitting: Callable[[str], Path],
    tmp_path: Path,
    task: str,
    modality: str,
) -> None:
    if "mar" in task:
        for package in ("spekpy", "xraydb"):
            pytest.importorskip(package)
    meas, out = tmp_path / "m.h5", tmp_path / "out"
    done("simulate", image(modality), "--task", task, "-o", meas)
    found = json.loads(done("inspect", meas, "--json").out)
    assert (found["facts"]["task"], found["facts"]["modality"]) == (task, modality)
    args = ("--prior", fitting(modality), "--device", "cpu", "--steps", 8)
    done("recon", meas, *args, "--reference", image(modality), "-o", out)
    record = json.loads((out / "provenance.json").read_text())
    if record["final_exact_step"]:
        assert record["relative_residual"]["max"] <= 1e-3
    assert record["final_exact_step"] == (task not in ("mar", "sparse-mar"))
    names = {
        "mar": "LI",
        "sparse-mar": "LI",
        "sparse-ct": "FBP",
        "limited-angle": "FBP",
        "cone-ct": "FDK",
    }
    rows = json.loads((out / "metrics.json").read_text())["rows"]
    assert (out / "metal.nii.gz").is_file() == ("mar" in task)
    assert rows[0]["method"] == names.get(task, "zero-filled")
    assert read_nifti(out / "recon.nii.gz").values.shape == (2, 32, 32)


@pytest.mark.parametrize(("task", "options"), WHOLE.items())
def test_what_measures_all_gives_the_image_back(
    done: Command, image: Callable[[str], Path], tmp_path: Path, task: str, options: tuple[Any, ...]
) -> None:
    """Without a prior, the classical reconstruction equals the image, in the same units."""
    modality = NEEDS.get(task, "CT")
    done("simulate", image(modality), "--task", task, *options, "-o", tmp_path / "m.h5")
    name, found = classical(read_measurement(tmp_path / "m.h5"))
    truth = read_nifti(image(modality)).values
    convention = CT_CONVENTION if modality == "CT" else Convention(0.0, 900.0, "")
    assert quality(found, truth, convention).psnr > (25 if name == "FBP" else 60)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mri", "mri-multicoil", "inpaint"])
def test_magnitudes_scale_with_the_scanners_unit(
    done: Command, mr_scan: Path, mr_prior: Path, tmp_path: Path, task: str
) -> None:
    """Doubling the image's intensity doubles the reconstruction's."""
    import nibabel as nib

    loaded = nib.load(mr_scan)
    nib.save(nib.Nifti1Image(2 * np.asarray(loaded.dataobj), loaded.affine), tmp_path / "2.nii")
    found = []
    for name, path in (("one", mr_scan), ("two", tmp_path / "2.nii")):
        done("simulate", path, "--task", task, "-o", tmp_path / f"{name}.h5")
        args = ("--prior", mr_prior, "--steps", 6, "--device", "cpu", "-o", tmp_path / name)
        done("recon", tmp_path / f"{name}.h5", *args)
        found.append(read_nifti(tmp_path / name / "recon.nii.gz").values)
    np.testing.assert_allclose(found[1], 2 * found[0], atol=1e-3 * 900)


@pytest.mark.slow
def test_noise_in_kspace_is_recorded_and_estimated(
    done: Command, mr_scan: Path, mr_prior: Path, tmp_path: Path
) -> None:
    meas = tmp_path / "m.h5"
    done("simulate", mr_scan, "--task", "mri-multicoil", "--noise", "gaussian:20", "-o", meas)
    measurement = read_measurement(meas)
    assert measurement.noise == "gaussian:20"
    for noise in ("recorded", "estimate"):
        args = ("--prior", mr_prior, "--steps", 4, "--device", "cpu", "--noise", noise)
        done("recon", meas, *args, "-o", tmp_path / noise)
        record = json.loads((tmp_path / noise / "provenance.json").read_text())
        assert not record["final_exact_step"]


def test_a_masks_seed_draws_another(done: Command, mr_scan: Path, tmp_path: Path) -> None:
    args = ("simulate", mr_scan, "--task", "mri", "--mask", "random", "--acceleration", 3)
    for seed in (0, 1):
        done(*args, "--seed", seed, "-o", tmp_path / f"{seed}.h5")
    one, two = (read_measurement(tmp_path / f"{seed}.h5").operator for seed in (0, 1))
    assert one.diagonal.sum() == two.diagonal.sum()
    assert not bool((one.diagonal == two.diagonal).all())


def test_mr_from_dicom_comes_back_as_dicom(
    done: Command, make_prior: Callable[..., Path], tmp_path: Path
) -> None:
    import pydicom

    source = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"
    magnitude = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0}
    prior = make_prior(tmp_path / "p.safetensors", **magnitude, spacing_mm=(0.1, 9.0))
    read = ("--accept", "derived", "--size", 32)
    done("simulate", source, *read, "--task", "mri", "-o", tmp_path / "m.h5")
    args = ("--prior", prior, "--steps", 4, "--device", "cpu")
    done("recon", tmp_path / "m.h5", *args, "-o", tmp_path / "out")
    derived = read_dicom(tmp_path / "out" / "dicom")
    assert derived.modality == "MR"
    image = read_nifti(tmp_path / "out" / "recon.nii.gz").values.clip(min=0)
    np.testing.assert_allclose(derived.values, image, atol=image.max() / 65535)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--task", "mri", "--noise", "poisson:1e5"), "no photons"),
        (("--task", "mri", "--acceleration", 0.5), "--acceleration is 0.5"),
        (("--task", "mri", "--mask", "star"), "--mask is 'star'"),
        (("--task", "mri-multicoil", "--coils", 0), "--coils is 0"),
        (("--task", "sparse-ct"), "Hounsfield"),
        (("--task", "inpaint", "--hidden", 1), "--hidden is 1"),
        (("--task", "sr", "--factor", 5), "--factor"),
        (("--task", "deblur", "--blur", 0), "--blur is 0"),
        (("--task", "inpaint", "--noise", "poisson:9"), "no photons"),
        (("--task", "mri", "--views", 9), "--views is not an option of task mri"),
    ],
)
def test_refuses_for_magnitudes(
    refused: Command, mr_scan: Path, tmp_path: Path, options: tuple[Any, ...], why: str
) -> None:
    assert why in refused("simulate", mr_scan, *options, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--task", "mri"), "not negative"),
        (("--task", "limited-angle", "--arc", 0), "--arc is 0"),
        (("--task", "mar", "--implant", "1,2"), "--implant is '1,2'"),
        (("--task", "mar", "--implant", "900,0,2"), "no implant"),
        (("--task", "mar", "--noise", "gaussian:0.1"), "photons"),
        (("--task", "sparse-ct", "--implant", "1,2,3"), "--implant is not an option"),
    ],
)
def test_refuses_for_hounsfield_units(
    refused: Command, scan: Path, tmp_path: Path, options: tuple[Any, ...], why: str
) -> None:
    assert why in refused("simulate", scan, *options, "-o", tmp_path / "m.h5")
