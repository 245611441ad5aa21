"""A trained dequantization flow on disk, tied to the prior whose likelihood it helps to compute."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.io.weights import WeightsFile
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.nets.spec import Few, Positive
from medscore.objectives.grey_levels import Levels
from medscore.priors.contract import Provenance


class FlowSpec(Strict):
    """Parameters of a :class:`~medscore.likelihood.dequantization.DequantizationFlow`.

    Attributes:
        bits: the images have 2^bits grey levels.
        hidden: channels of the hidden layers.
        couplings: number of coupling layers.
    """

    bits: int = Field(ge=1, le=16)
    hidden: Positive = 32
    couplings: Few = 4

    def build(self) -> DequantizationFlow:
        """The untrained flow, which is uniform dequantization."""
        return DequantizationFlow(Levels(self.bits), hidden=self.hidden, couplings=self.couplings)


class DequantizerContract(Strict):
    """Header of a dequantizer's file.

    Attributes:
        name: name of the dequantizer.
        prior: name of the prior that it was trained for.
        prior_sha256: hash of that prior's weights.
        flow: parameters of the flow.
        provenance: data, training steps and licence.
    """

    name: str
    prior: str
    prior_sha256: str
    flow: FlowSpec
    provenance: Provenance


DEQUANTIZER = WeightsFile(
    format="medscore-dequantizer-1",
    contract=DequantizerContract,
    what="dequantizer",
    where_from="train it with `medscore train configs/train/dequantizer-...`",
    made_by="`medscore train` with a recipe that has `dequantizes`",
    renew="train it again",
)


def load_dequantizer(path: str | Path, prior_sha256: str) -> DequantizationFlow:
    """Load a dequantizer for use with its prior, in float32 and without gradients.

    Args:
        path: file to read.
        prior_sha256: hash of the weights of the prior that it will be used with.

    Raises:
        MedscoreError: the file does not exist, is of another kind, is damaged, or was trained for
            another prior.
    """
    flow, stored = DEQUANTIZER.load(path, lambda contract: contract.flow.build())
    if stored.contract.prior_sha256 != prior_sha256:
        raise MedscoreError(
            f"was trained for prior {stored.contract.prior} "
            f"({stored.contract.prior_sha256[:12]}), not for this one",
            where=path, hint="use that prior, or train another dequantizer",
        )  # fmt: skip
    return flow
