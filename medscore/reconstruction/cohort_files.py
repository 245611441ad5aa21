"""The measurements of a cohort, their names, and the ground truths that belong to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import file_or_folder


@dataclass(frozen=True)
class Case:
    """One measurement of a cohort.

    Attributes:
        name: name of its output folder.
        path: the measurement file.
        reference: its ground truth, if there is one.
    """

    name: str
    path: Path
    reference: Path | None = None


def find_cases(sources: Sequence[str | Path], references: Path | None = None) -> list[Case]:
    """The measurements of a cohort, in the order of their names.

    A measurement is called as its file. Where files in different folders have the same name, the
    folders below the common one belong to the name, joined by dashes.

    Args:
        sources: files and folders.
        references: folder of ground truths.

    Raises:
        MedscoreError: a source does not exist, there is no measurement, one is named twice, or a
            reference is missing or ambiguous.
    """
    files: dict[Path, None] = {}
    for source in map(Path, sources):
        found = sorted(source.rglob("*.h5")) if file_or_folder(source).is_dir() else [source]
        if not found:
            raise MedscoreError(
                "holds no measurement file (*.h5)", where=source, hint="check the folder"
            )
        files |= dict.fromkeys(path.absolute() for path in found)
    count = Counter(path.stem for path in files)
    names = {path: path.stem for path in files}
    if max(count.values(), default=0) > 1:
        parts = [path.parent.parts for path in files]
        same = 0
        while len({p[: same + 1] for p in parts}) == 1 and all(len(p) > same for p in parts):
            same += 1
        names = {path: "-".join((*path.parent.parts[same:], path.stem)) for path in files}
    twice = [name for name, number in Counter(names.values()).items() if number > 1]
    if twice:
        raise MedscoreError(
            f"two measurements are called {twice[0]!r}", hint="rename one of their files"
        )
    truths = {} if references is None else _references(references, names.values())
    return [
        Case(name, path, truths.get(name))
        for path, name in sorted(names.items(), key=lambda item: item[1])
    ]


def _references(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The ground truth of each measurement: the only entry that is called like it."""
    if not file_or_folder(folder).is_dir():
        raise MedscoreError(
            "is a file, but a cohort needs a folder of references", where=folder,
            hint="use a folder with an image for each measurement, of the same name",
        )  # fmt: skip
    entries = sorted(folder.iterdir())
    found = {}
    for name in names:
        hits = [e for e in entries if e.name == name or e.name.startswith(f"{name}.")]
        if len(hits) != 1:
            raise MedscoreError(
                f"holds {len(hits) or 'no'} reference{'s' if hits else ''} of {name!r}",
                where=folder, hint=f"use one file or folder called {name}",
            )  # fmt: skip
        found[name] = hits[0]
    return found
