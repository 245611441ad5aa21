"""Invalid input gives exit code 2, one line with fault, place and hint, and no files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from editing import editing
from safetensors.numpy import save_file

from medscore.errors import MedscoreError

Refused = Callable[..., str]
MakePrior = Callable[..., Path]
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
BUNDLED = {
    "MR_small.dcm": "modality is MR",
    "SC_rgb_jpeg.dcm": "colour",
    "rtdose.dcm": "multi-frame",
    "MR_truncated.dcm": "truncated",
    "rtplan.dcm": "no image",
    "README.txt": "not an image",
}
VOLUMES: dict[str, tuple[np.ndarray, str]] = {
    "nan": (np.where(np.eye(16)[..., None] > 0, np.nan, -1000.0), "NaN"),
    "constant": (np.full((16, 16, 2), -1000.0), "constant"),
    "padding": (np.random.default_rng(0).uniform(-3000, -1001, (16, 16, 2)), "constant"),
    "huge": (np.linspace(-1000, 1e30, 512).reshape(16, 16, 2), "reach"),
    "magnitude": (np.random.default_rng(0).uniform(0, 900, (16, 16, 2)), "Hounsfield"),
    "4-d": (np.random.default_rng(0).uniform(-1000, 900, (16, 16, 2, 2)), "3-D volume"),
}
UNWRITABLE = ["exists", "file/inside"]


@pytest.mark.parametrize(("name", "why"), BUNDLED.items())
def test_simulate_refuses(refused: Refused, tmp_path: Path, name: str, why: str) -> None:
    message = refused("simulate", TEST_FILES / name, "-o", tmp_path / "m.h5")
    assert why in message
    assert name in message


@pytest.mark.parametrize("name", VOLUMES)
def test_simulate_refuses_a_volume_that_is(refused: Refused, tmp_path: Path, name: str) -> None:
    values, why = VOLUMES[name]
    path = tmp_path / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([-2.0, -2, 3, 1])), path)
    message = refused("simulate", path, "-o", tmp_path / "m.h5")
    assert why in message
    assert path.name in message


@pytest.mark.parametrize("name", ["missing.nii.gz", "empty", "x" * 300])
def test_simulate_refuses_a_path(refused: Refused, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    assert name in refused("simulate", tmp_path / name, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize("kept", [200, 2000, 30000])
def test_simulate_refuses_a_truncated_dicom(refused: Refused, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes((TEST_FILES / "CT_small.dcm").read_bytes()[:kept])
    assert str(path) in refused("simulate", path, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--task", "sudoku"),
        ("--views", 0),
        ("--views", 10**6),
        ("--size", 4),
        ("--size", 64),
        ("--slices", "1:9"),
        ("--slices", "1:1"),
        ("--slices", "all"),
        ("--seed", -1),
        ("--seed", 10**18),
        ("--noise", "loud"),
        ("--noise", "gaussian"),
        ("--noise", "gaussian:-1"),
        ("--noise", "gaussian:nan"),
        ("--noise", "gaussian:1e20"),
        ("--noise", "gaussian:1e300"),
        ("--noise", "poisson:inf"),
        ("--noise", "poisson:1e5,x"),
        ("--noise", "poisson:1e5,-3"),
        ("--finer", 0),
        ("--finer", 9),
        ("--spectrum", 5),
        ("--spectrum", 151),
    ],
)
def test_simulate_refuses_an_option(
    refused: Refused, scan: Path, tmp_path: Path, option: str, value: object
) -> None:
    message = refused("simulate", scan, f"{option}={value}", "-o", tmp_path / "m.h5")
    assert str(value) in message
    assert option in message or option == "--task"


@pytest.mark.parametrize("name", [*UNWRITABLE, "missing/m.h5"])
def test_simulate_refuses_an_output(
    refused: Refused, scan: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "exists").write_text("here before")
    (tmp_path / "file").write_text("not a folder")
    assert str(tmp_path / name) in refused("simulate", scan, "-o", tmp_path / name)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sampler", "guess"),
        ("--sampler", "ode"),
        ("--grid", "guess"),
        ("--conditioner", "hope"),
        ("--steps", 0),
        ("--samples", 0),
        ("--lam", 2),
        ("--lam", "nan"),
        ("--snr", 0),
        ("--seed", -1),
        ("--batch-size", 0),
        ("--precision", "int8"),
        ("--device", "abacus"),
        ("--device", "meta"),
        ("--device", "hpu"),
        ("--prior", "none-such"),
        ("--reference", "/no/such/image.nii"),
    ],
)
def test_recon_refuses_an_option(
    refused: Refused, recon_args: list[object], tmp_path: Path, option: str, value: object
) -> None:
    message = refused(*recon_args, f"{option}={value}", "-o", tmp_path / "out")
    assert str(value) in message


@pytest.mark.parametrize("name", UNWRITABLE)
def test_recon_refuses_an_output(
    refused: Refused, recon_args: list[object], tmp_path: Path, name: str
) -> None:
    (tmp_path / "exists").mkdir()
    (tmp_path / "file").write_text("not a folder")
    assert str(tmp_path / name) in refused(*recon_args, "-o", tmp_path / name)


def test_recon_refuses_an_output_below_thousands_of_folders(
    refused: Refused, recon_args: list[object], tmp_path: Path
) -> None:
    why = refused(*recon_args, "-o", tmp_path.joinpath(*["x"] * 1900))
    assert "too many levels" in why


def test_recon_refuses_a_link_to_nowhere_as_output(
    refused: Refused, recon_args: list[object], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "exists already" in refused(*recon_args, "-o", tmp_path / "link")


def test_a_run_that_fails_takes_the_folders_it_made_with_it(
    refused: Refused, recon_args: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*args: object) -> None:
        raise MedscoreError("sample 0 diverged", hint="use more --steps")

    monkeypatch.setattr("medscore.reconstruction.sampling.sample_posterior", diverge)
    refused(*recon_args, "-o", tmp_path / "new" / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"modality": "MR"}, "modality is CT"),
        ({"quantity": "mu"}, "quantity is HU"),
    ],
)
def test_recon_refuses_a_prior_for_other_images(
    refused: Refused,
    recon_args: list[object],
    make_prior: MakePrior,
    tmp_path: Path,
    changes: dict[str, Any],
    why: str,
) -> None:
    path = make_prior(tmp_path / "other.safetensors", **changes)
    message = refused(*recon_args, "--prior", path, "-o", tmp_path / "out")
    assert why in message
    assert str(path) in message


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"size": 64}, {"spacing_mm": (0.5, 1.0)}])
def test_recon_fits_a_prior_of_another_grid_and_says_so(
    done: Callable[..., Any],
    noisy: Path,
    make_prior: MakePrior,
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    path = make_prior(tmp_path / "other.safetensors", **changes)
    words = "recon", noisy, "--prior", path, "--steps", 8, "--device", "cpu"
    said = done(*words, "-o", tmp_path / "out").err
    assert "the result is put back" in " ".join(said.split())
    assert nib.load(tmp_path / "out" / "recon.nii.gz").shape == (32, 32, 2)
    own = done(*words, "--allow-mismatch", "-o", tmp_path / "own").err
    assert "used outside its domain" in " ".join(own.split())


@pytest.mark.parametrize("name", ["foreign.safetensors", "pickled.pt", "text.safetensors"])
def test_recon_refuses_a_prior_file(
    refused: Refused, recon_args: list[object], tmp_path: Path, name: str
) -> None:
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors")
    torch.save({"w": torch.zeros(3)}, tmp_path / "pickled.pt")
    (tmp_path / "text.safetensors").write_text("not a prior")
    assert name in refused(*recon_args, "--prior", tmp_path / name, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("image_unit", "1/cm", "image_unit is '1/cm'"),
        ("image_unit", None, "image_unit"),
        ("modality", "MR", "of modality 'MR'"),
        ("operator@kind", "fan-beam", "'fan-beam'"),
        ("operator/geometry@views", 184, "mask"),
        ("operator/geometry@size", 0, "cannot be read"),
        ("data", None, "data"),
        ("operator/mask", None, "mask"),
    ],
)
def test_recon_refuses_a_measurement_with(
    refused: Refused,
    noisy: Path,
    recon_args: list[object],
    tmp_path: Path,
    field: str,
    value: object,
    why: str,
) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(noisy.read_bytes())
    group, _, attribute = field.rpartition("@")
    with editing(path) as file:
        if attribute in file:
            del file[attribute]
        elif value is None:
            del file.attrs[attribute]
        else:
            file[group or "/"].attrs[attribute] = value
    message = refused("recon", path, *recon_args[2:], "-o", tmp_path / "out")
    assert why in message
    assert str(path) in message


@pytest.mark.parametrize("name", ["missing.h5", "text.h5", "folder"])
def test_recon_refuses_what_is_not_a_measurement(
    refused: Refused, recon_args: list[object], tmp_path: Path, name: str
) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "folder").mkdir()
    message = refused("recon", tmp_path / name, *recon_args[2:], "-o", tmp_path / "out")
    assert name in message


@pytest.mark.parametrize("name", ["a [red]b[/red]", ":warning:", "[/]"])
def test_a_file_name_is_printed_as_it_is(refused: Refused, tmp_path: Path, name: str) -> None:
    assert name in refused("simulate", tmp_path / name, "-o", tmp_path / "m.h5")


@pytest.mark.parametrize("option", ["--steps=0", "--samples=0", "--views=0", "--seed=-1"])
def test_demo_refuses_an_option(refused: Refused, tmp_path: Path, option: str) -> None:
    assert option.partition("=")[0] in refused("demo", option, "-o", tmp_path / "demo")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["recon"], "Missing argument 'MEASUREMENT...' - see `medscore recon --help`"),
        (["priors", "nope"], "No such command 'nope' - see `medscore priors --help`"),
        (["inspect", "--nope", 1], "No such option: --nope"),
        (["recon", "m.h5", "-o", "out", "--steps", "a\nb"], "Invalid value for '--steps'"),
        (["recon", "m.h5", "-o"], "Option '-o' requires an argument - see"),
    ],
)
def test_a_wrong_command_line_is_refused_with_one_line(
    medscore: Callable[..., Any], words: list[object], says: str
) -> None:
    result = medscore(*words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"error: {says}")


@pytest.mark.parametrize("words", [[], ["priors"]])
def test_a_command_without_words_prints_its_help_once(
    medscore: Callable[..., Any], words: list[object]
) -> None:
    result = medscore(*words)
    assert (result.code, (result.out + result.err).count("Usage:")) == (2, 1)
