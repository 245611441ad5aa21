"""Fixtures for the readers and writers of volumes and arrays."""

from pathlib import Path

import pytest
from image_fixtures import bundled, ramp, refused, write_slice

__all__ = ["bundled", "looked", "ramp", "refused", "write_slice"]


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that a child process would read first; it takes a while, and is tested by itself."""
    found: list[Path] = []
    for module in ("datasets.formats.itk", "io.mat_files"):
        monkeypatch.setattr(
            f"medscore.{module}.look", lambda path, kind, declared=None: found.append(path)
        )
    return found
