"""Networks on images of any size: padded to what their strides need, and cropped again."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from medscore.nets.spec import NetworkSpec
from medscore.priors.network import NetworkPrior, output_of

LARGEST_STRIDE = 512


class AnySize(nn.Module):
    """A network on images whose sides are padded to multiples of a number by reflection.

    Args:
        network: the network F(u, c).
        multiple: number whose multiples the sides must be.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        """The output of the network, of the shape of ``u``.

        Args:
            u: images (batch, channel, H, W).
            c: time variable of each image, (batch,).
        """
        height, width = u.shape[-2:]
        down, right = -height % self.multiple, -width % self.multiple
        around = (right // 2, right - right // 2, down // 2, down - down // 2)
        inner = max(around[:2]) < width and max(around[2:]) < height
        wide = pad(u, around, mode="reflect" if inner else "replicate")
        output = output_of(self.network(wide, c))
        top, left = down // 2, right // 2
        return output[..., top : top + height, left : left + width]


def any_size(prior: NetworkPrior, shape: tuple[int, int]) -> NetworkPrior:
    """A prior for images of another size than that of its training images.

    Args:
        prior: the prior; if it needs no padding, or has no data contract, it is returned as it is.
        shape: rows and columns of the images.
    """
    multiple = 1 if prior.contract is None else stride(prior.contract.network)
    if all(n % multiple == 0 for n in shape):
        return prior
    return NetworkPrior(
        AnySize(prior.network, multiple), prior.sde, prior.domain,
        preconditioning=prior.preconditioning, condition=prior.condition,
        data_mean=prior.data_mean,
    )  # fmt: skip


def stride(network: NetworkSpec) -> int:
    """The smallest power of two whose multiples a network takes as sides of its images.

    Args:
        network: specification of the network.

    Raises:
        ValueError: there is none up to 512.
    """
    size = 1
    while True:
        try:
            network.check_size(size)
            return size
        except ValueError:
            if size >= LARGEST_STRIDE:
                raise
            size *= 2
