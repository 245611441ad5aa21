"""The public interface of each package: lazy, complete, and not shadowed by a module."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

import medscore

ROOT = Path(__file__).resolve().parent.parent
FACES = sorted(
    ".".join(("medscore", *parts[parts[0] == "medscore" :]))
    for path in ROOT.glob("*/**/__init__.pyi")
    if (parts := path.parent.relative_to(ROOT).parts)[0] in ("medscore", "operators", "datasets")
)
OPTIONAL = ("triton_kernels",)


def test_all_packages_that_users_import_from_have_a_face() -> None:
    wanted = {
        "conditioners", "datasets", "engine", "evaluation", "generation", "likelihood",
        "measurements", "metrics", "nets", "objectives", "operators", "priors", "reconstruction",
        "samplers", "sdes", "training", "tuning",
    }  # fmt: skip
    assert {f"medscore.{name}" for name in wanted} | {"medscore"} <= set(FACES)


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_is_there_whatever_was_imported_before(face: str) -> None:
    package = importlib.import_module(face)
    for info in pkgutil.iter_modules(package.__path__, f"{face}."):
        if not info.name.endswith(OPTIONAL) and info.name != "medscore.__main__":
            importlib.import_module(info.name)
    assert package.__all__
    for name in package.__all__:
        assert not isinstance(getattr(package, name), ModuleType), name
        assert name in dir(package)


def test_the_front_door_is_as_documented() -> None:
    promised = {
        "load_image", "simulate", "read_measurement", "write_measurement", "load_prior",
        "list_priors", "reconstruct", "sample", "quality", "save", "encode", "decode",
        "log_likelihood", "train", "Volume", "Measurement", "Reconstruction", "Prior",
        "NetworkPrior", "ImageDomain", "Operator", "LinearOperator", "Sampler", "Conditioner",
        "fetch_prior",
    }  # fmt: skip
    assert promised <= set(medscore.__all__)
    with pytest.raises(AttributeError, match="recon"):
        medscore.recon  # type: ignore[attr-defined] # noqa: B018


def test_the_faces_of_methods_are_as_the_script_writes_them() -> None:
    faces = script("faces")
    for package in faces.PACKAGES:
        assert (ROOT / package / "__init__.pyi").read_text() == faces.stub(package), (
            "run python benchmarks/faces.py"
        )


@pytest.mark.process
def test_importing_packages_loads_no_torch() -> None:
    code = (
        f"import sys, {', '.join(FACES)}\n"
        "heavy = {'torch', 'monai', 'scipy', 'skimage', 'h5py', 'pydicom', 'nibabel'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
