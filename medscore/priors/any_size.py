"""Networks on images of any grid: told the pixel size, padded to their strides, cropped again."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from medscore.nets.context import InContext, context_maps
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


def on_grid(prior: NetworkPrior, shape: tuple[int, int], pixel_mm: float) -> NetworkPrior:
    """A prior for images on a grid, which knows their pixel size if it needs to.

    Args:
        prior: the prior; if it needs neither padding nor the pixel size, or has no data contract,
            it is returned as it is.
        shape: rows and columns of the images.
        pixel_mm: their pixel size in mm.
    """
    if prior.contract is None:
        return prior
    spec, network = prior.contract.network, prior.network
    multiple = stride(spec)
    rows, columns = (-(-n // multiple) * multiple for n in shape)
    if spec.context:
        network = InContext(network, context_maps((rows, columns), pixel_mm))
    if (rows, columns) != shape:
        network = AnySize(network, multiple)
    return prior if network is prior.network else prior.around(network)


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
