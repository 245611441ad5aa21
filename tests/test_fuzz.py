"""Corrupted files of every format are read or rejected, without any other effect."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.process
def test_two_hundred_corrupted_files() -> None:
    """No crash, hang, excessive memory or stray file: see the script."""
    found = subprocess.run(
        [sys.executable, str(SCRIPT), "--count", "200", "--seed", "1"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    assert "200 mutants" in found.stdout
