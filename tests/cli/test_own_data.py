"""A user's own folder of images: a recipe that trains as it is, and patterns in place of YAML."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from scipy.io import savemat

from medscore.datasets.formats.write import write_image
from medscore.priors.checkpoint import read_checkpoint
from medscore.training import init_recipe, prepare, read_recipe
from medscore.training.split import Split, split_for

Command = Callable[..., Any]
Refused = Callable[..., str]
WriteSlice = Callable[..., Path]
PATIENTS = ("Meier^Anna", "Kunz^Beat", "Roth^Carla")


def _disc(seed: int, modality: str = "CT", side: int = 32) -> NDArray[np.float32]:
    """Two slices of one patient."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    radii = side * (0.3 + 0.04 * seed) + np.array([0, 2])
    disc = np.stack([np.hypot(x, y) < r for r in radii]).astype(np.float32)
    noise = np.random.default_rng(seed).integers(0, 40, disc.shape)
    return np.float32(disc * (1000 + noise) - 1000 if modality == "CT" else disc * (600 + noise))


def _nifti(path: Path, values: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), np.diag([-2.0, -2, 5, 1])), path)


def _bids(root: Path, write: WriteSlice) -> None:
    for k in range(3):
        for visit in (1, 2):
            name = f"sub-{k}/ses-{visit}/anat/sub-{k}_ses-{visit}_T1w.nii.gz"
            _nifti(root / name, _disc(k + 3 * visit, "MR"))


def _folders(root: Path, write: WriteSlice) -> None:
    for k, patient in enumerate(PATIENTS):
        for visit in (1, 2):
            _nifti(root / patient / f"scan{visit}.nii.gz", _disc(k + 3 * visit))


def _labelled(root: Path, write: WriteSlice) -> None:
    for k in range(3):
        _nifti(root / f"case{k}" / f"case{k}_t1.nii.gz", _disc(k, "MR"))
        _nifti(root / f"case{k}" / f"case{k}_t2.nii.gz", _disc(k + 3, "MR"))
        _nifti(root / f"case{k}" / f"case{k}_seg.nii.gz", np.float32(_disc(k) > -500))


def _archive(root: Path, write: WriteSlice) -> None:
    values = np.concatenate([_disc(k) for k in range(3)])
    names = [name for name in PATIENTS for _ in range(2)]
    np.savez(root / "slices.npz", hu=values, patient=names, pixel_spacing_mm=[2.0] * 6)


def _formats(root: Path, write: WriteSlice) -> None:
    """An image of each format; an array of one image names no patient."""
    for k, end in enumerate(("nrrd", "npz", "mat", "mha")):
        folder, affine = root / f"patient{k % 3}", np.diag([-2.0, -2, 5, 1])
        folder.mkdir(exist_ok=True)
        if end == "mat":
            savemat(folder / "scan.mat", {"hu": _disc(k), "spacing": [2.0, 2.0, 5.0]})
        else:
            write_image(folder / f"scan.{end}", _disc(k), affine, "CT")


def _dicom(root: Path, write: WriteSlice) -> None:
    """Two studies of each patient, in folders that do not name them, a localizer and a text."""
    for k, patient in enumerate(PATIENTS):
        for visit in (1, 2):
            folder = root / f"export{visit}" / f"{k}"
            folder.mkdir(parents=True)
            for z, hu in enumerate(_disc(k + 3 * visit)):
                made = write(
                    f"{z}.dcm", np.round(hu / 2).astype(int) * 2, PixelSpacing=[2, 2],
                    PatientID=patient, StudyInstanceUID=f"1.{k}.{visit}",
                    SeriesInstanceUID=f"1.{k}.{visit}.1",
                    ImagePositionPatient=["0", "0", f"{5 * z}"],
                )  # fmt: skip
                made.rename(folder / f"{z}.dcm")
    hu = np.zeros((32, 32), int)
    made = write(
        "9.dcm", hu, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID="1.9"
    )
    made.rename(root / "export1" / "0" / "9.dcm")
    (root / "README").write_text("exported")


KINDS: dict[str, tuple[Callable[[Path, WriteSlice], None], str]] = {
    "BIDS": (_bids, "MR"),
    "subject folders": (_folders, "CT"),
    "label maps": (_labelled, "MR"),
    "archive": (_archive, "CT"),
    "formats": (_formats, "CT"),
    "DICOM": (_dicom, "CT"),
}


@pytest.fixture(params=KINDS)
def own(
    request: pytest.FixtureRequest, tmp_path: Path, write_slice: WriteSlice
) -> tuple[Path, str, str]:
    write, modality = KINDS[request.param]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", write_slice)
    return tmp_path / "data", modality, request.param


def test_the_recipe_loads_as_it_is_with_patients_apart(
    done: Command, own: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, modality, kind = own
    said = done("train", "--init", folder, "-o", tmp_path / "mine.yaml").err
    assert "2 patients to train on" in " ".join(said.split())
    assert ("skipped" in said) == (kind in ("label maps", "DICOM"))
    run = prepare(tmp_path / "mine.yaml", steps=1)
    assert (run.contract.modality, run.contract.size) == (modality, 32)
    assert run.data.provenance.patients == 2
    assert run.data.validation is not None


@pytest.mark.slow
def test_the_recipe_trains_as_it_is(
    done: Command, tmp_path: Path, write_slice: WriteSlice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medscore.training.prior.draw_samples", lambda *_: None)  # takes long
    _dicom(tmp_path / "data", write_slice)
    done("train", "--init", tmp_path / "data", "-o", tmp_path / "mine.yaml")
    done("train", tmp_path / "mine.yaml", "-o", tmp_path / "run", "--steps", 1)
    provenance = read_checkpoint(tmp_path / "run" / "mine.safetensors").contract.provenance
    assert (provenance.patients, provenance.steps) == (2, 1)
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    assert not any(name.split("^")[0] in text for name in PATIENTS)


def test_the_recipe_states_the_measured_values_and_nobodys_name(
    own: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, modality, _ = own
    made = init_recipe(folder, tmp_path / "mine.yaml", seed=3)
    text, recipe = made.path.read_text(), read_recipe(made.path)
    assert recipe == made.recipe
    assert (recipe.modality, recipe.size, recipe.name) == (modality, 32, "mine")
    assert (made.patients, recipe.plan.seed) == ((2, 1), 3)
    assert recipe.split is not None
    assert not any(part in text for name in PATIENTS for part in name.split("^"))
    again = init_recipe(folder, tmp_path / "other.yaml", seed=3)
    assert again.recipe.split == recipe.split


def test_sigma_max_is_the_largest_distance_of_training_images(tmp_path: Path) -> None:
    values = np.full((4, 32, 32), -1000, np.float32)
    for k in range(4):
        values[k, : 6 * (k + 1)] = 250  # 0.5 in the network's range
    names = ["a", "a", "a", "b"]
    np.savez(tmp_path / "a.npz", hu=values, patient=names, pixel_spacing_mm=[1.0] * 4)
    made = init_recipe(tmp_path, tmp_path / "mine.yaml")
    assert made.recipe.split is not None
    trained = [0, 1, 2] if made.slices[0] == 3 else [3]
    apart = np.sqrt(6 * (trained[-1] - trained[0]) * 32 * 0.5**2)
    assert made.recipe.sde.kind == "ve"
    assert apart <= made.recipe.sde.sigma_max <= max(1.0, apart + 0.1)


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_a_tenth_of_the_patients_are_left_for_validation(count: int) -> None:
    patients = [f"patient {k}" for k in range(count)]
    split = split_for(patients, seed=1)
    left = [patient for patient in patients if not split.trains(patient)]
    assert len(left) == max(1, round(0.1 * count))
    later = Split(training=split.training, seed=1)
    assert [p for p in [*patients, "new"] if not later.trains(p)][: len(left)] == left


def _mixed(root: Path) -> None:
    for k in range(2):
        _nifti(root / f"ct{k}x.nii.gz", _disc(k))
        _nifti(root / f"mr{k}x.nii.gz", _disc(k, "MR"))


def _single(root: Path) -> None:
    for visit in (1, 2):
        _nifti(root / f"sub-1_ses-{visit}_T1w.nii.gz", _disc(visit, "MR"))


def _small(root: Path) -> None:
    for k in range(2):
        _nifti(root / f"p{k}.nii.gz", _disc(k, side=12))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "mixed": (_mixed, r"two modalities, 2 of CT and 2 of MR - set --modality"),
    "one patient": (_single, r"all 4 slices are of one patient.* - add patients"),
    "small": (_small, r"12 pixels a side, at least 16"),
    "empty": (lambda root: None, r"holds no image"),
    "texts": (lambda root: (root / "a.txt").write_text("x") and None, r"holds no image"),
    "damaged": (lambda root: (root / "a.nii").write_bytes(b"x" * 99) and None, r"none of 1 scans"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_that_cannot_be_trained_on_is_refused(
    refused: Refused, tmp_path: Path, kind: str
) -> None:
    write, said = REFUSED[kind]
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    line = refused("train", "--init", tmp_path / "data", "-o", tmp_path / "mine.yaml")
    assert re.search(said, line), line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--init", "DATA", "--size", 20], "--size is 20 - use a multiple of 16"),
        (["--init", "DATA", "--steps", 5], "--steps means nothing beside --init"),
        (["--init", "DATA", "--modality", "PET"], "use CT or MR"),
        (["--init", "nowhere"], "no such folder"),
        (["--init", "DATA", "--pattern", "*.dcm"], r"set --pattern to '\*.nii.gz'"),
        (["ct-128", "--size", 32], "--size applies to --init"),
        (["ct-128"], "--data is missing"),
        ([], "no recipe is given"),
    ],
)
def test_options_that_cannot_be_are_refused(
    refused: Refused, tmp_path: Path, options: list[object], said: str
) -> None:
    for k in range(2):
        _nifti(tmp_path / "data" / f"p{k}.nii.gz", _disc(k))
    args = [tmp_path / "data" if one == "DATA" else one for one in options]
    assert re.search(said, refused("train", *args, "-o", tmp_path / "mine.yaml"))


def test_modality_and_pattern_choose_among_mixed_files(done: Command, tmp_path: Path) -> None:
    _mixed(tmp_path / "data")
    for name, options in {"a": ["--modality", "MR"], "b": ["--pattern", "mr*.nii.gz"]}.items():
        done("train", "--init", tmp_path / "data", "-o", tmp_path / f"{name}.yaml", *options)
        assert read_recipe(tmp_path / f"{name}.yaml").modality == "MR"


@pytest.mark.parametrize(
    ("matrix", "size", "made"),
    [(32, None, (32, 1)), (40, None, (48, 1)), (512, None, (128, 2)), (64, 32, (32, 2)),
     (256, None, (128, 2)), (181, None, (192, 1)), (512, 256, (256, 2))],
)  # fmt: skip
def test_the_size_keeps_the_resolution_up_to_128_pixels(
    tmp_path: Path, matrix: int, size: int | None, made: tuple[int, int]
) -> None:
    values = np.zeros((2, matrix, matrix), np.float32)
    values[0, : matrix // 2], values[1, : matrix // 3] = 1, 2
    np.savez(tmp_path / "a.npz", image=values, patient=["a", "b"], pixel_spacing_mm=[1.0] * 2)
    recipe = init_recipe(tmp_path, tmp_path / "mine.yaml", size=size).recipe
    assert (recipe.size, recipe.oversample) == made


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["p1", "p [1]"])
def test_evaluate_and_tune_take_patterns(
    done: Command, refused: Refused, tmp_path: Path, folder: str
) -> None:
    _nifti(tmp_path / "data" / folder / "a.nii.gz", _disc(1))
    cohort = {"modality": "CT", "data": ["ct/*/*.dcm"], "size": 32}
    task = {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}}
    method = {"name": "FBP", "baseline": {"kind": "fbp"}}
    comparison = {
        "name": "tiny", "title": "Tiny", "ours": "FBP", "metric": {"convention": "ct"},
        "cohort": cohort, "tasks": [task], "methods": [method],
    }  # fmt: skip
    search = {
        "name": "tiny", "cohort": cohort, "task": task, "score": "psnr", "trials": 1,
        "method": {"name": "TV", "baseline": {"kind": "fista-tv", "iterations": 2}},
        "search": {"weight": {"values": [1e-4]}},
    }  # fmt: skip
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(comparison))
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(search))
    own = ["--data", tmp_path / "data", "--pattern", f"{folder}/*.nii.gz"]
    done("evaluate", tmp_path / "e.yaml", "--processes", 1, "-o", tmp_path / "e", *own)
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())
    report = (tmp_path / "e" / "report.md").read_text()
    assert "`medscore evaluate tiny.yaml --data DATA --pattern " in report
    done("tune", tmp_path / "t.yaml", "-o", tmp_path / "t", *own)
    for command, file in (("evaluate", "e"), ("tune", "t")):
        args = [tmp_path / f"{file}.yaml", "--data", tmp_path / "data", "-o", tmp_path / "x"]
        assert "set --pattern to '*/*.nii.gz'" in refused(command, *args)


@pytest.mark.slow
def test_train_takes_patterns(done: Command, tmp_path: Path) -> None:
    for k in range(2):
        _nifti(tmp_path / "data" / "p [1]" / f"x{k}.nii.gz", _disc(k))
    plan = {"steps": 1, "batch": 2}
    recipe = {
        "name": "tiny", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500, "size": 16,
        "data": ["ct/*.nii.gz"], "validation": ["val/*.nii.gz"], "licence": "CC0", "plan": plan,
        "sde": {"kind": "ve"}, "network": {"kind": "unet", "channels": [8, 8], "groups": 8},
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    own = ["--data", tmp_path / "data", "--pattern", "p [1]/x1*"]
    done("train", tmp_path / "r.yaml", "-o", tmp_path / "run", *own)
    provenance = read_checkpoint(tmp_path / "run" / "tiny.safetensors").contract.provenance
    assert (provenance.patients, provenance.data) == (1, "p [1]/x1*")


@pytest.mark.parametrize("name", ["pc-ct-23", "pc-ct-23.yaml", "configs/tune/pc-ct-23.yaml"])
def test_shipped_files_are_found_by_the_path_they_have_in_a_checkout(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no file matches" in refused("tune", name, "-o", tmp_path / "out")
    assert "no such configuration" in refused("tune", f"x/{name}/y.yaml", "-o", tmp_path / "out")
