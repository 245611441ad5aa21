"""A volume of 600 slices of 512 x 512 is processed in bounded memory."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "streaming.py"


@pytest.mark.process
def test_a_large_volume_takes_no_more_than_stated() -> None:
    """The bound is in the script: the volume, the measurement, the samples twice, half a GiB."""
    found = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "peak memory" in found.stdout
