"""Files of 2.5-D networks: their weights and the hash of the prior that they belong to.

The network of the prior ``NAME.safetensors`` is ``NAME.neighbours.safetensors`` beside it, and is
found there when the prior is loaded.
"""

from __future__ import annotations

from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import is_there
from medscore.io.specs import Strict
from medscore.io.weights import WeightsFile
from medscore.nets.neighbours import NeighboursSpec
from medscore.priors.contract import Provenance
from medscore.priors.file_names import Sha256, neighbours_path
from medscore.priors.network import NetworkPrior

SLACK = 1.25
"""Factor by which voxels may be smaller or larger than those of the training volumes."""


class NeighboursContract(Strict):
    """The header of a 2.5-D network.

    Attributes:
        name: name of the network.
        body: name of the prior that it belongs to.
        body_sha256: hash of that prior's weights.
        network: parameters of the network.
        slice_mm: smallest and largest distance of the training slices in mm.
        ratios: smallest and largest noise-to-signal ratio of the training; beyond them slices stay
            as they are.
        provenance: origin of the weights.
    """

    name: str
    body: str
    body_sha256: Sha256
    network: NeighboursSpec
    slice_mm: tuple[float, float]
    ratios: tuple[float, float]
    provenance: Provenance

    def knows(self, slice_mm: float) -> bool:
        """Whether the network knows slices of a distance.

        Args:
            slice_mm: the distance in mm.
        """
        low, high = self.slice_mm
        return low / SLACK <= slice_mm <= high * SLACK


NEIGHBOURS = WeightsFile(
    format="medscore-neighbours-1",
    contract=NeighboursContract,
    what="2.5-D network",
    where_from="train one with a recipe that has `volumes`",
    made_by="`medscore train` with a recipe that has `volumes`",
    renew="train the 2.5-D network again",
)


def load_neighbours(path: str | Path, prior: NetworkPrior) -> None:
    """Give a prior the 2.5-D network of a file.

    Args:
        path: the file.
        prior: the prior, which must be the one that the network was trained for.

    Raises:
        MedscoreError: as for :func:`~medscore.priors.checkpoint.load_prior`, or the network belongs
            to another prior.
    """
    network, stored = NEIGHBOURS.load(path, lambda contract: contract.network.build())
    contract = stored.contract
    if contract.body_sha256 != prior.sha256:
        raise MedscoreError(
            f"this 2.5-D network belongs to the prior {contract.body} with the hash "
            f"{contract.body_sha256[:12]}, not to one with the hash {prior.sha256[:12] or 'none'}",
            where=path,
            hint="remove it, or train a 2.5-D network for this prior",
        )
    network.sha256, network.ratios, prior.neighbours = stored.sha256, contract.ratios, network


def neighbours_beside(prior: NetworkPrior, path: str | Path) -> None:
    """Give a prior the 2.5-D network beside its file, if there is one.

    Args:
        prior: the prior.
        path: its file.

    Raises:
        MedscoreError: as :func:`load_neighbours`.
    """
    if is_there(found := neighbours_path(path)):
        load_neighbours(found, prior)
