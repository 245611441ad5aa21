"""Changed files of every kind are read or refused in one line, without any other effect."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.full, pytest.mark.process]

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "attack.py"
GROUPS = {
    "images": ("dicom", "dicom-folder", "nifti", "pictures", "npy", "npz", "projections"),
    "raw data": ("measurement", "fastmri", "ismrmrd", "prior", "network", "state", "study"),
    "settings": ("recipe", "evaluation", "tuning", "preset", "geometry", "contract", "paths"),
    "examples": ("examples",),
}
"""Kinds of files, in groups of similar duration."""

COUNT = 50
"""Inputs of each kind; the benchmark has 2,000."""


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")
@pytest.mark.parametrize("group", GROUPS)
def test_commands_read_or_refuse_changed_files(group: str) -> None:
    """No crash, hang, traceback, excessive memory or stray file: see the script."""
    kinds = [word for kind in GROUPS[group] for word in ("--kind", kind)]
    command = [sys.executable, str(SCRIPT), "--check", "--count", str(COUNT), "--seed", "1", *kinds]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
