"""A trained dequantization flow on disk, and the prior that it was trained for."""

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
    """Sizes of a :class:`~medscore.likelihood.dequantization.DequantizationFlow`.

    Attributes:
        bits: grey levels are 2^bits.
        hidden: channels of the couplings' networks.
        couplings: number of couplings.
    """

    bits: int = Field(ge=1, le=16)
    hidden: int = Field(default=32, gt=0)
    couplings: int = Field(default=4, gt=0)

    def build(self) -> DequantizationFlow:
        """The untrained flow, which is uniform dequantization."""
        return DequantizationFlow(Levels(self.bits), hidden=self.hidden, couplings=self.couplings)


class DequantizerContract(Strict):
    """What a dequantizer was trained for; the header of its file.

    Attributes:
        name: name of the dequantizer.
        prior: name of the prior.
        prior_sha256: hash of the prior's weights.
        flow: sizes of the flow.
        provenance: training data, steps, seed and licence.
    """

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
    """Write weights with the contract, atomically.

    Args:
        path: file to write.
        contract: what the dequantizer was trained for.
        weights: weights of its network by name.
    """
    write_weights(path, DEQUANTIZER, contract, weights)


def load_dequantizer(path: Path, prior_sha256: str) -> DequantizationFlow:
    """The flow in float32 with fixed weights.

    Args:
        path: file written by :func:`save_dequantizer`.
        prior_sha256: hash of the weights of the prior that it is used with.

    Raises:
        MedscoreError: the file is missing, damaged, of another kind, or trained for another prior.
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
