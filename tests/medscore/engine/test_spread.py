"""Every piece of distributed work is returned once, with its index and the same result."""

from importlib.util import find_spec

import pytest
import torch
from spreading import threads

from medscore.engine.spread import Spread, cluster, here, processes
from medscore.errors import MedscoreError
from medscore.registry.checks import check_precision
from medscore.white_noise import derive_seed

SPREADS = [here(1), processes(1, 1), processes(2, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS, ids=range(3))
def test_every_piece_comes_back_with_its_place(spread: Spread) -> None:
    assert sorted(spread(derive_seed, [3, 4, 5])) == [
        (place, derive_seed(piece)) for place, piece in enumerate((3, 4, 5))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS, ids=range(3))
def test_an_error_of_a_piece_is_its_own(spread: Spread) -> None:
    with pytest.raises(MedscoreError, match="`precision` is 'half'"):
        list(spread(check_precision, ["bf16", "half"]))


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS, ids=range(3))
def test_pieces_have_the_threads_they_were_given(spread: Spread) -> None:
    assert list(spread(threads, [0])) == [(0, 1)]


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    list(here(before + 1)(derive_seed, [1]))
    assert torch.get_num_threads() == before


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_a_cluster_without_ray_is_refused() -> None:
    with pytest.raises(MedscoreError, match=r"medscore\[ray\]"):
        cluster("auto", 1)


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same() -> None:
    """The cluster consists of this machine and takes half a minute to start."""
    assert sorted(cluster("local", 1)(derive_seed, [3, 4, 5])) == [
        (place, derive_seed(piece)) for place, piece in enumerate((3, 4, 5))
    ]
    with pytest.raises(MedscoreError, match="`precision` is 'half'"):
        list(cluster("local", 1)(check_precision, ["half"]))
