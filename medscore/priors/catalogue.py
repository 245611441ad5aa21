"""Priors by name, shipped and fetched, and the default prior of each modality.

The shipped ones lie in the package; a build without weights has their manifest only. Fetched ones
lie in the folder ``$MEDSCORE_PRIORS``, or ``medscore/priors`` in the user's data folder. The name
of a shipped prior always stands for the file whose hash the package states.
"""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import is_there, regular_file
from medscore.priors.file_names import ENDING, prior_files
from medscore.priors.manifest import Entry, Manifest, read_manifest

DEFAULT_PRIORS = {"CT": "ct", "MR": "mri-128"}
"""The default prior of reconstructions, by modality."""

WHOLE_IMAGE_PRIOR = "ct-128"
"""The default prior of generation, likelihoods and codes: of images of one matrix size."""

VARIABLE = "MEDSCORE_PRIORS"
"""Environment variable that names the folder of fetched priors."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def prior_folder() -> Path:
    """The folder of the shipped priors."""
    return Path(str(files("medscore.priors"))) / "weights"


def user_folder() -> Path:
    """The folder of the fetched priors; it need not exist.

    Raises:
        MedscoreError: the user has no home folder.
    """
    own, data = os.environ.get(VARIABLE), os.environ.get("XDG_DATA_HOME")
    if own:
        return Path(own)
    try:
        return Path(data or Path.home() / ".local" / "share") / "medscore" / "priors"
    except RuntimeError as error:
        raise MedscoreError(
            f"there is no folder for priors ({error})",
            hint=f"set the environment variable {VARIABLE} to one",
        ) from error


def is_name(text: str) -> bool:
    """Whether a text can be the name of a prior; the names of its files cannot.

    Args:
        text: a name or a path.
    """
    return NAME.fullmatch(text) is not None and not text.lower().endswith(ENDING)


def shipped_manifest() -> Manifest:
    """What the package says of the shipped priors, also of those that this build leaves out.

    Raises:
        MedscoreError: the installation is damaged.
    """
    return read_manifest(prior_folder(), "install medscore again")


def user_manifest() -> Manifest:
    """What the user's folder says of the fetched priors.

    Raises:
        MedscoreError: its manifest is damaged.
    """
    return read_manifest(user_folder(), "remove it, and fetch the priors again")


def shipped_priors() -> dict[str, Path]:
    """The files of the shipped priors that this build has, by name."""
    return {path.stem: path for path in prior_files(prior_folder())}


def left_out() -> dict[str, Entry]:
    """The shipped priors that are neither in this build nor fetched, by name.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    here = known_priors()
    return {name: e for name, e in shipped_manifest().priors.items() if name not in here}


def fetched_entries() -> dict[str, Entry]:
    """What the manifest says of the fetched priors, by name.

    A prior that has the name of a shipped one, but another hash, is from another version of
    medscore, and is not listed.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    shipped, fetched = shipped_manifest().priors, user_manifest().priors
    return {
        name: e for name, e in fetched.items()
        if name not in shipped or shipped[name].sha256 == e.sha256
    }  # fmt: skip


def fetched_priors() -> dict[str, Path]:
    """The files of the fetched priors, by name.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    return {name: user_folder() / e.file for name, e in fetched_entries().items()}


def known_priors() -> dict[str, Path]:
    """The files of all priors that are known by name.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    shipped = shipped_priors()
    return shipped | {name: p for name, p in fetched_priors().items() if name not in shipped}


def entry_of(name: str) -> Entry | None:
    """What a manifest says of a prior; None for a path.

    Args:
        name: name or path of a prior.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    if name in shipped_priors():
        return shipped_manifest().priors.get(name)
    return fetched_entries().get(name) if is_name(name) else None


def is_known(name: str) -> bool:
    """Whether a prior is known by its name, and is no path.

    Args:
        name: name or path of a prior.

    Raises:
        MedscoreError: a manifest is damaged.
    """
    return name in shipped_priors() or (is_name(name) and name in fetched_entries())


def prior_path(name: str) -> Path:
    """The file of a prior given by name or path.

    Args:
        name: name of a shipped or fetched prior, or the path of a prior file.

    Raises:
        MedscoreError: it is none of them, or this build is without the prior.
    """
    shipped = shipped_priors()
    if name in shipped:
        return shipped[name]
    if is_name(name):
        fetched = fetched_priors()
        if name in fetched:
            return regular_file(fetched[name], "prior", "fetch it again")
        if name in (entries := shipped_manifest().priors):
            raise _without_weights(name, entries[name])
    path = Path(name)
    if is_there(path):
        return regular_file(path, "prior")
    known = ", ".join(known_priors() if is_name(name) else shipped)
    raise MedscoreError(f"no prior {name!r}", hint=f"use a path or one of: {known or 'none here'}")


def _without_weights(name: str, entry: Entry) -> MedscoreError:
    return MedscoreError(
        f"this build of medscore is without the weights of {name!r}",
        hint=f"get {entry.file} with `medscore priors fetch`, its sha256 is {entry.sha256}",
    )
