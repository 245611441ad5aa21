"""Proofs call the same small functions a million times, so shapes are not checked on each call.

They are everywhere else: every sampler and every conditioner also runs under ``tests/cli``.
"""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Run-time checks off while proofs run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
