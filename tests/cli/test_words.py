"""The option helps list the library's names; the command line starts without heavy imports."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from medscore.cli import words
from medscore.cli.generate import CONDITIONER
from medscore.datasets.dicom.kinds import KINDS
from medscore.generation import observations, sampling
from medscore.measurements import coil_maps, from_kspace, kspace_mask, mr_scan, tasks, trajectory
from medscore.measurements.choices import Choices
from medscore.operators.ct.metal import METAL_HU


def test_the_words_are_those_of_the_tables() -> None:
    assert tuple(tasks.TASKS) == words.TASKS
    assert tuple(kspace_mask.SHAPES) == words.MASKS
    assert tuple(coil_maps.MAPS) == words.MAPS
    assert words.TARGETS == from_kspace.TARGETS
    assert words.PHASES == mr_scan.PHASES
    assert words.TRAJECTORIES == trajectory.TRAJECTORIES
    assert tuple(KINDS) == words.ACCEPTED
    assert words.METAL_HU == METAL_HU
    assert tuple(observations.TASKS) == words.OBSERVED
    assert CONDITIONER == sampling.CONDITIONER


def test_the_defaults_are_those_of_the_library() -> None:
    defaults = asdict(Choices())
    assert {name: defaults[name] for name in words.SCAN} == words.SCAN
    unnamed = {"implants", "finer", "spectrum", "noise", "seed"}
    assert set(words.SCAN) == set(defaults) - unnamed


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["recon", "--wrong"]])
def test_help_version_and_wrong_options_load_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom medscore.cli import main\n"
        f"sys.argv = ['medscore', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'monai', 'scipy', 'skimage', 'h5py', 'pydicom'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
