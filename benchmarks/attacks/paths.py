"""Things that are no regular files, and unusual names, given as inputs or outputs of commands."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attacks.base import Mutator, Variant

NAMES = (
    "a\nb", "x" * 240, "a b", " ", "-x", "--help", "[x]", "*", "?", "{0}", "%s", "ä☃\U0001f600",
    "\udcff",
    "\x1b[31m", "a\\b", "package:x", "~", "$HOME", "'", '"', ";", "\t", ".",
    "nul\u0085x",
)  # fmt: skip
"""Beginnings of file names."""

WORDS = (
    "/dev/zero", "/dev/null", "/dev/full", "/dev/stdin", "/dev/fd/0", "/proc/self/mem",
    "/proc/kmsg", "x" * 300, "x/" * 2000, "", ".", "..", "/", "in/none", "in/none/none", "in",
    "\udcff", "https://x.y/z", "file:in/ct.h5", "~", "in/../in", "package:pydicom/data",
    "package:x/y", "package:", "[/]", "[red]x[/red]",
)  # fmt: skip
"""Words given in place of a path."""

PLACES = ("out/none/x/y.h5", "out/" + "x" * 300, "out/" + "x/" * 2000, "out/\udcff")
"""Words given in place of an output."""


def _gone(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _places(make: Callable[[Path], object]) -> Mutator:
    """Put something else in the place of a file or folder."""

    def mutate(path: Path, rng: np.random.Generator) -> None:
        _gone(path)
        make(path)

    mutate.__name__ = make.__name__
    return mutate


@_places
def fifo(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


@_places
def symlink_loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


@_places
def dangling(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to("nothing")


@_places
def empty_folder(path: Path) -> None:
    """A folder without files."""
    path.mkdir()


@_places
def empty_file(path: Path) -> None:
    """A file without bytes."""
    path.touch()


@_places
def folder_of_odd_things(path: Path) -> None:
    """A folder with a pipe, a loop, a device and a folder, all named like files."""
    path.mkdir()
    for suffix in ("nii.gz", "dcm", "npz", "png", "h5", "yaml", "json", "safetensors"):
        os.mkfifo(path / f"a.{suffix}")
        (path / f"b.{suffix}").symlink_to(f"b.{suffix}")
        (path / f"c.{suffix}").symlink_to("/dev/zero")
        (path / f"d.{suffix}").mkdir()


@_places
def link_to_device(path: Path) -> None:
    """A link to a device that has no end."""
    path.symlink_to("/dev/zero")


@_places
def link_to_terminal(path: Path) -> None:
    """A link to a device that is not there, or never answers."""
    path.symlink_to("/dev/tty")


@_places
def unix_socket(path: Path) -> None:
    """A socket."""
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name[:90])
    finally:
        os.chdir(here)


def unreadable(path: Path, rng: np.random.Generator) -> None:
    """The valid file or folder, without the permission to read it."""
    if path.exists():
        path.chmod(0)


def link_to_file(path: Path, rng: np.random.Generator) -> None:
    """A link to the valid file."""
    if path.exists():
        moved = path.rename(path.with_name("moved-" + path.name))
        path.symlink_to(moved.name)


def renamed(path: Path, rng: np.random.Generator) -> str:
    """The valid file under an unusual name."""
    name = NAMES[int(rng.integers(len(NAMES)))]
    suffix = "".join(path.suffixes)
    suffix = [suffix, suffix.upper(), "", ".txt", suffix + ".x"][int(rng.integers(5))]
    new = path.with_name(name + suffix) if name + suffix not in (".", "") else path
    if path.exists() and new != path and not new.exists():
        path.rename(new)
    return f"{new.parent.name}/{new.name}"


def another_word(path: Path, rng: np.random.Generator) -> str:
    """A word that names no file, a device, or the folder itself."""
    words = PLACES if path.parent.name == "out" else WORDS
    return words[int(rng.integers(len(words)))]


PATHS: tuple[Mutator, ...] = (
    fifo, symlink_loop, dangling, empty_folder, empty_file, folder_of_odd_things, link_to_device,
    link_to_terminal, unix_socket, unreadable, link_to_file, renamed, renamed, another_word,
    another_word,
)  # fmt: skip
"""All things that a path can lead to."""


def paths(variants: Mapping[str, Sequence[Variant]]) -> list[Variant]:
    """Every command, with every file that it reads and every output that it writes as the target.

    Args:
        variants: the commands that read each kind of file.
    """
    found: dict[tuple[tuple[str, ...], str], Variant] = {}
    for variant in (one for some in variants.values() for one in some):
        words = [word for word in variant.argv if word.startswith(("in/", "out/"))]
        for target in dict.fromkeys((variant.target, *words)):
            found.setdefault(
                (variant.argv, target), replace(variant, target=target, mutators=PATHS, weight=1)
            )
    return list(found.values())
