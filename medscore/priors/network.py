"""A neural network as a prior: one network evaluation with preconditioning."""

from __future__ import annotations

import math
from inspect import isclass
from pathlib import Path
from typing import final

from torch import Tensor, nn

from medscore.domain import ImageDomain, check_pixel
from medscore.errors import MedscoreError
from medscore.nets.any_size import network_on_grid, of_class, with_network, without_grid
from medscore.nets.covariance_head import CovarianceHead, WithHead
from medscore.nets.local_unet import NONE
from medscore.nets.neighbours import NeighboursDenoiser
from medscore.nets.output import output_of
from medscore.nets.spec import NetworkSpec
from medscore.numeric import is_number, is_whole
from medscore.priors.base import Prior, like
from medscore.priors.contract import DataContract
from medscore.priors.preconditioning import EDM, Condition, Preconditioning, log_ratio
from medscore.sdes.base import SDE, expand
from medscore.types import State, Times
from medscore.uncertainty.learned import LearnedCovariance

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
        self.shape: tuple[int, int] | None = None
        """Rows and columns of the grid that the prior was placed on; None if it takes others."""
        self.head: CovarianceHead | None = None
        """The learned covariance, if there is one."""
        self.neighbours: NeighboursDenoiser | None = None
        """The 2.5-D network of volumes, if there is one."""
        self.label = 0
        """Number of the class of the images, from 1; 0 for no known class."""

    @property
    def contract(self) -> DataContract | None:
        """The data contract of the file that the prior was loaded from; None without a file."""
        return self.domain if isinstance(self.domain, DataContract) else None

    def denoise(self, x: State, t: Times) -> State:
        return self._evaluate(self.network, x, t)[0]

    @property
    def has_covariance(self) -> bool:
        return self.head is not None

    def denoise_with_covariance(self, x: State, t: Times) -> tuple[State, LearnedCovariance]:
        head = self.head
        if head is None:
            return super().denoise_with_covariance(x, t)
        both = with_network(self.network, lambda network: WithHead(network, head))
        denoised, maps = self._evaluate(both, x, t)
        return denoised, head.covariance(maps, self.sde.ratio(t))

    def _evaluate(self, network: nn.Module, x: State, t: Times) -> tuple[State, Tensor]:
        """The denoised image, and the channels of the network's output behind its own."""
        self._check_grid(x)
        skip, out, into = (expand(c, x) for c in self.preconditioning(self.sde, t))
        u = x / expand(self.sde.alpha(t), x) - self.data_mean
        output = output_of(network(into * u, self.condition(self.sde, t)))
        own, maps = (
            (output, output) if network is self.network else output.tensor_split([x.shape[1]], 1)
        )
        predicted = like(x, own, "the network").to(x.dtype)
        return self.data_mean + skip * u + out * predicted, maps

    def around(self, network: nn.Module) -> NetworkPrior:
        """The same prior with another network, such as a wrapper of its own.

        Args:
            network: the other network.
        """
        made = NetworkPrior(
            network, self.sde, self.domain, preconditioning=self.preconditioning,
            condition=self.condition, data_mean=self.data_mean,
        )  # fmt: skip
        made.file, made.sha256, made.label = self.file, self.sha256, self.label
        made.head, made.neighbours = self.head, self.neighbours
        return made

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of images that the network can be told; empty if there are none."""
        names: tuple[str, ...] = getattr(self._spec, "classes", ())
        return names

    def of_class(self, name: str | None) -> NetworkPrior:
        """The prior of the images of one class, such as an MR contrast.

        Args:
            name: name of the class; None or ``none`` for images of no known class, which is what a
                prior is used for unless it is told a class.

        Raises:
            MedscoreError: the prior knows no such class.
        """
        known = (NONE, *self.classes)
        chosen = NONE if name is None else name
        if chosen not in known:
            which = self.domain.name if self.domain else type(without_grid(self.network)).__name__
            raise MedscoreError(
                f"the prior {which} knows no class {name!r:.80}",
                hint=f"use one of: {', '.join(known)}" if self.classes else "leave it out",
            )
        label = known.index(chosen)
        if label == self.label:
            return self
        made = self.around(of_class(self.network, label))
        made.shape, made.label = self.shape, label
        return made

    def on_grid(
        self, shape: tuple[int, int], pixel_mm: float, *, allow_mismatch: bool = False
    ) -> NetworkPrior:
        """The prior for images on one grid.

        The images are padded to the stride of the network, which is given their pixel size and
        position if it needs them, and works in tiles where the memory budget requires it.

        Args:
            shape: rows and columns of the images.
            pixel_mm: their pixel size in mm.
            allow_mismatch: whether the pixel size may lie outside the prior's range.

        Returns:
            The prior on that grid; the prior itself if it takes such images as it is, or if its
            network is not one of :mod:`medscore.nets`.

        Raises:
            MedscoreError: the shape or the pixel size is invalid, or the prior does not know pixels
                of that size.
        """
        spec = self._spec
        if spec is None:
            return self
        if not all(is_whole(n) and n > 0 for n in shape):
            raise MedscoreError(f"`shape` is {shape!r:.80}", hint="use (rows, columns)")
        if spec.context:
            check_pixel(pixel_mm, None if allow_mismatch else self.domain)
        elif self._takes(shape, spec):
            return self
        placed = self.around(network_on_grid(self.network, spec, shape, pixel_mm, self.label))
        if spec.context:
            placed.shape = shape
        return placed

    @property
    def needs_grid(self) -> bool:
        """Whether the network needs the pixel size of its images, from :meth:`on_grid`."""
        spec = getattr(self.network, "spec", None)
        return isinstance(spec, NetworkSpec) and spec.context

    @property
    def _spec(self) -> NetworkSpec | None:
        """The specification of the network, if it is one of this package."""
        if self.contract is not None:
            return self.contract.network
        spec = getattr(without_grid(self.network), "spec", None)
        return spec if isinstance(spec, NetworkSpec) else None

    def _takes(self, shape: tuple[int, int], spec: NetworkSpec) -> bool:
        """Whether the network takes images of a size as they are."""
        if self.domain is not None and shape == (self.domain.size, self.domain.size):
            return True
        return spec.receptive_field is None and all(n % spec.stride == 0 for n in shape)

    def _check_grid(self, x: State) -> None:
        """Reject images on no grid, or on another grid than the prior was placed on."""
        if self.needs_grid:
            raise needs_grid(self)
        if self.shape is not None and x.shape[-2:] != self.shape:
            raise MedscoreError(
                f"the images have {x.shape[-2]} x {x.shape[-1]} pixels, the prior was placed on a "
                f"grid of {self.shape[0]} x {self.shape[1]}",
                hint="place it on the grid of the images with prior.on_grid((rows, columns), mm)",
            )

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


def needs_grid(prior: NetworkPrior) -> MedscoreError:
    """The error for a prior that is used without the pixel size of its images.

    Args:
        prior: the prior.
    """
    return MedscoreError(
        f"the prior {prior.domain.name if prior.domain else type(prior.network).__name__} needs "
        "the pixel size of its images",
        hint="use prior.on_grid((rows, columns), pixel_mm)",
    )
