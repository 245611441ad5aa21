"""The processes that share a piece of work, and what they exchange.

Every process runs the same program on a part of the items, in the order of the ranks. A process
alone is a group of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

Value = TypeVar("Value")


@dataclass(frozen=True)
class Group:
    """A group of processes, or a process alone.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, count: int) -> slice:
        """The items of this process; the shares of all processes follow each other.

        Args:
            count: number of items of the group.
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def gather(self, part: Tensor) -> Tensor:
        """The items of all processes, in order, in every process.

        Args:
            part: the items of this process, (items, ...), which may be of different numbers.
        """
        if self.size == 1:
            return part
        part = part.contiguous()
        own = torch.tensor([len(part)], device=part.device)
        counts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(counts, own)
        most = max(int(count) for count in counts)
        padded = part.new_zeros(most, *part.shape[1:])
        padded[: len(part)] = part
        found = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(found, padded)
        return torch.cat([each[: int(n)] for each, n in zip(found, counts, strict=True)])

    def agreed(self, value: Value) -> Value:
        """The value of the first process.

        Args:
            value: the value of this process.
        """
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, 0)
        return said[0]


ALONE = Group()
