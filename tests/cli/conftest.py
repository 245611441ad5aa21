"""Fixtures: the command line in-process, tiny CT and MR volumes, and tiny untrained priors."""

import contextlib
import io
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from image_fixtures import write_slice
from PIL import Image

from medscore.cli import main
from medscore.cli.progress import sampling_bar
from medscore.engine.loop import StepInfo
from medscore.nets.unet import UNetSpec
from medscore.priors.checkpoint import build_prior, save_prior
from medscore.priors.contract import DataContract, Provenance, VESpec


@dataclass(frozen=True)
class Result:
    """The exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]

__all__ = ["write_slice"]


def _call(*args: object) -> Result:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medscore", *map(str, args)])
        patch.setattr("medscore.cli.progress.FIRST", float("inf"))  # slow machines show no more
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


PC = ("--sampler", "pc", "--conditioner", "proximal", "--grid", "uniform")
"""Two evaluations per step, each with new random draws."""


@pytest.fixture(scope="session")
def medscore() -> Command:
    """Call the command line with given arguments."""
    return _call


@pytest.fixture(scope="session")
def done() -> Command:
    """Call the command line and check that it succeeds."""

    def call(*args: object) -> Result:
        result = _call(*args)
        assert result.code == 0, result.err
        return result

    return call


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Call the command line and check that it fails with one line and leaves no files."""

    def call(*args: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        result = _call(*args)
        assert result.code == 2, result
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert " - " in result.err
        assert sorted(tmp_path.rglob("*")) == before
        return result.err

    return call


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shared files, which no test modifies."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def scan(shared: Path) -> Path:
    """Two 32 x 32 slices with 3 mm pixels: a water disc that contains bone and air."""
    y, x = np.mgrid[-15.5:16, -15.5:16]
    hu = np.where(np.hypot(x, y) < 13, 0.0, -1000.0)
    hu[np.hypot(x - 5, y + 2) < 3] = 800
    hu[np.hypot(x + 6, y - 1) < 3] = -700
    volume = np.stack([hu, np.where(np.hypot(x, y - 4) < 3, 300, hu)]).astype(np.float32)
    affine = np.diag([-3.0, -3.0, 5.0, 1.0])
    affine[:3, 3] = 46.5, 40, -30
    nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0), affine), shared / "scan.nii.gz")
    return shared / "scan.nii.gz"


@pytest.fixture(scope="session")
def mr_scan(shared: Path) -> Path:
    """Two 32 x 32 magnitude slices with values up to 900 and 3 mm pixels."""
    y, x = np.mgrid[-15.5:16, -15.5:16]
    head = 600.0 * (np.hypot(x, y) < 13) + 300 * (np.hypot(x - 5, y + 2) < 4)
    volume = np.stack([head, head * (np.hypot(x + 6, y - 1) > 3)]).astype(np.float32)
    affine = np.diag([-3.0, -3.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0), affine), shared / "mr.nii.gz")
    return shared / "mr.nii.gz"


@pytest.fixture(scope="session")
def mr_prior(shared: Path, make_prior: Callable[..., Path]) -> Path:
    """A prior that fits ``mr_scan``."""
    magnitude = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0}
    return make_prior(shared / "tiny-mr.safetensors", **magnitude)


@pytest.fixture(scope="session")
def dicom_scan() -> Path:
    """A 128 x 128 head CT slice that ships with pydicom."""
    return Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


@pytest.fixture(scope="session")
def make_prior() -> Callable[..., Path]:
    """Write an untrained prior; keyword arguments change its contract."""

    def make(path: Path, **changes: Any) -> Path:
        contract = DataContract(
            **{
                "name": "tiny", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
                "size": 32, "spacing_mm": (1.0, 6.0), "data_mean": 0.3, "data_std": 0.3,
                "sde": VESpec(sigma_min=0.01, sigma_max=20.0),
                "network": UNetSpec(channels=(16, 16), fold=2, groups=8),
                "provenance": Provenance(
                    data="none", patients=1, slices=1, steps=0, seed=0, licence="CC0"
                ),
            } | changes
        )  # fmt: skip
        torch.manual_seed(0)
        save_prior(path, contract, build_prior(contract).network.state_dict())
        return path

    return make


@pytest.fixture(scope="session")
def prior(shared: Path, make_prior: Callable[..., Path]) -> Path:
    """A prior that fits ``scan``."""
    return make_prior(shared / "tiny.safetensors")


@pytest.fixture(scope="session")
def grey_prior(shared: Path, make_prior: Callable[..., Path]) -> Path:
    """A prior of 8 x 8 grayscale images with values from 0 to 16."""
    return make_prior(shared / "tiny-grey.safetensors", **_pictures("grey"), high=16)


@pytest.fixture(scope="session")
def colour_prior(shared: Path, make_prior: Callable[..., Path]) -> Path:
    """A prior of 8 x 8 colour images."""
    return make_prior(shared / "tiny-colour.safetensors", **_pictures("colour"), high=1)


def _pictures(quantity: str) -> dict[str, Any]:
    channels = 3 if quantity == "colour" else 1
    network = UNetSpec(channels=(8, 8), blocks=1, fold=1, groups=8, image_channels=channels)
    return {
        "name": f"tiny-{quantity}", "modality": "picture", "quantity": quantity, "low": 0,
        "size": 8, "network": network,
    }  # fmt: skip


@pytest.fixture(scope="session")
def pictures(shared: Path) -> Path:
    """A folder of six 8 x 8 colour images."""
    folder = shared / "pictures"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(values):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def measurement(done: Command, scan: Path, shared: Path) -> Path:
    """Noise-free views of ``scan``, enough to determine the image."""
    done("simulate", scan, "--views", 45, "-o", shared / "meas.h5")
    return shared / "meas.h5"


@pytest.fixture(scope="session")
def noisy(done: Command, scan: Path, shared: Path) -> Path:
    """Nine noisy views of ``scan``, which are reconstructed without a final exact step."""
    done("simulate", scan, "--views", 9, "--noise", "gaussian:0.02", "-o", shared / "noisy.h5")
    return shared / "noisy.h5"


@pytest.fixture(scope="session")
def exact_args(measurement: Path, prior: Path) -> list[object]:
    """A reconstruction of noise-free data in eight steps; later options override."""
    return ["recon", measurement, "--prior", prior, *PC, "--steps", 8, "--device", "cpu"]


@pytest.fixture(scope="session")
def recon_args(noisy: Path, prior: Path) -> list[object]:
    """A reconstruction of noisy data in eight steps; later options override."""
    return ["recon", noisy, "--prior", prior, *PC, "--steps", 8, "--device", "cpu"]


@pytest.fixture(scope="session")
def exact(done: Command, exact_args: list[object], shared: Path) -> Path:
    """The folder written from noise-free data."""
    done(*exact_args, "-o", shared / "exact")
    return shared / "exact"


@pytest.fixture(scope="session")
def reconstructed(done: Command, recon_args: list[object], shared: Path) -> Path:
    """The folder written from noisy data."""
    done(*recon_args, "-o", shared / "recon")
    return shared / "recon"


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Send Ctrl-C, or another signal, after a number of sampling steps."""

    def after(steps: int, kind: signal.Signals | None = None) -> None:
        @contextlib.contextmanager
        def bar(title: str) -> Iterator[Callable[[StepInfo], None]]:
            with sampling_bar(title) as real:
                yield lambda info: show(info, real)

        def show(info: StepInfo, real: Callable[[StepInfo], None]) -> None:
            real(info)
            if info.done == steps:
                if kind is None:
                    raise KeyboardInterrupt
                signal.raise_signal(kind)

        monkeypatch.setattr("medscore.cli.recon.sampling_bar", bar)

    return after
