"""A network as a prior: the four scalars of its preconditioning around one call of it."""

from __future__ import annotations

from pathlib import Path
from typing import final

from torch import Tensor, nn

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.priors.base import Prior
from medscore.priors.contract import DataContract
from medscore.priors.preconditioning import EDM, Condition, Preconditioning, log_ratio
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times

UNIT = EDM()


@final
class NetworkPrior(Prior, nn.Module):
    """Any network as a prior on any SDE: its denoiser and its score at (x, t).

    Args:
        network: F(u, c) with u (batch, channel, H, W) and c (batch,); it returns a tensor like u,
            or an object that holds it as ``sample``, as networks of diffusers do.
        sde: the forward diffusion.
        domain: what the images are; needed to reconstruct measurements, not to sample.
        preconditioning: what F predicts, from :mod:`medscore.priors.preconditioning`: ``noise``,
            ``clean``, ``velocity``, ``score``, ``scaled_score``, ``denoiser`` or ``EDM(std)``.
        condition: the time variable that F receives: ``log_ratio``, ``ratio``, ``log_sigma``,
            ``time_999`` or ``Level(count)`` of the same module.
        data_mean: mean m of the data in the network's range.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        domain: ImageDomain | None = None,
        *,
        preconditioning: Preconditioning = UNIT,
        condition: Condition = log_ratio,
        data_mean: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        self.network, self.sde, self.domain = network, sde, domain
        self.preconditioning, self.condition = preconditioning, condition
        self.data_mean = data_mean
        self.file: Path | None = None
        """File that the prior was loaded from."""
        self.sha256 = ""
        """Hash of the weights in that file."""

    @property
    def contract(self) -> DataContract | None:
        """The data contract of the file that the prior was loaded from, if it was."""
        return self.domain if isinstance(self.domain, DataContract) else None

    def denoise(self, x: State, t: Times) -> State:
        skip, out, into = (expand(c, x) for c in self.preconditioning(self.sde, t))
        u = x / expand(self.sde.alpha(t), x) - self.data_mean
        predicted = _tensor(self.network(into * u, self.condition(self.sde, t))).to(x.dtype)
        return self.data_mean + skip * u + out * predicted

    def forward(self, x: State, t: Times) -> State:
        """The same as :meth:`denoise`, so that module hooks and wrappers see the call."""
        return self.denoise(x, t)


def _tensor(output: object) -> Tensor:
    """The prediction in what a network returns: a tensor, or ``output.sample``."""
    found = output if isinstance(output, Tensor) else getattr(output, "sample", None)
    if not isinstance(found, Tensor):
        raise MedscoreError(
            f"the network returned {type(output).__name__}, expected a tensor like its input",
            hint="wrap the network in a module that returns the tensor",
        )
    return found
