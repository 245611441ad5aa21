"""Equal objects have equal identities, also after they are built again; others differ."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from medscore.domain import ImageDomain
from medscore.operators.linear import LinearOperator
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.identity import identity_of
from medscore.samplers import DDIM
from medscore.sdes import VE


class Plain:
    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.itself = self


def scaled(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: factor * x


def operator(factor: float) -> LinearOperator:
    return LinearOperator(scaled(factor), scaled(factor), (1, 4, 4))


def network(value: float, sigma: float = 10.0, high: float = 1.0) -> NetworkPrior:
    module = nn.Conv2d(1, 1, 1)
    nn.init.constant_(module.weight, value)
    nn.init.constant_(module.bias, 0)
    domain = ImageDomain(modality="CT", quantity="HU", low=0, high=high)
    return NetworkPrior(module, VE(sigma_max=sigma), domain=domain)


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (Plain, (1.0,), (2.0,)),
        (scaled, (1.0,), (2.0,)),
        (operator, (1.0,), (2.0,)),
        (lambda f: 2 * operator(f), (1.0,), (2.0,)),
        (lambda f: operator(f) @ operator(1.0), (1.0,), (2.0,)),
        (network, (1.0,), (2.0,)),
        (network, (1.0, 10.0), (1.0, 20.0)),
        (network, (1.0, 10.0, 1.0), (1.0, 10.0, 2.0)),
        (lambda eta: DDIM(eta=eta), (0.0,), (1.0,)),
        (lambda n: torch.arange(n), (3000,), (3001,)),
        (lambda f: partial(scaled, f), (1.0,), (2.0,)),
        (lambda f: {"function": scaled(f)}, (1.0,), (2.0,)),
    ],
)
def test_equal_objects_are_equal_and_others_are_not(
    make: Callable[..., object], one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    assert identity_of(make(*one)) == identity_of(make(*one))
    assert identity_of(make(*one)) != identity_of(make(*other))
    assert " at 0x" not in identity_of(make(*one))


def test_classes_of_users_differ_by_their_methods_and_values() -> None:
    def kind(value: float, negative: bool = False) -> object:
        class Kind:
            level = value

            def method(self) -> float:
                return -1 if negative else 1

        return Kind()

    assert identity_of(kind(1.0)) == identity_of(kind(1.0))
    assert identity_of(kind(1.0)) != identity_of(kind(2.0))
    assert identity_of(kind(1.0)) != identity_of(kind(1.0, negative=True))


def test_functions_with_other_code_differ() -> None:
    assert identity_of(lambda x: x) != identity_of(lambda x: -x)
    assert identity_of(lambda x: x + 1) != identity_of(lambda x: x + 2)
    assert identity_of(lambda x: x.real) != identity_of(lambda x: x.imag)
