"""Images are read from files in the range and size of a prior."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medscore.errors import MedscoreError
from medscore.io.opening import file_sha256
from medscore.likelihood.inputs import read_images
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.contract import DataContract


@pytest.fixture
def contract() -> Callable[[Path], DataContract]:
    return lambda prior: read_checkpoint(prior).contract


Contract = Callable[[Path], DataContract]


def stored(pictures: Path) -> np.ndarray:
    files = sorted(pictures.iterdir())
    return np.stack([np.asarray(Image.open(file)) for file in files]).astype(np.float32) / 255


def test_a_folder_of_pictures(pictures: Path, colour_prior: Path, contract: Contract) -> None:
    found = read_images([pictures], contract(colour_prior))
    assert np.allclose(found.x, stored(pictures).transpose(0, 3, 1, 2), atol=1e-6)
    assert found.names == tuple(f"{i}.png#0" for i in range(6))
    small = read_images([pictures / "2.png"], contract(colour_prior), size=4)
    assert small.x.shape == (1, 3, 4, 4)
    assert read_images([pictures], contract(colour_prior), limit=3).names == ("0.png#0", "2.png#0",
                                                                        "5.png#0")  # fmt: skip


def test_no_files_are_refused(colour_prior: Path, contract: Contract) -> None:
    with pytest.raises(MedscoreError, match="no image files"):
        read_images([], contract(colour_prior))


def test_white_is_that_of_arrays_and_255_in_files(
    pictures: Path, grey_prior: Path, contract: Contract, tmp_path: Path
) -> None:
    luma = stored(pictures) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    np.savez(tmp_path / "a.npz", image=16 * luma)
    files, array = (
        read_images([f], contract(grey_prior)).x for f in (pictures, tmp_path / "a.npz")
    )
    assert np.allclose(array[:, 0], luma, atol=1e-5)
    assert np.allclose(files, array, atol=1 / 255)


def test_names_with_brackets_are_names_and_patterns_are_patterns(
    pictures: Path, colour_prior: Path, contract: Contract, tmp_path: Path
) -> None:
    odd = tmp_path / "a[1].png"
    odd.write_bytes((pictures / "0.png").read_bytes())
    assert len(read_images([odd], contract(colour_prior)).x) == 1
    assert len(read_images([pictures / "[0-3].png"], contract(colour_prior)).x) == 4


def test_slices_are_in_the_priors_range(scan: Path, prior: Path, contract: Contract) -> None:
    found = read_images([scan], contract(prior))
    assert found.x.shape == (2, 1, 32, 32)
    assert float(found.x.min()) == 0
    assert float(found.x.max()) == pytest.approx(1800 / 2500)
    assert len(set(found.digests)) == 2


def test_samples_come_as_they_were_drawn(
    done: Callable[..., Any], prior: Path, contract: Contract, tmp_path: Path
) -> None:
    done("generate", "--prior", prior, "-n", 2, "--steps", 2, "-o", tmp_path / "out")
    found = read_images([tmp_path / "out"], contract(prior))
    with np.load(tmp_path / "out" / "samples.npz", allow_pickle=False) as archive:
        expected = (archive["hu"] + 1000) / 2500
    assert np.allclose(found.x[:, 0], expected, atol=1e-6)
    assert found.names == ("out#0", "out#1")


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"image": np.zeros((2, 32, 32))}, "`hu`"),
        ({"hu": np.zeros((2, 16, 16))}, "shape"),
        ({"hu": np.full((2, 32, 32), np.nan)}, "NaN"),
    ],
    ids=["key", "shape", "nan"],
)
def test_other_samples_are_refused(
    prior: Path, contract: Contract, tmp_path: Path, arrays: Any, why: str
) -> None:
    np.savez(tmp_path / "samples.npz", **arrays)
    with pytest.raises(MedscoreError, match=why):
        read_images([tmp_path], contract(prior))


def test_a_prior_of_something_else_is_refused(prior: Path, contract: Contract, scan: Path) -> None:
    other = contract(prior).model_copy(update={"quantity": "complex"})
    with pytest.raises(MedscoreError, match="is of complex images"):
        read_images([scan], other)


def test_likelihoods_of_pictures(
    done: Callable[..., Any], pictures: Path, colour_prior: Path, tmp_path: Path
) -> None:
    args = ["likelihood", pictures, "--prior", colour_prior, "--method", "clean-bound"]
    done(*args, "--draws", 2, "--bits", 8, "--limit", 2, "-o", tmp_path / "out")
    lines = (tmp_path / "out" / "likelihood.csv").read_text().splitlines()
    labels = [f"{file_sha256(pictures / name)[:12]}#0" for name in ("0.png", "5.png")]
    assert [line.split(",")[0] for line in lines[1:]] == labels
    assert all(torch.isfinite(torch.tensor(float(line.split(",")[4]))) for line in lines[1:])
