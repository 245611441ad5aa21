"""A trained dequantization flow on disk, and the prior whose likelihood it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.io.weights import Kind, check_hash, fill_network, read_weights, write_weights
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.objectives.grey_levels import Levels
from medscore.priors.contract import Provenance


class FlowSpec(Strict):
    """Sizes of a :class:`~medscore.likelihood.dequantization.DequantizationFlow`."""

    bits: int = Field(ge=1, le=16)
    hidden: int = Field(default=32, gt=0)
    couplings: int = Field(default=4, gt=0)

    def build(self) -> DequantizationFlow:
        """The untrained flow: uniform dequantization."""
        return DequantizationFlow(Levels(self.bits), hidden=self.hidden, couplings=self.couplings)


class DequantizerContract(Strict):
    """What the header holds. ``prior`` and ``prior_sha256`` are whose likelihood it serves."""

    name: str
    prior: str
    prior_sha256: str
    flow: FlowSpec
    provenance: Provenance


DEQUANTIZER = Kind(
    format="medscore-dequantizer-1",
    contract=DequantizerContract,
    what="dequantizer",
    where_from="train it with `medscore train configs/train/dequantizer-...`",
    made_by="`medscore train` with a recipe that has `dequantizes`",
    renew="train it again",
)


def save_dequantizer(
    path: Path, contract: DequantizerContract, weights: Mapping[str, Tensor]
) -> None:
    """Write weights with the contract, atomically."""
    write_weights(path, DEQUANTIZER, contract, weights)


def load_dequantizer(path: Path, prior_sha256: str) -> DequantizationFlow:
    """The flow in float32, frozen.

    Args:
        prior_sha256: of the weights of the prior that it is used with.

    Raises:
        MedscoreError: no such file, another kind of file, a damaged one, or one trained for another
            prior.
    """
    stored = read_weights(path, DEQUANTIZER)
    check_hash(path, stored)
    if stored.contract.prior_sha256 != prior_sha256:
        raise MedscoreError(
            f"was trained for prior {stored.contract.prior} "
            f"({stored.contract.prior_sha256[:12]}), not for this one",
            where=path, hint="use that prior, or train another dequantizer",
        )  # fmt: skip
    flow = stored.contract.flow.build()
    fill_network(flow.network, stored, path)
    return flow.eval().requires_grad_(False)
