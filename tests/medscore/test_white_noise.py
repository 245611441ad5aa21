"""Random draws of a sample do not depend on the other samples."""

import torch
from hypothesis import given, strategies as st

from medscore.white_noise import Noise, derive_seed


def test_a_batch_of_n_equals_n_batches_of_one() -> None:
    like = torch.zeros(3, 1, 4, 4)
    together = Noise([5, 6, 7])
    both = torch.stack([together(like), together(like)])
    for i, seed in enumerate([5, 6, 7]):
        alone = Noise([seed])
        single = torch.stack([alone(like[:1]), alone(like[:1])])
        assert torch.equal(both[:, i : i + 1], single)


def test_signs_turn_the_noise_and_nothing_else() -> None:
    like = torch.zeros(3, 8)
    plain, turned = Noise([5, 6, 6]), Noise([5, 6, 6], [1, 1, -1])
    for _ in range(2):
        z, u = turned(like), turned.uniform(like)
        assert torch.equal(z, plain(like) * torch.tensor([[1.0], [1.0], [-1.0]]))
        assert torch.equal(u, plain.uniform(like))


def test_restored_noise_goes_on_where_it_was() -> None:
    like, noise = torch.zeros(2, 8), Noise([1, 2])
    noise(like)
    saved = noise.state()
    following = noise(like)
    other = Noise([0, 0])
    other.restore(saved)
    assert torch.equal(other(like), following)


@given(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 999)), unique=True, max_size=50)
)
def test_derived_seeds_differ_and_fit_a_generator(parts: list[tuple[int, int]]) -> None:
    seeds = [derive_seed(*p) for p in parts]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)


def test_order_of_the_parts_matters() -> None:
    assert derive_seed(0, 1, 2) != derive_seed(0, 2, 1)
