"""The names of the files of a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

ENDING = ".safetensors"
"""Ending of the names of prior files."""

HEAD = f".covariance{ENDING}"
"""Ending of the name of the learned covariance that belongs to a prior."""

NEIGHBOURS = f".neighbours{ENDING}"
"""Ending of the name of the 2.5-D network that belongs to a prior."""

CARD = ".md"
"""Ending of the name of a prior's card."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A hash, as hexadecimal digits."""


def prior_files(folder: Path) -> list[Path]:
    """The prior files of a folder, sorted, without the files that belong to them.

    Args:
        folder: the folder.
    """
    found = folder.glob(f"*{ENDING}")
    return sorted(p for p in found if not p.name.endswith((HEAD, NEIGHBOURS)))


def head_path(prior: str | Path) -> Path:
    """The file of the learned covariance that lies beside a prior; it need not exist.

    Args:
        prior: file of the prior.
    """
    return _beside(prior, HEAD)


def neighbours_path(prior: str | Path) -> Path:
    """The file of the 2.5-D network that lies beside a prior; it need not exist.

    Args:
        prior: file of the prior.
    """
    return _beside(prior, NEIGHBOURS)


def _beside(prior: str | Path, ending: str) -> Path:
    """The file beside a prior that is called as the prior, with another ending."""
    path = Path(prior)
    return path.with_name(path.name.removesuffix(ENDING) + ending)
