"""Settings of the likelihood computation."""

from __future__ import annotations

from dataclasses import dataclass

from medscore.errors import MedscoreError
from medscore.registry.checks import check_ranges

EXACT_UP_TO = 256
"""Numbers in an image up to which the divergence is exact by default."""

DIVERGENCES = ("auto", "exact", "rademacher", "gaussian")

METHODS = {
    "flow": "p at the SDE's time eps, evaluated at the image",
    "bound": "lower bound of log p at the SDE's time eps, on average over the image's noise there",
    "clean-bound": "lower bound of log p of the clean image",
}
"""The density that each method computes."""


@dataclass(frozen=True)
class LikelihoodSettings:
    """Quantities that are computed for each image.

    Attributes:
        method: a name in ``METHODS``.
        divergence: how ``flow`` computes the divergence; a name in ``DIVERGENCES``, where auto is
            exact for up to ``EXACT_UP_TO`` numbers and uses Rademacher probes beyond.
        probes: random probes of the divergence.
        draws: pairs of a time and a noise that a bound averages.
        bits: grey levels are 2^bits over the prior's range; None computes densities.
        rtol: relative tolerance of the flow's solver.
        atol: absolute tolerance of the flow's solver.
        seed: seed of all draws.
    """

    method: str
    divergence: str
    probes: int
    draws: int
    bits: int | None
    rtol: float
    atol: float
    seed: int

    def check(self) -> None:
        """Reject invalid settings.

        Raises:
            MedscoreError: a name is unknown or a number is out of range.
        """
        for name, value, known in (
            ("method", self.method, METHODS),
            ("divergence", self.divergence, DIVERGENCES),
        ):
            if value not in known:
                raise MedscoreError(
                    f"`{name}` is {value!r}", hint=f"use one of: {', '.join(known)}"
                )
        check_ranges(
            ("probes", self.probes, 1, 10_000),
            ("draws", self.draws, 1, 1_000_000),
            ("bits", 8 if self.bits is None else self.bits, 1, 16),
            ("rtol", self.rtol, 1e-12, 1),
            ("atol", self.atol, 1e-12, 1),
            ("seed", self.seed, 0, 2**63 - 1),
        )
