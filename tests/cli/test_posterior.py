"""``recon`` with a prior that has a learned covariance: samples of the posterior by default."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from medscore.nets.covariance_head import head_spec
from medscore.priors.checkpoint import load_prior
from medscore.priors.covariance_file import COVARIANCE, CovarianceContract
from medscore.priors.file_names import head_path

Command = Callable[..., Any]
QUICK = ("--steps", 3, "--device", "cpu")


@pytest.fixture(scope="module")
def knowing(prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny prior with an untrained covariance beside it."""
    path = tmp_path_factory.mktemp("knowing") / prior.name
    shutil.copy(prior, path)
    body = load_prior(path)
    assert body.contract is not None
    torch.manual_seed(1)
    spec = head_spec(body.network, 1, body.contract.data_std, 0, 8, blocks=True)
    contract = CovarianceContract(
        name="tiny.covariance", body="tiny", body_sha256=body.sha256, head=spec,
        provenance=body.contract.provenance,
    )  # fmt: skip
    COVARIANCE.save(head_path(path), contract, spec.build().network.state_dict())
    return path


def settings(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance.json").read_text())["settings"]


def test_several_samples_are_drawn_from_the_posterior_in_pairs(
    done: Command, noisy: Path, knowing: Path, tmp_path: Path
) -> None:
    done("recon", noisy, "--prior", knowing, "--samples", 2, *QUICK, "-o", tmp_path / "out")
    found = settings(tmp_path / "out")
    assert (found["conditioner"], found["pairs"]) == ("moment-matching", True)
    assert found["parameters"]["conditioner.draws"] is True
    assert found["parameters"]["sampler.eta"] == 1
    assert (tmp_path / "out" / "std.nii.gz").stat().st_size > 0


@pytest.mark.parametrize(
    "given", [(), ("--samples", 2, "--preset", "sharpest")], ids=["one sample", "sharpest"]
)
def test_otherwise_diffpir_is_used(
    done: Command, noisy: Path, knowing: Path, tmp_path: Path, given: tuple[object, ...]
) -> None:
    done("recon", noisy, "--prior", knowing, *given, *QUICK, "-o", tmp_path / "out")
    found = settings(tmp_path / "out")
    assert (found["conditioner"], found["pairs"]) == ("diffpir", False)
    assert found["parameters"]["sampler.eta"] == 0


@pytest.mark.parametrize(
    "given",
    [("--preset", "posterior"), ("--set", "conditioner.covariance=learned")],
    ids=["preset", "parameter"],
)
def test_a_prior_without_a_covariance_is_refused_before_work_begins(
    refused: Callable[..., str], noisy: Path, prior: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    message = refused("recon", noisy, "--prior", prior, *given, *QUICK, "-o", tmp_path / "out")
    assert "the prior tiny has no learned covariance" in message
    assert "use the preset sharpest" in message
    assert not (tmp_path / "out").exists()


def test_draws_by_the_denoiser_s_own_covariance_are_refused(
    refused: Callable[..., str], noisy: Path, knowing: Path, tmp_path: Path
) -> None:
    message = refused(
        "recon", noisy, "--prior", knowing, "--preset", "posterior",
        "--set", "conditioner.covariance=denoiser", *QUICK, "-o", tmp_path / "out",
    )  # fmt: skip
    assert "`conditioner.draws` needs a covariance that the prior knows" in message


def test_samples_do_not_depend_on_the_batch_size(
    done: Command, noisy: Path, knowing: Path, tmp_path: Path
) -> None:
    images = []
    for size in (1, 4):
        out = tmp_path / str(size)
        done(
            "recon", noisy, "--prior", knowing, "--samples", 4, "--hdf5", "--batch-size", size,
            *QUICK, "-o", out,
        )  # fmt: skip
        with h5py.File(out / "samples.h5") as file:
            images.append(np.asarray(next(iter(file.values()))))
    assert images[0].shape == images[1].shape
    assert np.abs(images[0] - images[1]).max() < 0.05  # HU
    assert np.abs(images[0][0] - images[0][1]).max() > 1
