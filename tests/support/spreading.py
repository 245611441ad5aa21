"""Work that other processes can import."""

import torch


def threads(piece: int) -> int:
    """The number of threads that the piece of work can use."""
    return torch.get_num_threads()
