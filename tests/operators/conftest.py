"""Fixtures of the operators' tests."""

from collections.abc import Iterator

import pytest
from shapes import unchecked_shapes


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Types of arguments are checked by the code itself."""
    with unchecked_shapes():
        yield
