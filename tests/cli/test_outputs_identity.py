"""No output or cache of any command names a folder, a patient, the user or the machine.

All inputs lie in a folder with a person's name, files are named after persons too, and the DICOM
file has the tags of a patient. Everything that the commands write is searched for these words: the
bytes of each file, what is compressed in it, and its name.
"""

import gzip
import io
import json
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
import yaml
from foreign import DDPM, MONAI_2D, NOISE_LEVEL, contract_file, monai_network
from safetensors.torch import save_file

from medscore.engine.loop import StepInfo
from medscore.errors import Interrupted
from medscore.generation import decode_codes, encode_images, generate
from medscore.likelihood import assess_images
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file

Done = Callable[..., Any]

FOLDER, STEM, HOST, USER = "Doe^John-1970", "jane_roe", "telltale-host-9041", "telltale-user-77"
TAGS = {
    "PatientName": "Zyxwvut^Distinctive", "PatientID": "Qponml-77", "PatientBirthDate": "19700317",
    "StudyDate": "20240229", "StudyTime": "123456.25", "StudyID": "study-8841",
    "AccessionNumber": "ACC-55217", "ReferringPhysicianName": "Referrer^Rita",
    "InstitutionName": "Hospital of Nowhere", "StudyDescription": "knee of a person",
    "SeriesDescription": "series for Zyxwvut", "OperatorsName": "Operator^Olga",
}  # fmt: skip
WORDS = (FOLDER, STEM, HOST, USER, "Doe", "John-1970", "jane", "private_archive", *TAGS.values())


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person, on a machine and for a user with telling names."""
    for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME"):
        monkeypatch.setenv(name, USER if name != "HOSTNAME" else HOST)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr("platform.node", lambda: HOST)
    monkeypatch.setattr("getpass.getuser", lambda: USER)
    folder = tmp_path / USER / FOLDER
    folder.mkdir(parents=True)
    monkeypatch.setenv("MEDSCORE_CACHE", str(tmp_path / "out" / "matrices"))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def dicom(person: Path, dicom_scan: Path) -> Path:
    """A DICOM file of a person."""
    ds = pydicom.dcmread(dicom_scan)
    for tag, value in TAGS.items():
        setattr(ds, tag, value)
    ds.save_as(person / f"{STEM}.dcm")
    return person / f"{STEM}.dcm"


def uids(dicom: Path) -> list[str]:
    """The UIDs of a file."""
    ds = pydicom.dcmread(dicom)
    found = [str(element.value) for element in ds if element.VR == "UI"]
    return [uid for uid in found if not pydicom.uid.UID(uid).is_private or len(uid) > 30]


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file's bytes and those of all that is compressed in it."""
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield from contents(f"{name}, decompressed", gzip.decompress(content))
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                yield from contents(f"{name}, {entry.filename}", archive.read(entry))
    start = content.find(b"\x89HDF\r\n\x1a\n")
    if start in (0, 512, 1024):
        with h5py.File(io.BytesIO(content)) as file:
            said: list[str] = []

            def note(path: str, item: Any) -> None:
                said.append(f"{path} {dict(item.attrs)}")
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "OSU":
                    said.append(str(item[()]))

            note("/", file)
            file.visititems(note)
            yield f"{name}, decompressed", "\n".join(said).encode()


def betrayed(folder: Path, *more: str) -> list[str]:
    """The places in all files below a folder where one of the words stands, or one of ``more``."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found += [f"the name {name}: {word}" for word in (*WORDS, *more) if word in name]
        if path.is_file():
            for place, content in contents(name, path.read_bytes()):
                for word in (*WORDS, *more):
                    texts = (word.encode(c) for c in ("utf-8", "utf-16-le", "utf-32-le"))
                    found += [f"{place}: {word}" for text in texts if text in content]
    return found


def interrupt(info: StepInfo) -> None:
    if info.done:
        raise KeyboardInterrupt


def stopped(call: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Call something that leaves its state behind when it is interrupted."""
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        call(*args, **options, on_step=interrupt)


def test_the_search_finds_the_words_in_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(STEM.encode()))
    np.savez_compressed(tmp_path / "b.npz", allow_pickle=False, x=np.array([STEM]))
    with h5py.File(tmp_path / "c.h5", "w", userblock_size=512) as file:
        file.create_dataset("x", data=[STEM] * 9, chunks=(9,), compression="gzip")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.attrs["x"] = STEM
    (tmp_path / STEM).mkdir()
    found = betrayed(tmp_path)
    assert {text.split(",")[0].split(":")[0] for text in found} == {
        "a.gz", "b.npz", "c.h5", "d.h5", f"the name {STEM}",
    }  # fmt: skip


@pytest.mark.slow
def test_reconstructions_name_no_one(
    done: Done, person: Path, scan: Path, prior: Path, dicom: Path, tmp_path: Path
) -> None:
    out, image = tmp_path / "out", person / f"{STEM}.nii.gz"
    shutil.copy(scan, image)
    own = shutil.copy(prior, person / f"{STEM}.safetensors")
    done("simulate", image, "-o", out / "m.h5", "--task", "sparse-ct", "--views", 24)
    done("simulate", dicom, "-o", out / "d.h5", "--task", "sparse-ct",
         "--views", 12, "--size", 32)  # fmt: skip
    done("inspect", dicom)
    moved = shutil.copy(out / "m.h5", person / f"{STEM}.h5")
    two = ("--samples", 2, "--steps", 3, "--hdf5", "--reference", image)
    done("recon", moved, "-o", out / "r", "--prior", own, *two)
    done("recon", out / "d.h5", "-o", out / "rd", "--baseline", "fbp")
    method = choose_method(str(own), steps=4)
    stopped(reconstruct_file, moved, out / "s", method)
    assert list(out.glob(".s*"))
    assert betrayed(out) == []
    settings = json.loads((out / "r" / "provenance.json").read_text())
    assert settings["settings"]["prior"] is None
    assert settings["prior"]["name"] == "tiny"
    assert len(settings["measurement_sha256"]) == len(settings["source_sha256"]) == 64


@pytest.mark.slow
def test_images_under_a_prior_name_no_one(
    done: Done, person: Path, scan: Path, prior: Path, grey_prior: Path, pictures: Path,
    dicom: Path, tmp_path: Path,
) -> None:  # fmt: skip
    out, image = tmp_path / "out", person / f"{STEM}.nii.gz"
    shutil.copy(scan, image)
    own = shutil.copy(prior, person / f"{STEM}.safetensors")
    grey = shutil.copy(grey_prior, person / f"{STEM}-grey.safetensors")
    (person / STEM).mkdir()
    pngs = [shutil.copy(pictures / f"{i}.png", person / STEM / f"{STEM}-{i}.png")
            for i in range(6)]  # fmt: skip
    np.savez(person / f"{STEM}.npz", hu=np.zeros((5, 32, 32)) + np.linspace(-1000, 900, 32),
             patient=["private_archive"] * 5, pixel_spacing_mm=[3.0] * 5)  # fmt: skip
    bound = ("--method", "bound", "--draws", 2)
    done(
        "likelihood", image, person / f"{STEM}.npz", dicom, "--prior", own, "-o", out / "l", *bound
    )
    done("denoise", image, "--prior", own, "-o", out / "n", "--noise-std", 100, "--probes", 1)
    tolerance = ("--tolerance", 1e-2)
    done("encode", *pngs[:2], "--prior", grey, "-o", out / "c.npz", *tolerance)
    codes = shutil.copy(out / "c.npz", person / f"{STEM}-codes.npz")
    done("decode", codes, "--prior", grey, "-o", out / "d", *tolerance)
    done("generate", "--prior", grey, "--known", pngs[0], "-n", 2, "--steps", 2, "-o", out / "k")
    done("generate", "--prior", grey, "-n", 5, "--steps", 2, "-o", out / "g")
    done("quality", out / "g", person / STEM, "--prior", grey, "--training", person / STEM,
         "-o", out / "q.json")  # fmt: skip
    for array in ("a", "b"):
        np.save(person / f"{STEM}-{array}.npy", np.random.default_rng(0).normal(size=(9, 4)))
    done("quality", person / f"{STEM}-a.npy", person / f"{STEM}-b.npy", "--features", "--training",
         person / f"{STEM}-a.npy", "-o", out / "f.json")  # fmt: skip
    stopped(generate, grey, steps=4, count=2, output=out / "sg")
    stopped(encode_images, pngs[:2], grey, tolerance=1e-2, output=out / "se.npz")
    stopped(decode_codes, codes, grey, tolerance=1e-2, output=out / "sd")
    stopped(assess_images, [image], own, method="bound", draws=2, output=out / "sl")
    assert len([path for path in out.iterdir() if path.name.startswith(".")]) >= 4
    assert betrayed(out, *uids(dicom)) == []


@pytest.mark.slow
@pytest.mark.process
def test_training_comparison_and_search_name_no_one(
    done: Done, person: Path, scan: Path, prior: Path, dicom: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copy(scan, person / f"{STEM}.nii.gz")
    own = shutil.copy(prior, person / f"{STEM}.safetensors")
    np.savez(person / f"{STEM}.npz", hu=np.zeros((5, 32, 32)) + np.linspace(-1000, 900, 32),
             patient=["private_archive"] * 5, pixel_spacing_mm=[3.0] * 5)  # fmt: skip
    data = ["*.nii.gz", f"{person}/*.npz", "*.dcm"]
    recipe = {
        "name": "tiny-trained", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
        "size": 32, "data": data, "licence": "CC0",
        "sde": {"kind": "ve", "sigma_min": 0.01, "sigma_max": 10.0},
        "network": {"kind": "unet", "channels": [8, 8], "blocks": 1, "fold": 2, "groups": 8},
        "plan": {"steps": 2, "batch": 2, "sample_every": 0, "save_every": 1, "log_every": 1},
    }  # fmt: skip
    sampling = {"prior": str(own), "samples": 2, "steps": 2, "precision": "float32"}
    comparison = {
        "name": "tiny", "title": "Tiny", "ours": "ours", "metric": {"convention": "ct"},
        "cohort": {"modality": "CT", "data": data, "size": 32, "limit": 4},
        "tasks": [{"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}}],
        "methods": [{"name": "FBP", "baseline": {"kind": "fbp"}},
                    {"name": "ours", "prior": sampling}], "pictures": 1,
    }  # fmt: skip
    search = {
        "name": "weight", "trials": 2, "score": "psnr",
        "cohort": {"modality": "CT", "data": data, "size": 32, "limit": 1},
        "task": {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}},
        "method": {"name": "TV", "baseline": {"kind": "fista-tv", "weight": 1, "iterations": 5}},
        "search": {"weight": {"low": 1e-5, "high": 1.0, "log": True}},
    }  # fmt: skip
    for name, content in (("r", recipe), ("e", comparison), ("t", search)):
        (person / f"{STEM}-{name}.yaml").write_text(yaml.safe_dump(content))
    its = [person / f"{STEM}-{name}.yaml" for name in "ret"]
    cache = ("--cache", out / "slices")
    done("train", its[0], "--data", person, "-o", out / "t", *cache)
    done("train", its[0], "--data", person, "-o", out / "t2", *cache)  # from the cache
    done("tune", its[2], "--data", person, "-o", out / "u")
    done("simulate", person / f"{STEM}.nii.gz", "-o", person / f"{STEM}.h5", "--task", "sparse-ct",
         "--views", 24)  # fmt: skip
    done("tune", its[2], "--measurement", person / f"{STEM}.h5", "-o", out / "v")
    evaluate = ("evaluate", its[1], "--data", person, "--processes", 1)
    done(*evaluate, "-o", out / "e")
    assert betrayed(out, *uids(dicom)) == []
    before = sorted((out / "e" / "cells").iterdir())
    done(*evaluate, "-o", out / "e", "--keep-identity")
    assert sorted((out / "e" / "cells").iterdir()) == before
    table = (out / "e" / "slices.csv").read_text()
    assert f",{STEM}.dcm#0," in table
    assert f"{STEM}.nii.gz#0,{STEM}" in table
    assert str(person.parent) not in table


@pytest.mark.slow
def test_imported_priors_name_no_one(done: Done, person: Path, tmp_path: Path) -> None:
    source, config = person / f"{STEM}.safetensors", person / f"{STEM}.json"
    save_file(monai_network(**MONAI_2D).state_dict(), source)
    needed = {name: MONAI_2D[name] for name in ("num_head_channels", "norm_num_groups")}
    config.write_text(json.dumps(needed))
    contract = contract_file(person / f"{STEM}.yaml", sde=DDPM, prediction=NOISE_LEVEL)
    out = tmp_path / "out" / "p.safetensors"
    done("priors", "import", source, "--config", config, "-o", out, "--contract", contract)
    assert betrayed(out.parent) == []


@pytest.mark.slow
def test_names_are_stated_on_request_and_without_their_folders(
    done: Done, person: Path, grey_prior: Path, pictures: Path, tmp_path: Path
) -> None:
    out, keep = tmp_path / "out", "--keep-identity"
    image = shutil.copy(pictures / "0.png", person / f"{STEM}.png")
    prior = ("--prior", grey_prior)
    done("encode", image, *prior, "-o", out / "c.npz", "--tolerance", 1e-2, keep)
    with np.load(out / "c.npz", allow_pickle=False) as archive:
        assert list(archive["name"]) == [f"{STEM}.png#0"]
    codes = shutil.copy(out / "c.npz", person / f"{STEM}.npz")
    done("decode", codes, *prior, "-o", out / "d", "--tolerance", 1e-2, keep)
    assert json.loads((out / "d" / "provenance.json").read_text())["codes"]["file"] == codes.name
    done("generate", *prior, "--known", image, "-n", 1, "--steps", 2, "-o", out / "k", keep)
    said = json.loads((out / "k" / "provenance.json").read_text())
    assert said["known"]["files"] == [f"{STEM}.png#0"]
    assert {word for text in betrayed(out) for word in (text.rpartition(": ")[2],)} == {
        STEM, "jane",
    }  # fmt: skip
