"""Radial and spiral scans on the command line, from the image to the reconstruction."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medscore.datasets.nifti import read_nifti
from medscore.measurements.measurement import read_measurement
from medscore.operators.mri.centre import scanner

Command = Callable[..., Any]

pytest.importorskip("finufft")


@pytest.mark.parametrize(
    ("trajectory", "task", "phase", "options"),
    [
        ("radial", "mri", "none", ()),
        ("spiral", "mri-multicoil", "random", ("--coils", 3, "--maps", "low-resolution")),
    ],
    ids=["radial", "spiral"],
)
def test_an_image_becomes_a_scan_and_an_image_again(
    done: Command, mr_scan: Path, mr_prior: Path, tmp_path: Path,
    trajectory: str, task: str, phase: str, options: tuple[Any, ...],
) -> None:  # fmt: skip
    file = tmp_path / "m.h5"
    done(
        "simulate", mr_scan, "--task", task, "--trajectory", trajectory, "--acceleration", 2,
        "--phase", phase, *options, "--noise", "gaussian:5", "-o", file,
    )  # fmt: skip
    told = done("inspect", file).out
    assert f"operator: {read_measurement(file).operator!r}" in told
    assert "samples measured)" in told
    assert f"task: {task}" in told
    done(
        "recon", file, "--prior", mr_prior, "--steps", 2, "--reference", mr_scan, "--device", "cpu",
        "-o", tmp_path / "prior",
    )  # fmt: skip
    found = read_nifti(tmp_path / "prior" / "recon.nii.gz").values
    assert found.shape == (2, 32, 32)
    assert np.isfinite(found).all()
    rows = json.loads((tmp_path / "prior" / "metrics.json").read_text())["rows"]
    assert rows[0]["method"] == "zero-filled"
    assert rows[0]["psnr"] > 15


def test_ones_own_kspace_is_measured_and_reconstructed(
    done: Command, mr_scan: Path, tmp_path: Path
) -> None:
    done(
        "simulate", mr_scan, "--task", "mri-multicoil", "--trajectory", "radial", "--coils", 3,
        "--acceleration", 1, "--phase", "random", "-o", tmp_path / "m.h5",
    )  # fmt: skip
    m = read_measurement(tmp_path / "m.h5")
    positions: Any = scanner(m.operator)
    np.savez(
        tmp_path / "own.npz", kspace=m.data.reshape(2, 3, 51, 64),
        positions=positions.trajectory.flip(0).T.reshape(51, 64, 2).numpy(),
    )  # fmt: skip
    done(
        "measure", tmp_path / "own.npz", "--set", "trajectory=positions", "--set",
        "trajectory_unit=radians-per-pixel", "--size", 32, "--spacing", 3, "--acceleration", 2,
        "-o", tmp_path / "own.h5",
    )  # fmt: skip
    done(
        "recon", tmp_path / "own.h5", "--baseline", "zero-filled", "--device", "cpu",
        "-o", tmp_path / "out",
    )  # fmt: skip
    found = read_nifti(tmp_path / "out" / "recon.nii.gz").values
    truth = read_nifti(mr_scan).values
    assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--trajectory", "star"), "--trajectory is 'star' - use one of: cartesian, radial"),
        (("--trajectory", "radial", "--mask", "random"), "--mask is 'random', a pattern of"),
        (("--trajectory", "spiral", "--acceleration", 99), "leaves none of 8 arms"),
        (("--trajectory", "radial", "--acceleration", 0), "--acceleration is 0"),
    ],
)
def test_invalid_scans_are_refused(
    refused: Callable[..., str], mr_scan: Path, tmp_path: Path, options: tuple[Any, ...],
    message: str,
) -> None:  # fmt: skip
    told = refused("simulate", mr_scan, "--task", "mri", *options, "-o", tmp_path / "m.h5")
    assert message in told
