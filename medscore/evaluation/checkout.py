"""The commit of medscore's own source tree, for reports.

An installed package often lies within the checkout of another project, in its virtual environment.
That project's commit says nothing about medscore, and must not be named.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package."""


def commit(root: Path = ROOT) -> str | None:
    """The commit of a checkout of medscore, with ``-dirty`` if files were changed.

    Args:
        root: the folder that holds the package.

    Returns:
        None if ``root`` is not the root of a checkout that tracks the package and its
        ``pyproject.toml``.
    """
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text()).get("project", {})
        if project.get("name") != "medscore" or not (root / ".git").exists():
            return None
        tracked = ("pyproject.toml", "medscore/__init__.py")
        _git(root, "ls-files", "--error-unmatch", *tracked)
        return _git(root, "describe", "--always", "--dirty")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    """What git prints about the repository in ``root``, whatever the environment points at."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *words]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
