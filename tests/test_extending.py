"""Adding a conditioner touches one new file, its proof, a line of the registry and one of the docs.

A conditioner is added in this way to a copy of the repository. The tests of completeness pass
there, and fail if any of the pieces is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("medscore", "operators", "datasets", "configs", "tests", "docs", "benchmarks")

SOURCE = '''"""One gradient step of the data misfit on the denoised image (Landweber 1951)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from torch import Tensor

from medscore.conditioners.base import Conditioner, Refined
from medscore.operators.base import Operator
from medscore.parameters import Share
from medscore.priors.base import Prior
from medscore.sdes.base import expand
from medscore.types import State, Times


@final
@dataclass(frozen=True)
class Landweber(Conditioner):
    """A gradient step; no cost beyond the sampler's evaluations.

    Args:
        operator: A, acting on images in the prior's range.
        y: measurements on the full grid, one per sample.
        step: step size relative to 1/|A|^2.
    """

    operator: Operator
    y: Tensor
    step: Share = 0.5

    @cached_property
    def size(self) -> Tensor:
        """|A|^2 of each sample."""
        return self.operator.norm_squared(self.y)

    def prior(self, prior: Prior) -> Prior:
        def refine(denoised: State, x: State, t: Times) -> State:
            gap = self.operator.mask(self.y) * self.y - self.operator.forward(denoised)
            return denoised + expand(self.step / self.size, x) * self.operator.adjoint(gap)

        return Refined(prior, refine)
'''

PROOF = '''"""Landweber's step in dense matrices."""

from collections.abc import Sequence

from rules import Problem, ddim
from torch import Tensor

from medscore.conditioners.landweber import Landweber
from medscore.operators.base import Operator


def make(operator: Operator, y: Tensor, noise_std: float) -> Landweber:
    return Landweber(operator, y)


def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
    d = p.denoise(x, t)
    d = d + 0.5 / p.norm2 * p.A.T @ (p.y - p.A @ d)
    return ddim(p, d, x, t, s, z[0])
'''

PIECES = {
    "source": ("medscore/conditioners/landweber.py", "", SOURCE),
    "proof": ("tests/support/conditioners/landweber.py", "", PROOF),
    "registry": (
        "medscore/registry/methods.py",
        '        "dds": _C + "dds:DDS",\n',
        '        "landweber": _C + "landweber:Landweber",\n',
    ),
    "docs": (
        "docs/conditioners.md",
        "| DDS | Chung et al. 2024 | state | through gamma | | `dds.py` | `dds` |\n",
        "| Landweber | Landweber 1951 | denoised image | no | | `landweber.py` | `landweber` |\n",
    ),
}
"""File, the line after which to insert, and the text."""

GUARDS = [
    "tests/medscore/registry/test_methods.py", "tests/test_faces.py", "tests/test_layout.py",
    "tests/conformance/test_conditioners.py", "tests/conformance/test_invariances.py",
]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("copy"))


def copied(root: Path) -> Path:
    """A copy of the repository."""
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.png", "build")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def add(root: Path, without: str = "") -> list[str]:
    """Add the conditioner; returns the files that were touched by hand, with the lines added."""
    touched = []
    for piece, (name, after, text) in PIECES.items():
        path = root / name
        if after:
            original = (ROOT / name).read_text()
            assert original.count(after) == 1, (piece, after)
            path.write_text(original if piece == without else original.replace(after, after + text))
        elif piece == without:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)
        touched.append(f"{name}: {'new' if not after else len(text.splitlines())}")
    subprocess.run([sys.executable, root / "benchmarks" / "faces.py"], check=True, cwd=root)
    return touched


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MEDSCORE_SHAPES": "0"}
    env = {key: value for key, value in env.items() if not key.startswith("PYTEST_XDIST")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-x", "-m", "", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)


CHOSEN = "landweber or registered or docs or every_conditioner or every_name or faces or cycle"


@pytest.mark.full
@pytest.mark.process
def test_a_conditioner_is_one_file_its_proof_and_two_lines(copy: Path) -> None:
    assert add(copy) == [
        "medscore/conditioners/landweber.py: new",
        "tests/support/conditioners/landweber.py: new",
        "medscore/registry/methods.py: 1",
        "docs/conditioners.md: 1",
    ]
    done = run(copy, *GUARDS, "-k", CHOSEN)
    assert done.returncode == 0, done.stdout[-3000:]
    code = (
        "import medscore as ms\nfrom medscore.conditioners import Landweber\n"
        "from medscore.registry import CONDITIONERS\n"
        "assert CONDITIONERS['landweber'] is Landweber\n"
        "assert list(CONDITIONERS.parameters('landweber')) == ['step']\n"
    )
    env = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=copy, env=env)


@pytest.mark.full
@pytest.mark.process
@pytest.mark.parametrize("without", ["proof", "registry", "docs"])
def test_a_missing_piece_is_noticed(copy: Path, without: str) -> None:
    add(copy, without)
    done = run(copy, *GUARDS[:1], GUARDS[3], "-k", CHOSEN)
    assert done.returncode == 1, done.stdout[-3000:]
