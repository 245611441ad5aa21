"""Changed files of every kind are read or refused in one line, without any other effect."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.full, pytest.mark.process]

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "attack.py"
GROUPS = {
    "images and settings": (
        "dicom", "dicom-folder", "nifti", "nrrd", "metaimage", "arrays", "zip", "pictures", "npy",
        "npz", "projections", "recipe", "evaluation", "tuning", "preset", "geometry", "contract",
        "paths",
    ),
    "raw data, networks and states": (
        "measurement", "fastmri", "ismrmrd", "cfl", "mat", "twix", "prior", "network",
        "state", "study", "examples",
    ),
}  # fmt: skip
"""Kinds of files, in two groups of similar duration."""

COUNT = os.environ.get("MEDSCORE_ATTACKS", "200")
"""Inputs of each kind; the benchmark has 2,000."""


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")
@pytest.mark.parametrize("group", GROUPS)
def test_commands_read_or_refuse_changed_files(group: str) -> None:
    """No crash, hang, traceback, excessive memory or stray file: see the script."""
    kinds = [word for kind in GROUPS[group] for word in ("--kind", kind)]
    command = [sys.executable, str(SCRIPT), "--check", "--count", COUNT, "--seed", "1", *kinds]
    slow = os.environ | {"MEDSCORE_ATTACK_SECONDS": "40"}  # no test depends on the speed
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=2400, check=False, env=slow
    )
    assert found.returncode == 0, found.stdout + found.stderr
