"""Shapes are not checked at run time here, because proofs call small functions very often.

All other tests check them; ``tests/cli`` runs every sampler and every conditioner.
"""

from collections.abc import Iterator

import pytest
from shapes import unchecked_shapes


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Disable run-time checks during proofs."""
    with unchecked_shapes():
        yield
