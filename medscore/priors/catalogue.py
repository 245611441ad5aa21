"""The shipped priors by name, and the default prior of each modality."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import is_there, regular_file

DEFAULT_PRIORS = {"CT": "ct-128", "MR": "mri-128"}
"""The default prior of each modality."""


def prior_folder() -> Path:
    """The folder of the shipped priors."""
    return Path(str(files("medscore.priors"))) / "weights"


def shipped_priors() -> dict[str, Path]:
    """The files of the shipped priors, by name."""
    return {path.stem: path for path in sorted(prior_folder().glob("*.safetensors"))}


def prior_path(name: str) -> Path:
    """The file of a prior given by name or path.

    Args:
        name: name of a shipped prior, or the path of a prior file.

    Raises:
        MedscoreError: it is neither.
    """
    shipped = shipped_priors()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if is_there(path):
        return regular_file(path, "prior")
    raise MedscoreError(
        f"no prior {name!r}", hint=f"use a path or one of: {', '.join(shipped) or 'none shipped'}"
    )
