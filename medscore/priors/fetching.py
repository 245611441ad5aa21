"""Fetching priors into the user's folder, and removing them again.

A fetched file and what belongs to it lie in a folder that is named by the hash. It appears as a
whole after the hash was compared and the prior was loaded, and the prior is known from the moment
at which the manifest lists it. Weights are data: nothing in a file is executed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.download import Progress, is_address, receive, shown_address
from medscore.io.files import atomic_folder, atomic_path, remove_empty
from medscore.io.opening import TEXT, file_or_folder, file_sha256, is_regular, read_bytes
from medscore.priors.catalogue import (
    is_name,
    prior_folder,
    shipped_manifest,
    shipped_priors,
    user_folder,
    user_manifest,
)
from medscore.priors.checkpoint import load_prior
from medscore.priors.file_names import CARD, ENDING, HEAD, NEIGHBOURS, prior_files
from medscore.priors.manifest import FILE, Entry, Manifest, check_file

BESIDE = (CARD, HEAD, NEIGHBOURS, ".calibration.json", ".typical.json", ".LICENSE")
"""Endings of the names of files that are taken from a folder together with its prior."""


@dataclass(frozen=True)
class FetchedPrior:
    """A prior that is known by its name.

    Attributes:
        name: the name.
        file: the prior's file.
        licence: licence of the weights.
        is_new: False if the prior was there already.
    """

    name: str
    file: Path
    licence: str
    is_new: bool


def fetch_prior(
    source: str | Path,
    *,
    sha256: str,
    name: str | None = None,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> FetchedPrior:
    """Add a prior to those that are known by name; nothing is kept unless its hash is right.

    The file of a prior that this build leaves out becomes that prior.

    Args:
        source: https address or path of a prior file; or a folder, of which the prior with this
            hash is taken, with its card, its licence and its statistics of typical images.
        sha256: hash of the file, 64 hexadecimal digits.
        name: name of the prior; by default the one that its file states.
        overwrite: whether another fetched prior of this name is replaced.
        on_progress: called with the received bytes, and how many there are if that is known.

    Returns:
        The prior; also if it was there already, when nothing is read.

    Raises:
        MedscoreError: the source cannot be read, has another hash, or is no prior; the name is
            taken or no name; or the user's folder cannot be written.
    """
    source, digest = str(source), _checked_hash(sha256)
    if name is not None and not is_name(name):
        raise _no_name(f"`name` is {name!r:.120}")
    called = _called(digest)
    if None not in (name, called) and name != called:
        raise MedscoreError(
            f"`name` is {name!r}, but this prior is called {called!r} here", hint="use that name"
        )
    if called is not None and (there := _whole(called, digest)) is not None:
        return there
    name = name or called
    if name is not None:
        _check_free(name, digest, overwrite)
    folder, home = user_folder(), _home(digest)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    shutil.rmtree(home, ignore_errors=True)  # left by a run that was killed, or damaged
    with atomic_folder(home) as partial:
        file, beside = partial / f"prior{ENDING}", None
        if not is_address(source):
            source, beside = _chosen(source, digest)
        actual = receive(source, file, on_progress)
        shown = shown_address(source) if is_address(source) else source
        if actual != digest:
            raise MedscoreError(
                f"its sha256 is {actual}, but `sha256` is {digest}", where=shown,
                hint="nothing was kept; check the source, and the hash that its author states",
            )  # fmt: skip
        licence, stated = _examined(file, shown)
        name = name or stated
        if not is_name(name):
            raise _no_name(f"the prior is called {name!r:.120}", shown)
        _check_free(name, digest, overwrite)
        entry = Entry(
            file=f"{home.name}/{name}{ENDING}",
            sha256=digest,
            bytes=file.stat().st_size,
            licence=licence,
            source=shown if is_address(source) else "local file",
            date=datetime.now(UTC).date().isoformat(),
        )
        file.rename(partial / f"{name}{ENDING}")
        if _shipped_as(digest):
            beside = prior_folder() / name
        entry = entry.model_copy(update=_take_beside(beside, partial / name))
    try:
        _register(name, entry, overwrite)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        remove_empty(made)
        raise
    return FetchedPrior(name, folder / entry.file, licence, is_new=True)


def remove_prior(name: str) -> None:
    """Remove a fetched prior and the files that belong to it.

    Args:
        name: its name.

    Raises:
        MedscoreError: there is no fetched prior of this name, or the folder cannot be written.
    """
    fetched = user_manifest().priors
    if name not in fetched:
        known = f"use one of: {', '.join(fetched)}" if fetched else "there are none"
        ships = name in shipped_priors()
        fault = f"{name!r:.120} ships with medscore" if ships else f"no fetched prior {name!r:.120}"
        raise MedscoreError(fault, hint=f"only fetched priors are removed; {known}")

    def without(now: Manifest) -> Manifest:
        return Manifest(priors={n: e for n, e in now.priors.items() if n != name})

    _change_manifest(without)
    shutil.rmtree(_home(fetched[name].sha256), ignore_errors=True)


def _home(digest: str) -> Path:
    """The folder of a fetched file."""
    return user_folder() / digest[:32]


def _checked_hash(sha256: str) -> str:
    digest = sha256.strip().lower() if isinstance(sha256, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise MedscoreError(
            f"`sha256` is {sha256!r:.80}",
            hint="use the 64 hexadecimal digits that the file's author states",
        )
    return digest


def _no_name(fault: str, where: str | None = None) -> MedscoreError:
    return MedscoreError(
        fault, where=where,
        hint="choose a `name` of at most 100 letters, digits and . _ -, without the ending "
        f"{ENDING}",
    )  # fmt: skip


def _shipped_as(digest: str) -> str | None:
    """The name of the shipped prior with a hash."""
    names = (name for name, e in shipped_manifest().priors.items() if e.sha256 == digest)
    return next(names, None)


def _called(digest: str) -> str | None:
    """The name of the shipped or fetched prior with a hash."""
    fetched = (name for name, e in user_manifest().priors.items() if e.sha256 == digest)
    return _shipped_as(digest) or next(fetched, None)


def _whole(name: str, digest: str) -> FetchedPrior | None:
    """The prior with this name and hash, if its file is here and whole."""
    if (file := shipped_priors().get(name)) is not None:
        entry = shipped_manifest().priors[name]
        check_file(file, entry)
        return FetchedPrior(name, file, entry.licence, is_new=False)
    found = user_manifest().priors.get(name)
    if found is None or found.sha256 != digest:
        return None
    file = user_folder() / found.file
    if not is_regular(file) or file_sha256(file) != digest:
        return None
    return FetchedPrior(name, file, found.licence, is_new=False)


def _check_free(name: str, digest: str, overwrite: bool) -> None:
    """Refuse a name that is taken."""
    shipped, fetched = shipped_manifest().priors, user_manifest().priors
    if name in shipped and shipped[name].sha256 == digest:
        return
    if name in shipped or name in shipped_priors():
        raise MedscoreError(
            f"{name!r} is the name of a shipped prior with another hash",
            hint="choose another `name`",
        )
    if name in fetched and fetched[name].sha256 != digest and not overwrite:
        raise MedscoreError(
            f"{name!r} is the name of a fetched prior with another hash",
            hint="choose another `name`, or set `overwrite`",
        )


def _chosen(source: str, digest: str) -> tuple[str, Path | None]:
    """The prior file of a path; and of a folder also what its other files are called."""
    path = file_or_folder(source, "prior", "check the path, or give an address with https://")
    if not path.is_dir():
        return source, None
    found = [one for one in prior_files(path) if is_regular(one)]
    if not found:
        raise MedscoreError(f"holds no prior (*{ENDING})", where=path, hint="check the folder")
    hashes = {file_sha256(one): one for one in found}
    if digest not in hashes:
        raise MedscoreError(
            f"the sha256 of its priors is {', '.join(hashes)}, but `sha256` is {digest}",
            where=path, hint="check the folder, and the hash that the author states",
        )  # fmt: skip
    return str(hashes[digest]), hashes[digest].with_suffix("")


def _examined(file: Path, shown: str) -> tuple[str, str]:
    """Licence and name of a prior, after it was verified and loaded."""
    try:
        contract = load_prior(file).contract
    except MedscoreError as error:
        raise MedscoreError(error.what, where=shown, hint=error.hint) from error
    assert contract is not None
    return contract.provenance.licence, contract.name


def _take_beside(source: Path | None, target: Path) -> dict[str, object]:
    """Copy what belongs to a prior, and return what the manifest says of it.

    Args:
        source: path of the prior without its ending; None to copy nothing.
        target: path of the copy without its ending.
    """
    taken = []
    for ending in BESIDE if source is not None else ():
        own = Path(f"{source}{ending}")
        if is_regular(own):
            copy = Path(f"{target}{ending}")
            copy.write_bytes(read_bytes(own, most=TEXT))
            taken.append(copy.name)
    card = f"{target.name}{CARD}"
    others = tuple(name for name in taken if name != card)
    return {"card": card if card in taken else None, "beside": others}


def _register(name: str, entry: Entry, overwrite: bool) -> None:
    """List a prior in the manifest, and delete the one that it replaces."""
    before = user_manifest().priors.get(name)

    def with_it(now: Manifest) -> Manifest:
        _check_free(name, entry.sha256, overwrite)
        return Manifest(priors={**now.priors, name: entry})

    _change_manifest(with_it)
    if before is not None and before.sha256 != entry.sha256:
        shutil.rmtree(_home(before.sha256), ignore_errors=True)


def _change_manifest(change: Callable[[Manifest], Manifest]) -> None:
    """Read, change and write the user's manifest; one process at a time."""
    with atomic_path(user_folder() / FILE) as partial:
        partial.write_text(change(user_manifest()).text())
