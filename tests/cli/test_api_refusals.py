"""Samples and quality by the Python API: what would be ignored, or fail later, is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shapes import unchecked_shapes

import medscore as ms
from medscore.conditioners import DPS, DiffPIR
from medscore.conditioners.guidance import EnergyGuidance
from medscore.samplers import DDIM


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"shape": ()}, r"`shape` is \(\) - use \(channel, H, W\)"),
        ({"shape": (16, 16)}, r"`shape` is \(16, 16\)"),
        ({"shape": (1, 0, 16)}, r"`shape` is \(1, 0, 16\)"),
        ({"shape": (3, 16, 16)}, "has 1 channel"),
        ({"shape": 16}, "`shape` is 16"),
        ({"conditioner": "dps"}, "`conditioner` is 'dps' - use an object"),
        ({"conditioner": DPS}, "`conditioner` is the class DPS"),
        ({"sampler": 3}, "`sampler` is 3 - use a name"),
        ({"sampler": DDIM(), "parameters": {"sampler.eta": 1}}, "sampler.eta, .* the object"),
        ({"parameters": {"conditioner.zeta": 1}}, "has conditioner.zeta, .* leave it out"),
        ({"grid": 3}, "`grid` is 3"),
        ({"device": None}, "`device` is None"),
        ({"prior": 3}, "`prior` is 3 - use a prior object"),
        ({"on_step": 3}, "`on_step` is 3"),
    ],
)
def test_sample_refuses_what_it_would_ignore_or_fail_on(
    prior: Path, options: dict[str, Any], why: str
) -> None:
    with unchecked_shapes(), pytest.raises(ms.MedscoreError, match=why):
        ms.sample(**{"prior": prior, "steps": 2, **options})


def test_a_sampler_may_be_given_as_a_class(prior: Path) -> None:
    found, same = (ms.sample(prior, sampler=made, steps=2).x for made in (DDIM, DDIM()))
    assert torch.equal(found, same)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("x", "`reference` is a str"),
        (None, "`reference` is a NoneType"),
        (np.ones((1, 32, 32), complex), "`reference` has the type complex128"),
    ],
)
def test_quality_refuses_what_is_no_image(reference: Any, why: str) -> None:
    with unchecked_shapes(), pytest.raises(ms.MedscoreError, match=why):
        ms.quality(np.ones((1, 32, 32), np.float32), reference)


def test_quality_refuses_what_is_no_convention() -> None:
    image = np.ones((1, 32, 32), np.float32)
    with unchecked_shapes(), pytest.raises(ms.MedscoreError, match="`convention` is 5"):
        ms.quality(image, image, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: DDIM(etaa=1), r"DDIM has no parameter `etaa` - it has eta$"),
        (lambda: DiffPIR(None, None, zetaa=1), r"DiffPIR has no parameter `zetaa` - it has .*zeta"),
        (lambda: EnergyGuidance(enrgy=abs), r"EnergyGuidance has no parameter `enrgy` - it has"),
        (lambda: DPS.with_settings(zetaa=1), r"DPS has no setting zetaa - it has"),
    ],
)
def test_unknown_parameters_of_methods_are_refused_with_those_that_exist(
    make: Callable[[], object], why: str
) -> None:
    with pytest.raises(ms.MedscoreError, match=why):
        make()


def test_a_class_of_the_users_may_take_any_parameters() -> None:
    class Mine(DDIM.__base__):  # type: ignore[misc, name-defined]
        def __init__(self, **settings: float) -> None:
            self.settings = settings

        def step(self, *given: object) -> object:
            return given

    assert Mine(anything=1.0).settings == {"anything": 1.0}
