"""Priors of files, which are read once while their files stay the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.covariance_file import COVARIANCE
from medscore.priors.file_names import head_path
from medscore.priors.network import NetworkPrior


def loaded(path: Path, device: str) -> NetworkPrior:
    """The prior of a file on a device, with the learned covariance beside it.

    Args:
        path: the checkpoint.
        device: device of the network.
    """
    status = [one.stat() for one in (path, head_path(path)) if one.exists()]
    return _load(path, device, tuple((s.st_mtime_ns, s.st_size) for s in status))


@lru_cache(maxsize=32)
def hash_of(path: Path) -> str:
    """The hash of the weights of a file.

    Args:
        path: the checkpoint.
    """
    return read_checkpoint(path).sha256


@lru_cache(maxsize=32)
def covariance_hash(path: Path) -> str:
    """The hash of the weights of a learned covariance.

    Args:
        path: its file.
    """
    return COVARIANCE.read(path).sha256


@lru_cache(maxsize=4)
def _load(path: Path, device: str, versions: tuple[tuple[int, int], ...]) -> NetworkPrior:
    return load_prior(path, device=device)
