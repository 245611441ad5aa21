"""Files of learned covariances: the weights of a head and the hash of the prior that it belongs to.

The head of the prior ``NAME.safetensors`` is ``NAME.covariance.safetensors`` beside it, and is
found there when the prior is loaded.
"""

from __future__ import annotations

from pathlib import Path

from medscore.errors import MedscoreError
from medscore.io.opening import is_there
from medscore.io.specs import Strict
from medscore.io.weights import WeightsFile
from medscore.nets.any_size import without_grid
from medscore.nets.covariance_head import CovarianceHeadSpec, head_spec
from medscore.priors.contract import Provenance
from medscore.priors.file_names import Sha256, head_path
from medscore.priors.network import NetworkPrior


class CovarianceContract(Strict):
    """The header of a learned covariance.

    Attributes:
        name: name of the head.
        body: name of the prior that it belongs to.
        body_sha256: hash of that prior's weights.
        head: parameters of the head.
        provenance: origin of the weights.
    """

    name: str
    body: str
    body_sha256: Sha256
    head: CovarianceHeadSpec
    provenance: Provenance


COVARIANCE = WeightsFile(
    format="medscore-covariance-1",
    contract=CovarianceContract,
    what="learned covariance",
    where_from="train one with a recipe that has `head`",
    made_by="`medscore train` with a recipe that has `head`",
    renew="train the covariance again",
)


def load_covariance(path: str | Path, prior: NetworkPrior) -> None:
    """Give a prior the learned covariance of a file.

    Args:
        path: the file.
        prior: the prior, which must be the one that the covariance was trained for.

    Raises:
        MedscoreError: as for :func:`~medscore.priors.checkpoint.load_prior`, or the covariance
            belongs to another prior.
    """
    head, stored = COVARIANCE.load(path, lambda contract: contract.head.build())
    contract = stored.contract
    if contract.body_sha256 != prior.sha256:
        raise MedscoreError(
            f"this covariance belongs to the prior {contract.body} with the hash "
            f"{contract.body_sha256[:12]}, not to {_named(prior)}",
            where=path,
            hint="remove it, or train a covariance for this prior",
        )
    expected = head_spec(
        without_grid(prior.network), contract.head.image_channels, contract.head.data_std,
        contract.head.rank, contract.head.width, blocks=contract.head.blocks,
    )  # fmt: skip
    if expected != contract.head:
        raise MedscoreError(
            f"the head is for {_features(contract.head)}, the network of {_named(prior)} has "
            f"{_features(expected)}",
            where=path,
            hint="train the covariance again",
        )
    head.sha256, prior.head = stored.sha256, head


def _features(spec: CovarianceHeadSpec) -> str:
    return "no known last layer" if spec.features is None else f"{spec.features} features"


def _named(prior: NetworkPrior) -> str:
    name = prior.domain.name if prior.domain else type(prior.network).__name__
    return f"{name} ({prior.sha256[:12] or 'from no file'})"


def load_beside(prior: NetworkPrior, path: str | Path) -> None:
    """Give a prior the learned covariance beside its file, if there is one.

    Args:
        prior: the prior.
        path: its file.

    Raises:
        MedscoreError: as :func:`load_covariance`.
    """
    if is_there(found := head_path(path)):
        load_covariance(found, prior)
