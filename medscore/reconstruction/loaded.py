"""Priors of files, which are read once while their files stay the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.network import NetworkPrior


def loaded(path: Path, device: str) -> NetworkPrior:
    """The prior of a file on a device.

    Args:
        path: the checkpoint.
        device: device of the network.
    """
    status = path.stat()
    return _load(path, device, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def hash_of(path: Path) -> str:
    """The hash of the weights of a file.

    Args:
        path: the checkpoint.
    """
    return read_checkpoint(path).sha256


@lru_cache(maxsize=4)
def _load(path: Path, device: str, modified: int, size: int) -> NetworkPrior:
    return load_prior(path, device=device)
