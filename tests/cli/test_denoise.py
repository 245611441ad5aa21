"""``medscore denoise``: mean, standard deviation and eigenvectors of images with noise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from local_networks import COMPLEX, write_prior
from numpy.typing import NDArray
from shapes import unchecked_shapes
from torch import Tensor, nn

import medscore as ms
from medscore.datasets.volume import Source, Volume, centred_affine
from medscore.priors import denoiser, ratio
from medscore.priors.checkpoint import load_prior
from medscore.reconstruction import denoise_file
from medscore.reconstruction.noise_level import estimated
from medscore.sdes.linear import VE

Command = Callable[..., Any]
FAST = ("--probes", 2, "--eigenvectors", 2, "--device", "cpu")


def read(folder: Path, name: str) -> NDArray[np.float64]:
    """Values (column, row, slice, ...) of a NIfTI file."""
    return np.asarray(nib.load(folder / f"{name}.nii.gz").get_fdata())  # type: ignore[attr-defined]


def record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "provenance.json").read_text()))


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def volume(values: NDArray[np.float32], modality: str = "CT", mm: float = 3.0) -> Volume:
    affine = centred_affine(*values.shape[1:], (mm, mm, 5.0))
    return Volume(values, affine, modality, Source("array", "0" * 64))


@pytest.fixture(scope="module")
def written(
    done: Command, scan: Path, prior: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("denoised") / "out"
    done("denoise", scan, "--prior", prior, "--noise-std", 300, "-o", folder, *FAST)
    return folder


def test_the_files_have_the_geometry_of_the_image(written: Path, scan: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == [
        "denoised.png", "eigenvalues.json", "eigenvectors.nii.gz", "mean.nii.gz",
        "provenance.json", "std.nii.gz",
    ]  # fmt: skip
    source: Any = nib.load(scan)  # type: ignore[attr-defined]
    for name in ("mean", "std", "eigenvectors"):
        found: Any = nib.load(written / f"{name}.nii.gz")  # type: ignore[attr-defined]
        np.testing.assert_allclose(found.affine, source.affine, atol=1e-4)
        assert found.shape == (32, 32, 2) + ((2,) if name == "eigenvectors" else ())
    assert float(read(written, "std").min()) >= 0
    told = json.loads((written / "eigenvalues.json").read_text())
    assert told["unit"] == "HU^2"
    assert all(0 < row[1] <= row[0] for row in told["slices"])
    lengths = np.square(read(written, "eigenvectors")).sum((0, 1))
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_the_provenance_states_noise_prior_and_source(written: Path, prior: Path) -> None:
    said = record(written)
    assert said["settings"]["noise_std"] == said["noise_std_on_the_grid"] == 300
    assert (said["noise"], said["unit"]) == ("given", "HU")
    assert said["sigma"] == {"min": 300 / 2500, "max": 300 / 2500}
    assert said["prior"] == {"name": "tiny", "sha256": load_prior(prior).sha256}
    assert len(said["source_sha256"]) == 64


def test_the_mean_is_the_priors_at_the_level_of_the_noise(
    written: Path, scan: Path, prior: Path
) -> None:
    own, image = load_prior(prior), ms.load_image(scan)
    t = own.sde.time(torch.full((2,), 300 / 2500))
    x = torch.from_numpy((image.values + 1000) / 2500)[:, None]
    with torch.no_grad():
        exact = own.denoise(own.sde.alpha(t)[:, None, None, None] * x, t)[:, 0] * 2500 - 1000
    found = np.moveaxis(read(written, "mean"), -1, 0)
    again = ms.denoise(scan, prior, noise_std=300.0, probes=1, eigenvectors=0)
    np.testing.assert_allclose(again.mean, exact.numpy(), atol=0.1)
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(again.mean.ravel()), atol=1e-3)


class White(nn.Module):
    """The denoiser of white Gaussian data N(0.4, 0.2^2); its condition is sigma / alpha."""

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        gain = 0.04 / (0.04 + c**2)
        return 0.4 + gain[:, None, None, None] * (u - 0.4)


def white(**fields: Any) -> ms.NetworkPrior:
    ct = {"modality": "CT", "quantity": "HU", "low": -1000, "high": 1000}
    domain = ms.ImageDomain(**{**ct, **fields})
    return ms.NetworkPrior(
        White(), VE(0.01, 20.0), domain, preconditioning=denoiser, condition=ratio
    )


@pytest.mark.parametrize("std", [60.0, 400.0])
def test_white_gaussian_data_have_the_exact_posterior_in_hu(std: float) -> None:
    """Prior N(-200, 400^2) HU: gain w = 400^2 / (400^2 + S^2), variance w S^2 in all directions."""
    y = volume(-200 + 500 * noise(2, 12, 10))
    found = ms.denoise(y, white(), noise_std=std, probes=1, eigenvectors=1)
    w = 400**2 / (400**2 + std**2)
    np.testing.assert_allclose(found.mean, -200 + w * (y.values + 200), rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(found.std, w**0.5 * std, rtol=1e-4)
    np.testing.assert_allclose(found.eigenvalues, w * std**2, rtol=1e-4)


def test_magnitudes_have_a_unit_of_any_size() -> None:
    """Ten times the magnitudes and noise give ten times the mean and the deviation."""
    y = np.abs(300 + 100 * noise(1, 12, 10))
    prior = white(modality="MR", quantity="magnitude", low=0, high=1)
    one, ten = (
        ms.denoise(volume(k * y, "MR"), prior, noise_std=20.0 * k, probes=1, eigenvectors=1)
        for k in (1, 10)
    )
    np.testing.assert_allclose(ten.mean, 10 * one.mean, rtol=1e-4)
    np.testing.assert_allclose(ten.std, 10 * one.std, rtol=1e-4)
    np.testing.assert_allclose(ten.eigenvalues, 100 * one.eigenvalues, rtol=1e-4)
    np.testing.assert_allclose(ten.eigenvectors, one.eigenvectors, atol=1e-4)


def test_an_image_of_finer_pixels_is_reduced_and_so_is_its_noise(prior: Path) -> None:
    """64 x 64 pixels of 1.5 mm on a prior's 32 x 32: the mean of four has half the noise."""
    y = volume(200 * noise(1, 64, 64), mm=1.5)
    found = ms.denoise(y, prior, noise_std=200.0, probes=1, eigenvectors=0)
    assert found.mean.shape == found.std.shape == (1, 32, 32)
    assert found.eigenvectors.shape == (1, 0, 32, 32)
    assert found.noise_std == pytest.approx(100, rel=1e-6)
    assert float(found.noisy.values.std()) == pytest.approx(100, rel=0.1)
    assert found.noisy.spacing[:2] == pytest.approx((3.0, 3.0))
    assert "64 x 64 pixels of 1.5 mm are fitted to those of prior tiny" in found.notes[0]
    assert found.record["settings"]["noise_std"] == 200
    with pytest.raises(ms.MedscoreError, match="is 20, prior tiny knows 50 to 1e"):
        ms.denoise(y, prior, noise_std=20.0)
    kept = ms.denoise(y, prior, noise_std=200.0, probes=1, eigenvectors=0, allow_mismatch=True)
    assert (kept.mean.shape, kept.noise_std, kept.notes) == ((1, 64, 64), 200, ())


@pytest.mark.parametrize("hu", [True, False])
@pytest.mark.parametrize("std", [10.0, 40.0])
def test_the_estimated_noise_is_that_of_the_foreground(std: float, hu: bool) -> None:
    """Within 10 % (6 standard errors) of a disc whose background has its noise cut off."""
    y, x = np.mgrid[-63.5:64, -63.5:64]
    clean = np.where(np.hypot(x, y) < 50, 300.0, -1000.0 if hu else 0.0)
    image = clean + std * noise(128, 128)
    image = np.maximum(image, -1000) if hu else np.abs(image)
    assert estimated(image.astype(np.float32), hu) == pytest.approx(std, rel=0.1)


def test_the_noise_is_estimated_unless_it_is_given(prior: Path) -> None:
    found = ms.denoise(volume(150 * noise(1, 32, 32)), prior, probes=1, eigenvectors=0)
    assert found.noise_std == pytest.approx(150, rel=0.2)
    assert found.record["noise"] == "estimate"


def test_an_interrupted_run_resumes_to_the_same_result(
    medscore: Command, scan: Path, prior: Path, written: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stopping(done: int, count: int, what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    args = (
        "denoise", scan, "--prior", prior, "--noise-std", 300, "-o", tmp_path / "out",
        "--probes", 2, "--eigenvectors", 0,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("medscore.cli.progress._View.show", lambda self, *told: stopping(*told))
        assert medscore(*args).code == 130
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / ".out.resume").iterdir())) == 1
    assert medscore(*args).code == 0
    for name in ("mean", "std"):
        assert np.array_equal(read(tmp_path / "out", name), read(written, name))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--noise-std", 0), "--noise-std is 0.0 - use a positive number"),
        (("--noise-std", -3), "--noise-std is -3.0 - use a positive number"),
        (("--noise-std", "nan"), "--noise-std is nan - use a positive number"),
        (("--noise-std", "much"), "--noise-std is 'much' - use a positive number"),
        (("--noise-std", 1), "--noise-std is 1, prior tiny knows 25 to 5e+04 in this image"),
        (("--noise-std", 1e6), "--noise-std is 1e+06, prior tiny knows 25 to 5e+04"),
        (("--probes", 0), "--probes is 0"),
        (("--eigenvectors", -1), "--eigenvectors is -1"),
        (("--eigenvectors", 101), "--eigenvectors is 101 - use 0 to 100"),
        (("--seed", -1), "--seed is -1"),
        (("--contrast", "T1"), "--contrast is 'T1', which prior tiny does not know"),
        (("--slices", "1:3"), "--slices is '1:3'"),
        (("--window", "5,1"), "--window"),
        (("--device", "abacus"), "abacus"),
        (("--prior", "no-such"), "no-such"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses(
    refused: Callable[..., str], scan: Path, prior: Path, tmp_path: Path,
    options: tuple[object, ...], why: str,
) -> None:  # fmt: skip
    args = ("--noise-std", 300, "--prior", prior, *options)
    assert why in refused("denoise", scan, *args, "-o", tmp_path / "out")


def test_refuses_priors_of_other_images(
    refused: Callable[..., str], scan: Path, mr_scan: Path, prior: Path, grey_prior: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    out = ("-o", tmp_path / "out", "--noise-std", 300)
    mismatch = "the modality of the image is {}, prior {} has {}"
    found = refused("denoise", mr_scan, "--prior", prior, *out)
    assert mismatch.format("MR", "tiny", "CT") in found
    found = refused("denoise", scan, "--prior", grey_prior, *out)
    assert mismatch.format("CT", "tiny-grey", "picture") in found
    complex_prior = write_prior(tmp_path / "any.safetensors", **COMPLEX)
    found = refused("denoise", mr_scan, "--prior", complex_prior, *out)
    assert "the quantity of the image is magnitude, prior any has complex" in found
    assert list(tmp_path.glob("*out*")) == []


def test_refuses_an_output_that_exists_and_images_without_noise(
    refused: Callable[..., str], scan: Path, prior: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    found = refused("denoise", tmp_path / "no.nii.gz", "--prior", prior, "-o", tmp_path / "there")
    assert "there" in found
    found = refused("denoise", scan, "--prior", prior, "-o", tmp_path / "out")
    assert "the noise of the image cannot be estimated" in found


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: ms.denoise(5), "`image` is 5"),  # type: ignore[arg-type]
        (lambda: ms.denoise(volume(noise(1, 16, 16)), 5), "`prior` is 5"),  # type: ignore[arg-type]
        (lambda: ms.denoise(volume(noise(1, 16, 16)), white(), noise_std=True), "`noise_std` is"),
        (
            lambda: ms.denoise(volume(noise(1, 16, 16), mm=9.0), white(spacing_mm=(1, 4), size=36)),
            "the pixels of 9 mm are larger than those of prior custom prior",
        ),
    ],
    ids=["image", "prior", "noise", "coarse"],
)
def test_python_refuses(call: Callable[[], object], why: str) -> None:
    with unchecked_shapes(), pytest.raises(ms.MedscoreError, match=why):
        call()


def test_python_writes_the_same_folder(
    scan: Path, prior: Path, tmp_path: Path, written: Path
) -> None:
    told: list[tuple[int, int]] = []
    denoise_file(
        scan, tmp_path / "out", prior, noise_std=300.0, probes=2, eigenvectors=0,
        on_part=lambda done, count, what: told.append((done, count)),
    )  # fmt: skip
    assert np.array_equal(read(tmp_path / "out", "std"), read(written, "std"))
    assert not (tmp_path / "out" / "eigenvectors.nii.gz").exists()
    assert told[-1] == (2, 2)
    ours, theirs = record(tmp_path / "out"), record(written)
    assert {**ours, "seconds": 0, "settings": 0} == {**theirs, "seconds": 0, "settings": 0}
