"""Shapes are not checked at run time here, because proofs call small functions very often.

All other tests check them; ``tests/cli`` runs every sampler and every conditioner.
"""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Disable run-time checks during proofs."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
