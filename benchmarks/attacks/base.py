"""What an attack is: a command, the valid files that it reads, and changes to one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Mutator = Callable[[Path, np.random.Generator], str | None]
"""Changes a file in place, from the random draws of a generator; returns the word that names it in
the command, if that changes too."""


@dataclass(frozen=True)
class Variant:
    """A command that reads a file of some kind, with valid files.

    Attributes:
        argv: the command's words after ``medscore``; files are named ``in/NAME``, outputs
            ``out/NAME``.
        files: valid files and folders by their names in ``in/`` (or ``out/``, for saved states).
        target: the file that is changed, by the same name.
        mutators: changes, each as likely as the others.
        weight: number of inputs that this command gets, relative to the other commands.
        arrays: bytes of the arrays in the valid files, as the reader keeps them.
        honest: exit code for the valid files; None for any.
    """

    argv: tuple[str, ...]
    files: dict[str, Path]
    target: str
    mutators: tuple[Mutator, ...]
    weight: int = 1
    arrays: int = 0
    honest: int | None = 0


@dataclass(frozen=True)
class Input:
    """An input that is ready to be read.

    Attributes:
        argv: the command's words after ``medscore``.
        change: name of the change that was made; empty for valid files.
        size: bytes of the files with their arrays.
    """

    argv: tuple[str, ...]
    change: str
    size: int


Case = Callable[[Path], Input]
"""Writes an input into an empty folder; always the same one."""

Kinds = Mapping[str, Sequence[Variant]]
"""The commands that read each kind of file."""


def lay_out(variant: Variant, folder: Path) -> None:
    """Copy a variant's valid files into a folder with ``in`` and ``out``.

    Args:
        variant: the command with its files.
        folder: an empty folder.
    """
    for name in ("in", "out"):
        (folder / name).mkdir()
    for name, source in variant.files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, place)


def honest(variant: Variant, folder: Path) -> Input:
    """The valid input of a command.

    Args:
        variant: the command with its files.
        folder: an empty folder to write in.
    """
    lay_out(variant, folder)
    return Input(variant.argv, "", _size(folder) + variant.arrays)


def attacked(variant: Variant, folder: Path, rng: np.random.Generator) -> Input:
    """The input of a command with one file changed.

    Args:
        variant: the command with its files.
        folder: an empty folder to write in.
        rng: source of the random draws.
    """
    lay_out(variant, folder)
    before = _size(folder)
    mutate = variant.mutators[int(rng.integers(len(variant.mutators)))]
    word = mutate(folder / variant.target, rng)
    argv = variant.argv
    if word is not None:
        argv = tuple(word if old == variant.target else old for old in argv)
    return Input(argv, mutate.__name__, max(before, _size(folder)) + variant.arrays)


def edited(variant: Variant, edit: Callable[[Path], object], arrays: int = 0) -> Case:
    """The valid files of a command with an edit of its target.

    Args:
        variant: the command with its files.
        edit: changes the target in place.
        arrays: bytes of the arrays that the edited file holds.
    """

    def write(folder: Path) -> Input:
        lay_out(variant, folder)
        edit(folder / variant.target)
        return Input(variant.argv, edit.__name__, _size(folder) + variant.arrays + arrays)

    return write


def reader(kinds: Kinds, kind: str, target: str, command: str = "") -> Variant:
    """The first command of a kind that reads a file.

    Args:
        kinds: the commands that read each kind.
        kind: name of the kind.
        target: end of the file's name.
        command: name of the command; any by default.
    """
    return next(
        one
        for one in kinds[kind]
        if one.target.endswith(target) and (not command or one.argv[0] == command)
    )


def in_folder(change: Mutator, pattern: str = "*") -> Mutator:
    """A change of a file, or of a random file if it is given a folder.

    Args:
        change: changes a file.
        pattern: files of the folder that it can change.
    """

    def mutate(path: Path, rng: np.random.Generator) -> str | None:
        if path.is_dir():
            files = sorted(path.glob(pattern))
            path = files[int(rng.integers(len(files)))]
        return change(path, rng)

    mutate.__name__ = change.__name__
    return mutate


def choose(variants: Sequence[Variant], rng: np.random.Generator) -> Variant:
    """One of several variants, drawn by their weights.

    Args:
        variants: the variants of a kind.
        rng: source of the random draws.
    """
    weights = np.array([variant.weight for variant in variants], dtype=float)
    return variants[int(rng.choice(len(variants), p=weights / weights.sum()))]


def _size(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())
