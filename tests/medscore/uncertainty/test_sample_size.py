"""The effective sample size of chains whose autocorrelation is known."""

import pytest
import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.uncertainty.sample_size import effective_share


def autoregression(rho: Tensor, steps: int, chains: int) -> Tensor:
    """Chains x' = rho x + sqrt(1 - rho^2) z, (steps, chains, len(rho)), that start at N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(steps, chains, len(rho), generator=generator, dtype=torch.float64)
    x = [z[0]]
    for draw in z[1:]:
        x.append(rho * x[-1] + torch.sqrt(1 - rho**2) * draw)
    return torch.stack(x)


@pytest.mark.statistical
def test_the_share_of_ar1_is_that_of_its_correlation() -> None:
    """(1 - rho) / (1 + rho) for negative, no and strong correlation, within 12 %.

    With 256 chains of 1,000 steps the relative standard deviation over 20 seeds is at most 2.3 %:
    false-alarm rate below 1e-5.
    """
    rho = torch.tensor([-0.5, 0.0, 0.5, 0.9]).double()
    found = effective_share(3 + autoregression(rho, 1000, 256))
    torch.testing.assert_close(found, (1 - rho) / (1 + rho), rtol=0.12, atol=0)


def test_a_known_mean_counts_an_error_of_the_mean_as_correlation() -> None:
    chains = autoregression(torch.tensor([0.3]).double(), 500, 8)
    assert float(effective_share(chains + 1, 0.0)) < 0.5 * float(effective_share(chains + 1, 1.0))


@pytest.mark.parametrize("shape", [(3, 2), (10,)], ids=str)
def test_too_few_steps_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MedscoreError, match="`chains` has the shape"):
        effective_share(torch.randn(*shape))


def test_a_constant_is_refused() -> None:
    with pytest.raises(MedscoreError, match="does not change"):
        effective_share(torch.ones(10, 2))
