"""Priors of files, which are read once while their files stay the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from medscore.io.weights import StoredWeights
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.covariance_file import COVARIANCE
from medscore.priors.file_names import head_path, neighbours_path
from medscore.priors.neighbours_file import NEIGHBOURS, NeighboursContract
from medscore.priors.network import NetworkPrior


def loaded(path: Path, device: str) -> NetworkPrior:
    """The prior of a file on a device, with the learned covariance and the 2.5-D network beside it.

    Args:
        path: the checkpoint.
        device: device of the network.
    """
    files = path, head_path(path), neighbours_path(path)
    status = [one.stat() if one.exists() else None for one in files]
    return _load(path, device, tuple(s and (s.st_mtime_ns, s.st_size) for s in status))


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


@lru_cache(maxsize=32)
def neighbours_of(path: Path) -> StoredWeights[NeighboursContract]:
    """The content of the file of a 2.5-D network.

    Args:
        path: the file.
    """
    return NEIGHBOURS.read(path)


@lru_cache(maxsize=4)
def _load(path: Path, device: str, versions: tuple[tuple[int, int] | None, ...]) -> NetworkPrior:
    return load_prior(path, device=device)
