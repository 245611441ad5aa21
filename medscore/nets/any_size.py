"""Networks on images of any grid: given the pixel size, padded to their strides, cropped again."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import pad

from medscore.io.budget import memory_budget
from medscore.nets.context import MAPS, InContext, context_maps
from medscore.nets.output import output_of
from medscore.nets.spec import NetworkSpec
from medscore.nets.tiles import Tiled


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


def network_on_grid(
    network: nn.Module, spec: NetworkSpec, shape: tuple[int, int], pixel_mm: float, label: int = 0
) -> nn.Module:
    """A network for images on a grid: padded to its stride, and given the pixel size if needed.

    A network with a receptive field works in tiles where the whole image would exceed the memory
    budget.

    Args:
        network: the network, which may have been placed on another grid before.
        spec: its specification.
        shape: rows and columns of the images.
        pixel_mm: their pixel size in mm.
        label: number of their class, of a network with classes; 0 for no known class.
    """
    network, multiple = without_grid(network), spec.stride
    rows, columns = (-(-n // multiple) * multiple for n in shape)
    if spec.receptive_field is not None:
        network = Tiled(network, spec, memory_budget())
    if spec.context:
        device = next(network.parameters()).device
        kind = label if spec.maps > MAPS else None
        network = InContext(network, context_maps((rows, columns), pixel_mm, kind).to(device))
    return network if (rows, columns) == shape else AnySize(network, multiple)


def of_class(network: nn.Module, label: int) -> nn.Module:
    """A network that was placed on a grid, for another class of images on the same grid.

    Args:
        network: a network with classes, placed or not.
        label: number of the class; 0 for no known class.
    """
    if isinstance(network, AnySize):
        return AnySize(of_class(network.network, label), network.multiple)
    if isinstance(network, InContext):
        maps = network.maps.clone()
        maps[:, MAPS] = label
        return InContext(network.network, maps)
    return network


def with_network(placed: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The same placement on a grid of another network, of which there may be more outputs.

    Args:
        placed: a network, placed or not.
        change: makes the other network of the one inside.
    """
    if isinstance(placed, AnySize):
        return AnySize(with_network(placed.network, change), placed.multiple)
    if isinstance(placed, InContext):
        return InContext(with_network(placed.network, change), placed.maps)
    if isinstance(placed, Tiled):
        return Tiled(with_network(placed.network, change), placed.spec, placed.budget)
    return change(placed)


def without_grid(network: nn.Module) -> nn.Module:
    """The network that was placed on a grid.

    Args:
        network: a network, placed or not.
    """
    while isinstance(network, AnySize | InContext | Tiled):
        network = network.network
    return network
