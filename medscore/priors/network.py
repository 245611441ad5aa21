"""A neural network as a prior: one network evaluation with preconditioning."""

from __future__ import annotations

import math
from inspect import isclass
from pathlib import Path
from typing import final

from torch import Tensor, nn

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.numeric import is_number
from medscore.priors.base import Prior, like
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
        domain: the image domain; needed to reconstruct measurements, but not to sample.
        preconditioning: prediction target of F, from :mod:`medscore.priors.preconditioning`:
            ``noise``, ``clean``, ``velocity``, ``score``, ``scaled_score``, ``denoiser`` or
            ``EDM(std)``.
        condition: the time variable that F receives: ``log_ratio``, ``ratio``, ``log_sigma``,
            ``time_999`` or ``Level(count)`` of the same module.
        data_mean: mean m of the data in the network's range.

    Raises:
        MedscoreError: an argument of another type.
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
        _check_arguments(network, sde, domain)
        _check_function("preconditioning", preconditioning, "medscore.priors.denoiser")
        _check_function("condition", condition, "medscore.priors.ratio")
        if not is_number(data_mean) or not math.isfinite(data_mean):
            raise MedscoreError(f"`data_mean` is {data_mean!r:.80}", hint="use a number")
        nn.Module.__init__(self)
        self.network, self.sde, self.domain = network, sde, domain
        self.preconditioning, self.condition = preconditioning, condition
        self.data_mean = data_mean
        self.file: Path | None = None
        """File that the prior was loaded from."""
        self.sha256 = ""
        """SHA-256 hash of the weights in that file."""

    @property
    def contract(self) -> DataContract | None:
        """The data contract of the file that the prior was loaded from; None without a file."""
        return self.domain if isinstance(self.domain, DataContract) else None

    def denoise(self, x: State, t: Times) -> State:
        skip, out, into = (expand(c, x) for c in self.preconditioning(self.sde, t))
        u = x / expand(self.sde.alpha(t), x) - self.data_mean
        output = output_of(self.network(into * u, self.condition(self.sde, t)))
        predicted = like(x, output, "the network").to(x.dtype)
        return self.data_mean + skip * u + out * predicted

    def around(self, network: nn.Module) -> NetworkPrior:
        """The same prior with another network, such as a wrapper of its own.

        Args:
            network: the other network.
        """
        return NetworkPrior(
            network, self.sde, self.domain, preconditioning=self.preconditioning,
            condition=self.condition, data_mean=self.data_mean,
        )  # fmt: skip

    def forward(self, x: State, t: Times) -> State:
        """The same as :meth:`denoise`, for module hooks and wrappers.

        Args:
            x: noisy images at time t, (batch, channel, H, W).
            t: times, (batch,).
        """
        return self.denoise(x, t)


def _check_arguments(network: object, sde: object, domain: object) -> None:
    """Reject arguments of other types, which would fail only when the prior is used."""
    if not isinstance(network, nn.Module):
        raise MedscoreError(f"`network` is {_named(network)}", hint="use a torch.nn.Module object")
    if not isinstance(sde, SDE):
        raise MedscoreError(f"`sde` is {_named(sde)}", hint="use an SDE object, such as VE()")
    if domain is not None and not isinstance(domain, ImageDomain):
        raise MedscoreError(
            f"`domain` is {_named(domain)}",
            hint="use medscore.ImageDomain(modality=..., quantity=..., low=..., high=...)",
        )


def _check_function(name: str, value: object, example: str) -> None:
    """Reject what is no function of SDE and times."""
    if not callable(value) or isclass(value):
        raise MedscoreError(
            f"`{name}` is {_named(value)}", hint=f"use a function or object, such as {example}"
        )


def _named(value: object) -> str:
    return f"the class {value.__name__}" if isclass(value) else f"{value!r:.80}"


def output_of(output: object) -> Tensor:
    """The prediction in a network's output, which is a tensor or has the attribute ``sample``.

    Args:
        output: what the network returned.

    Raises:
        MedscoreError: neither.
    """
    found = output if isinstance(output, Tensor) else getattr(output, "sample", None)
    if not isinstance(found, Tensor):
        raise MedscoreError(
            f"the network returned {type(output).__name__}, expected a tensor like its input",
            hint="wrap the network in a module that returns the tensor",
        )
    return found
