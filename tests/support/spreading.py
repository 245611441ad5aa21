"""What other processes can import and do."""

import torch


def threads(piece: int) -> int:
    """How many threads this piece of work may use."""
    return torch.get_num_threads()
