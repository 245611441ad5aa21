"""Waiting until what was written is on the disk, where a power failure leaves it."""

from __future__ import annotations

import os
from pathlib import Path

MANY = 100
"""Number of files above which they are not synced one by one."""


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Args:
        path: file or folder.
    """
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until a folder and everything in it are on the disk.

    Args:
        folder: the folder.
    """
    inside = list(folder.rglob("*"))
    if len(inside) > MANY:
        os.sync()  # of all files at once, because one by one takes long
        return
    for path in (*inside, folder):
        sync(path)
