"""Every example in docs/examples runs, and the docs show it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
WRITES = {
    "reconstruct_dicom": ("out/recon.nii.gz", "out/metrics.json"),
    "compare_conditioners": ("conditioners.png",),
}
LINES = 30
"""Maximum number of lines of an example, which should be quick to read."""


def test_there_is_an_example_of_everything_that_users_may_bring() -> None:
    wanted = {
        "reconstruct_dicom", "compare_conditioners", "own_operator", "own_network", "own_prior",
        "own_sampler", "diffusers_network", "monai_network",
    }  # fmt: skip
    assert wanted <= {path.stem for path in EXAMPLES}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    env = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    for name in WRITES.get(path.stem, ()):
        assert (tmp_path / name).stat().st_size > 0
    if "print(" in path.read_text():
        assert "psnr=" in run.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_shown_in_the_docs(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LINES
    page = (ROOT / "docs" / "python.md").read_text()
    assert text.split("\n\n", 1)[1].strip() in page
