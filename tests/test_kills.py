"""Commands that are killed, or meet a full disk, end as uninterrupted ones when they are repeated.

The whole measurement is ``benchmarks/kills.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_commands_end_as_uninterrupted_ones() -> None:
    chosen = [f"--only={name}" for name in ("generate", "encode", "decode", "likelihood")]
    command = [sys.executable, ROOT / "benchmarks" / "kills.py", "--check", "--count", "16"]
    ended = subprocess.run(
        [*command, *chosen, "--no-mount"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
