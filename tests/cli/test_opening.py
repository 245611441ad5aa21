"""Named pipes and loops of links are refused at once, given as any input of any command."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from foreign import contract_file

SECONDS = 20
"""A command that is not done by then has hung."""

GEOMETRY = {"beam": "parallel", "size": 16, "spacing": 1, "views": 8, "detector_spacing": 1}

INPUTS: dict[str, tuple[str, ...]] = {
    "inspect hdf5": ("inspect", "BAD.h5"),
    "inspect npy": ("inspect", "BAD.npy"),
    "inspect dicom": ("inspect", "BAD.dcm"),
    "inspect nifti": ("inspect", "BAD.nii.gz"),
    "simulate image": ("simulate", "BAD.nii", "-o", "OUT.h5"),
    "measure k-space": ("measure", "BAD.h5", "-o", "OUT.h5"),
    "measure npy": ("measure", "BAD.npy", "--spacing", "1", "-o", "OUT.h5"),
    "measure tiff": ("measure", "BAD.tif", "--geometry", "GEOMETRY", "-o", "OUT.h5"),
    "measure stack": ("measure", "BAD.h5", "--geometry", "GEOMETRY", "-o", "OUT.h5"),
    "measure geometry": ("measure", "STACK", "--geometry", "BAD.yaml", "-o", "OUT.h5"),
    "recon measurement": ("recon", "BAD.h5", "-o", "OUT"),
    "recon prior": ("recon", "MEASUREMENT", "--prior", "BAD.safetensors", "-o", "OUT"),
    "recon preset": ("recon", "MEASUREMENT", "--preset", "BAD.yaml", "-o", "OUT"),
    "recon reference": (
        "recon", "MEASUREMENT", "--prior", "PRIOR", "--reference", "BAD.nii.gz", "-o", "OUT",
    ),
    "train recipe": ("train", "BAD.yaml", "--data", ".", "-o", "OUT"),
    "train data": ("train", "RECIPE", "--data", "FOLDER", "-o", "OUT"),
    "evaluate config": ("evaluate", "BAD.yaml", "-o", "OUT"),
    "tune config": ("tune", "BAD.yaml", "-o", "OUT"),
    "tune measurement": ("tune", "pc-ct-23", "--measurement", "BAD.h5", "--score", "held-out",
                         "-o", "OUT"),
    "likelihood picture": ("likelihood", "BAD.png", "--prior", "GREY", "-o", "OUT"),
    "likelihood slices": ("likelihood", "BAD.npz", "--prior", "PRIOR", "-o", "OUT"),
    "likelihood nifti": ("likelihood", "BAD.nii.gz", "--prior", "PRIOR", "-o", "OUT"),
    "likelihood hdf5": ("likelihood", "BAD.h5", "--prior", "PRIOR", "-o", "OUT"),
    "likelihood folder": ("likelihood", "FOLDER", "--prior", "GREY", "-o", "OUT"),
    "likelihood prior": ("likelihood", "IMAGE", "--prior", "BAD.safetensors", "-o", "OUT"),
    "likelihood dequantizer": (
        "likelihood", "IMAGE", "--prior", "PRIOR", "--dequantizer", "BAD.safetensors", "-o", "OUT",
    ),
    "generate prior": ("generate", "--prior", "BAD.safetensors", "-o", "OUT"),
    "generate classifier": (
        "generate", "--prior", "PRIOR", "--classifier", "BAD.safetensors", "--label", "0",
        "-o", "OUT",
    ),
    "generate known": ("generate", "--prior", "GREY", "--known", "BAD.png", "-o", "OUT"),
    "generate mask": (
        "generate", "--prior", "GREY", "--known", "PICTURE", "--mask", "BAD.png", "-o", "OUT",
    ),
    "encode image": ("encode", "BAD.npz", "--prior", "PRIOR", "-o", "OUT.npz"),
    "decode codes": ("decode", "BAD.npz", "--prior", "PRIOR", "-o", "OUT"),
    "quality samples": ("quality", "BAD.png", "PICTURE", "--prior", "GREY"),
    "quality real": ("quality", "PICTURES", "BAD.jpg", "--prior", "GREY"),
    "quality features": ("quality", "FEATURES", "BAD.npy", "--features"),
    "quality training": ("quality", "PICTURES", "PICTURES", "--training", "BAD.png",
                         "--prior", "GREY"),
    "import weights": ("priors", "import", "BAD.pth", "--contract", "CONTRACT",
                       "-o", "OUT.safetensors"),
    "import contract": ("priors", "import", "FEATURES", "--contract", "BAD.yaml",
                        "-o", "OUT.safetensors"),
    "info": ("priors", "info", "BAD.safetensors"),
    "verify": ("priors", "verify", "BAD.safetensors"),
}  # fmt: skip
"""Arguments of commands; BAD.x is what cannot be opened, FOLDER holds a file that cannot."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


KINDS: dict[str, Callable[[Path], None]] = {"a named pipe": _pipe, "a loop": _loop}


@pytest.fixture
def in_time() -> Iterator[None]:
    """End the test if it hangs."""

    def stop(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def sound(
    shared: Path, scan: Path, measurement: Path, prior: Path, grey_prior: Path, pictures: Path
) -> dict[str, str]:
    """Paths of sound files by their names in ``INPUTS``."""
    folder = shared / "sound"
    folder.mkdir()
    geometry, recipe = folder / "geometry.yaml", folder / "recipe.yaml"
    geometry.write_text(yaml.safe_dump(GEOMETRY))
    recipe.write_text(
        "name: x\nlicence: CC0\nmodality: CT\nquantity: HU\nlow: -1000\nhigh: 1500\nsize: 32\n"
        "data: ['*.nii.gz']\nsde: {kind: ve, sigma_min: 0.01, sigma_max: 20}\n"
        "network: {kind: unet, channels: [8, 8], groups: 8}\n"
        "plan: {steps: 1, batch: 1}\n"
    )
    tifffile.imwrite(folder / "stack.tif", np.ones((1, 8, 16), np.float32))
    np.save(folder / "features.npy", np.ones((9, 2), np.float32))
    return {
        "GEOMETRY": str(geometry), "RECIPE": str(recipe), "STACK": str(folder / "stack.tif"),
        "CONTRACT": str(contract_file(folder / "contract.yaml")),
        "FEATURES": str(folder / "features.npy"), "MEASUREMENT": str(measurement),
        "PRIOR": str(prior), "GREY": str(grey_prior), "IMAGE": str(scan),
        "PICTURES": str(pictures), "PICTURE": str(pictures / "0.png"),
    }  # fmt: skip


def _arguments(template: tuple[str, ...], tmp_path: Path, sound: dict[str, str]) -> list[str]:
    found = []
    for word in template:
        before, equals, last = word.rpartition("=")
        if last.startswith(("BAD.", "OUT")) or last == "FOLDER":
            last = str(tmp_path / last)
        found.append(before + equals + sound.get(last, last))
    return found


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", INPUTS)
def test_only_regular_files_are_opened(
    name: str, kind: str, refused: Callable[..., str], tmp_path: Path, sound: dict[str, str]
) -> None:
    template = INPUTS[name]
    (tmp_path / "FOLDER").mkdir()
    bad = next((w.rpartition("=")[2] for w in template if "BAD." in w), "")
    KINDS[kind](tmp_path / bad if bad else tmp_path / "FOLDER" / "x.nii.gz")
    if "FOLDER" in template:
        KINDS[kind](tmp_path / "FOLDER" / "x.png")
    said = refused(*_arguments(template, tmp_path, sound))
    assert any(word in said for word in (kind, "no image", "no file", "no DICOM"))
