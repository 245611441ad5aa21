"""Priors for any matrix on the command line: they work on the grid of each image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from local_networks import SMALL, write_prior

from medscore.datasets.load import load_image
from medscore.errors import MedscoreError
from medscore.generation import decode_codes, encode_images, generate
from medscore.likelihood import assess_images
from medscore.likelihood.inputs import at_samples, read_images
from medscore.measurements.simulation import simulate
from medscore.priors import catalogue
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.reconstruction.run import reconstruct

Command = Callable[..., Any]
Refused = Callable[..., str]
BOUND = {"method": "bound", "draws": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def any_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior for any matrix and pixels of 0.5 to 3 mm."""
    return write_prior(tmp_path_factory.mktemp("prior") / "any.safetensors")


def write_scan(path: Path, shape: tuple[int, int], spacing: float, seed: int = 0) -> Path:
    """One slice of smooth tissue in air, oblique in space."""
    generator = np.random.default_rng(seed)
    y, x = (np.linspace(-1, 1, n) for n in shape)
    hu = np.where(np.hypot(y[:, None], x) < 0.8, 100.0 * generator.standard_normal(), -1000.0)
    affine = np.diag([-spacing, -spacing, 4.0, 1.0])
    affine[:3, 3] = 12.5, -7.25, 3.0
    nib.save(nib.Nifti1Image(hu.astype(np.float32)[None].transpose(2, 1, 0), affine), path)
    return path


@pytest.fixture
def shelf(any_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipped priors: only the one for any matrix."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "any.safetensors").write_bytes(any_prior.read_bytes())
    monkeypatch.setattr(catalogue, "prior_folder", lambda: tmp_path / "shelf")


@pytest.mark.usefixtures("shelf")
def test_lists_and_contracts_say_any_matrix_and_the_receptive_field(done: Command) -> None:
    assert "any matrix" in " ".join(done("priors", "list").out.split())
    told = json.loads(done("priors", "info", "any").out)
    assert (told["size"], told["matrix"]) == (None, "any matrix")
    assert (told["receptive_field"], told["uses_position"]) == (SMALL.receptive_field, False)


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        (1.0, "fits, any matrix with pixels of 0.5 to 3 mm, receptive field 60 pixels"),
        (0.25, "fits on its grid of 28 x 28 pixels of 0.5 mm"),
    ],
)
def test_inspect_says_that_the_matrix_is_kept_or_why_not(
    done: Command, tmp_path: Path, spacing: float, words: str
) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", (40, 56), spacing)
    assert words in " ".join(done("inspect", scan).out.split())


def test_images_are_drawn_at_a_chosen_matrix_and_pixel_size(
    done: Command, any_prior: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    done(
        "generate", "--prior", any_prior, "-n", 2, "--size", 18, "--spacing", 2.0, "--steps", 2,
        "--device", "cpu", "-o", folder,
    )  # fmt: skip
    with np.load(folder / "samples.npz") as samples:
        assert samples["hu"].shape == (2, 18, 18)
        assert samples["pixel_spacing_mm"].tolist() == [2.0, 2.0]
    record = json.loads((folder / "provenance.json").read_text())
    assert record["grid"] == {"size": 18, "spacing_mm": 2.0}
    found = assess_images(folder, any_prior, **BOUND)
    assert len(found.images) == 2


def test_generated_images_are_compared_with_real_ones_on_their_own_grid(
    any_prior: Path, tmp_path: Path
) -> None:
    folder, contract = tmp_path / "out", read_checkpoint(any_prior).contract
    generate(any_prior, count=1, size=18, spacing=2.0, steps=1, device="cpu", output=folder)
    found = at_samples(folder, contract)
    assert (found.side, found.spacing_mm) == (18, (2.0, 2.0))
    real = write_scan(tmp_path / "scan.nii.gz", (40, 30), 1.0)
    assert read_images([folder, real], found).x.shape == (2, 1, 18, 18)
    assert at_samples(real, contract).side == 256


@pytest.mark.parametrize(
    ("count", "spacing", "words"),
    [
        (0, [], "there are no images"), (2, [1.0], "holds no 2 sizes of pixels"),
        (2, [1.0, 0.0], "sizes of pixels"), (2, [1.0, np.nan], "sizes of pixels"),
    ],
)  # fmt: skip
def test_samples_without_images_or_pixel_sizes_are_refused(
    any_prior: Path, tmp_path: Path, count: int, spacing: list[float], words: str
) -> None:
    folder, contract = tmp_path / "out", read_checkpoint(any_prior).contract
    generate(any_prior, count=1, size=16, spacing=2.0, steps=1, device="cpu", output=folder)
    hu = np.zeros((count, 16, 16), np.float32)
    np.savez(folder / "samples.npz", hu=hu, pixel_spacing_mm=spacing)
    with pytest.raises(MedscoreError, match=words):
        read_images(folder, contract)
    with pytest.raises(MedscoreError, match=words):
        at_samples(folder, contract)


def test_the_pixel_size_changes_the_images_that_are_drawn(any_prior: Path) -> None:
    fine, coarse = (
        generate(any_prior, count=1, size=16, spacing=mm, steps=2, device="cpu")
        for mm in (0.6, 3.0)
    )
    assert float((fine.images - coarse.images).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--spacing", 4), "--spacing is 4 mm, prior any knows pixels of 0.5 to 3 mm"),
        (("--size", 0), "--size is 0"),
    ],
)
def test_unknown_pixels_and_sizes_are_refused_for_samples(
    refused: Refused, any_prior: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    assert words in refused("generate", "--prior", any_prior, *options, "-o", tmp_path / "out")


def test_a_prior_of_one_size_draws_no_other(refused: Refused, prior: Path, tmp_path: Path) -> None:
    told = refused("generate", "--prior", prior, "--size", 16, "-o", tmp_path / "out")
    assert "--size is 16, but prior tiny has one matrix, 32 x 32" in told


def test_parts_of_an_image_are_completed_on_the_chosen_grid(
    any_prior: Path, tmp_path: Path
) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", (24, 24), 2.0)
    found = generate(
        any_prior, count=1, size=24, spacing=2.0, steps=2, known=scan, hidden=0.25, device="cpu"
    )
    assert found.images.shape == (1, 1, 24, 24)


def test_codes_are_of_one_grid_and_return_to_the_images(
    any_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medscore.priors.contract.DEFAULT_SIDE", 16)
    scan = write_scan(tmp_path / "scan.nii.gz", (16, 16), 1.5)
    flow = {"tolerance": 1e-4, "device": "cpu"}
    codes = encode_images(scan, any_prior, output=tmp_path / "codes.npz", **flow)
    assert codes.code.shape == (1, 1, 16, 16)
    back = decode_codes(tmp_path / "codes.npz", any_prior, **flow)
    assert back.provenance["grid"] == {"size": 16, "spacing_mm": 1.5}
    image = read_images(scan, read_checkpoint(any_prior).contract.at(16, 1.5)).x
    assert float((back.images - image).abs().max()) < 0.05


def test_each_image_is_assessed_at_its_own_matrix_and_pixel_size(
    any_prior: Path, tmp_path: Path
) -> None:
    """The likelihood of an image is that of the prior on the image's grid, in any company."""
    scans = [
        write_scan(tmp_path / name, shape, mm)
        for name, shape, mm in (
            ("a.nii.gz", (20, 26), 0.8), ("b.nii.gz", (16, 16), 2.0), ("c.nii.gz", (16, 16), 0.8),
        )
    ]  # fmt: skip
    found = read_images(scans, read_checkpoint(any_prior).contract)
    assert [tuple(image.shape) for image in found.images] == [(1, 20, 26), (1, 16, 16), (1, 16, 16)]
    assert [grid.pixel_mm for grid in found.grids] == pytest.approx([0.8, 2.0, 0.8])
    assert found.notes == ()
    with pytest.raises(MedscoreError, match="images have"):
        _ = found.x
    together = assess_images(scans, any_prior, **BOUND)
    assert len({row.nats_per_dim for row in together.images}) == 3
    alone = assess_images(scans[0], any_prior, **BOUND)
    assert alone.images[0].nats_per_dim == pytest.approx(together.images[0].nats_per_dim, rel=1e-5)


def test_pixels_outside_the_range_are_fitted_for_the_likelihood(
    any_prior: Path, tmp_path: Path
) -> None:
    scan = write_scan(tmp_path / "a.nii.gz", (40, 56), 0.25)
    found = read_images(scan, read_checkpoint(any_prior).contract)
    assert found.grids[0].shape == (28, 28)
    assert found.grids[0].pixel_mm == pytest.approx(0.5)
    assert "28 x 28 pixels of 0.5 mm" in found.notes[0]
    kept = read_images(scan, read_checkpoint(any_prior).contract, own_grid=True)
    assert kept.grids[0].shape == (40, 56)


def test_statistics_of_several_matrices_are_used_for_each(any_prior: Path, tmp_path: Path) -> None:
    own = tmp_path / "any.safetensors"
    own.write_bytes(any_prior.read_bytes())
    scans = [write_scan(tmp_path / f"{i}.nii.gz", (16, 16 + 4 * (i % 2)), 1.0, i) for i in range(4)]
    typical = assess_images(scans, own, typical=True, **BOUND)
    assert typical.typical is not None
    assert typical.typical.count == 4
    again = assess_images(scans[1], own, **BOUND)
    assert again.z is not None
    bound = typical.images[1].typical
    assert bound is not None
    mean, deviation = typical.typical.mean, typical.typical.deviation
    assert float(again.z[0]) == pytest.approx((bound - mean) / deviation, abs=1e-3)


def test_a_reconstruction_keeps_the_matrix_and_the_affine(
    done: Command, any_prior: Path, tmp_path: Path
) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", (40, 56), 1.2)
    done("simulate", scan, "--views", 12, "--noise", "gaussian:0.02", "-o", tmp_path / "m.h5")
    done(
        "recon", tmp_path / "m.h5", "--prior", any_prior, "--steps", 3, "--device", "cpu",
        "-o", tmp_path / "out",
    )  # fmt: skip
    source, out = nib.load(scan), nib.load(tmp_path / "out" / "recon.nii.gz")
    assert out.shape == source.shape == (56, 40, 1)
    np.testing.assert_allclose(out.affine, source.affine, atol=1e-5)
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["grid"]["size"] == [40, 56]
    assert record["grid"]["spacing_mm"] == pytest.approx(1.2)
    assert not record["grid"]["fitted"]


def test_the_prior_of_a_reconstruction_is_given_the_pixel_size_of_the_measurement(
    any_prior: Path, tmp_path: Path
) -> None:
    m = simulate(load_image(write_scan(tmp_path / "a.nii.gz", (24, 20), 1.2)), "sparse-ct", views=9)
    loaded, seen = load_prior(any_prior), set()
    loaded.network.register_forward_pre_hook(
        lambda module, inputs: seen.add((inputs[0].shape, float(inputs[0][0, 1, 0, 0])))
    )
    found = reconstruct(m, loaded, steps=2)
    assert found.mean.shape == (1, 24, 20)
    assert seen == {((1, 4, 24, 20), float(torch.tensor(1.2).log()))}


def test_unknown_pixels_are_fitted_and_both_sizes_are_named(
    any_prior: Path, tmp_path: Path
) -> None:
    volume = load_image(write_scan(tmp_path / "a.nii.gz", (12, 10), 5.0))
    m = simulate(volume, "sparse-ct", views=9)
    found = reconstruct(m, load_prior(any_prior), steps=2)
    assert found.mean.shape == (1, 12, 10)
    (note,) = [text for text in found.notes if "works at" in text]
    assert "20 x 20 pixels of 3 mm, because it knows pixels of 0.5 to 3 mm" in note
    assert "10 x 12 pixels of 5 mm" in note
    kept = reconstruct(m, load_prior(any_prior), steps=2, allow_mismatch=True)
    assert kept.fit is None
    assert any("spacing in mm is 5, prior any has 0.5 to 3" in text for text in kept.warnings)


def test_large_images_are_reconstructed_in_tiles_with_the_same_result(
    any_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = load_image(write_scan(tmp_path / "a.nii.gz", (128, 128), 1.0))
    m = simulate(volume, "inpaint", hidden=0.25)
    whole = reconstruct(m, load_prior(any_prior), steps=2)
    monkeypatch.setenv("MEDSCORE_MEMORY", str(100**2 * SMALL.activation_bytes()))
    loaded, sizes = load_prior(any_prior), list[int]()
    loaded.network.register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape[-2] * inputs[0].shape[-1])
    )
    tiles = reconstruct(m, loaded, steps=2)
    assert max(sizes) <= 100**2
    np.testing.assert_allclose(tiles.mean, whole.mean, atol=1e-4 * 2500)
