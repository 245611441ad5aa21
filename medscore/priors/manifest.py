"""The manifest of a folder of priors: the hash, licence and card of each file, as JSON.

``weights/manifest.json`` lists the priors that ship with medscore. ``python -m
medscore.priors.manifest`` writes it from the files in that folder, after one was added or replaced.
The user's own folder has a manifest of the same form, which :mod:`medscore.priors.fetching` keeps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.io.json_files import read_object
from medscore.io.opening import file_sha256, is_there
from medscore.io.specs import Name, Strict, faults
from medscore.priors.file_names import CARD, Sha256, prior_files

FILE = "manifest.json"
"""Name of the manifest in its folder."""

Place = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{32}/)?[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A file of the folder, or of a folder in it that is named by a hash."""


class Entry(Strict):
    """What a manifest says of one prior.

    Attributes:
        file: the prior's file, relative to the folder of the manifest.
        sha256: hash of that file.
        bytes: size of that file.
        licence: licence of the weights.
        card: name of the card beside the file, if there is one.
        beside: names of the other files that belong to the prior.
        source: where a fetched prior is from; of local files nothing but that they were local.
        date: day on which it was fetched, as YYYY-MM-DD.
    """

    file: Place
    sha256: Sha256
    bytes: int = Field(gt=0, le=2**50)
    licence: str
    card: Name | None = None
    beside: tuple[Name, ...] = ()
    source: str | None = None
    date: str | None = None


class Manifest(Strict):
    """The content of a manifest.

    Attributes:
        format: version of the file.
        priors: the priors by name.
    """

    format: Literal["medscore-priors-1"] = "medscore-priors-1"
    priors: dict[Name, Entry] = Field(default={})

    def text(self) -> str:
        """The manifest as JSON."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"


def read_manifest(folder: Path, hint: str) -> Manifest:
    """The manifest of a folder; an empty one if there is none.

    Args:
        folder: the folder.
        hint: what the user can do if it is damaged.

    Raises:
        MedscoreError: it is damaged.
    """
    path = folder / FILE
    if not is_there(path):
        return Manifest()
    content = read_object(path, hint=hint)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise MedscoreError(faults(error, Manifest, "the file"), where=path, hint=hint) from None


def check_file(path: Path, entry: Entry) -> None:
    """Compare a file with its manifest.

    Args:
        path: the prior's file.
        entry: what the manifest says of it.

    Raises:
        MedscoreError: the file cannot be read, or has another hash.
    """
    actual = file_sha256(path)
    if actual != entry.sha256:
        raise MedscoreError(
            f"its sha256 is {actual[:12]}, the manifest says {entry.sha256[:12]}", where=path,
            hint="the file is damaged or was exchanged: fetch it again, or install medscore again",
        )  # fmt: skip


def manifest_of(folder: Path) -> Manifest:
    """The manifest that fits the files of a folder.

    Args:
        folder: folder with priors and the files that belong to them, called as the priors.

    Raises:
        MedscoreError: a prior is damaged.
    """
    from medscore.priors.checkpoint import verify

    found = {}
    for path in prior_files(folder):
        beside = sorted(one.name for one in folder.glob(f"{path.stem}.*") if one != path)
        card = f"{path.stem}{CARD}"
        found[path.stem] = Entry(
            file=path.name,
            sha256=file_sha256(path),
            bytes=path.stat().st_size,
            licence=verify(path).contract.provenance.licence,
            card=card if card in beside else None,
            beside=tuple(name for name in beside if name != card),
        )
    return Manifest(priors=found)


if __name__ == "__main__":
    shipped = Path(__file__).parent / "weights"
    atomic_write(shipped / FILE, manifest_of(shipped).text().encode())
