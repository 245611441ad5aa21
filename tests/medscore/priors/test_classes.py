"""Priors that can be told the class of the images: choice, refusals, grids and guidance."""

from typing import Any

import pytest
import torch
from local_networks import COMPLEX, SMALL, contract, local_prior, write_prior

from medscore.errors import MedscoreError
from medscore.nets.local_unet import LocalUNetSpec
from medscore.priors import (
    ClassGuidance,
    NetworkPrior,
    class_losses,
    clean,
    likeliest_class,
    load_prior,
    log_ratio,
)
from medscore.priors.contract import DataContract
from medscore.priors.counted import Counted
from medscore.sdes.linear import VE

T = torch.tensor([0.3, 0.6])
CLASSED: dict[str, Any] = {"network": SMALL.model_copy(update={"classes": ("T1", "T2")})}
KINDS = pytest.mark.parametrize(
    "changes", [COMPLEX, {**CLASSED, "modality": "MR", "quantity": "magnitude", "low": 0}],
    ids=["complex", "magnitude"],
)  # fmt: skip


def noisy(prior: NetworkPrior, *shape: int) -> torch.Tensor:
    assert prior.domain is not None
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, prior.domain.channels, *shape, generator=generator)


@KINDS
@pytest.mark.parametrize("shape", [(16, 20), (17, 22)])
def test_the_class_can_be_chosen_before_or_after_the_grid(
    changes: dict[str, Any], shape: tuple[int, int]
) -> None:
    prior = local_prior(**changes)
    x = noisy(prior, *shape)
    plain = prior.on_grid(shape, 1.0)
    seen = [plain.denoise(x, T)]
    for name in ("T1", "T2"):
        before = prior.of_class(name).on_grid(shape, 1.0)
        after = plain.of_class(name)
        seen.append(before.denoise(x, T))
        assert torch.equal(after.denoise(x, T), seen[-1])
        assert (before.label, after.shape) == (prior.classes.index(name) + 1, shape)
        moved = before.on_grid((8, 8), 2.0)
        assert moved.label == before.label
        for none in (None, "none"):
            assert torch.equal(before.of_class(none).denoise(x, T), seen[0])
    assert float((seen[0] - seen[1]).abs().max()) > 1e-4
    assert float((seen[1] - seen[2]).abs().max()) > 1e-4
    assert torch.equal(plain.denoise(x, T), seen[0])


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MedscoreError, match="prior any knows no class 'PD'") as refused:
        local_prior(**COMPLEX).of_class("PD")
    assert "use one of: none, T1, T2" in str(refused.value)
    with pytest.raises(MedscoreError, match="prior any knows no class 'T1'") as refused:
        local_prior().of_class("T1")
    assert "\n" not in str(refused.value)


def test_a_prior_without_classes_is_of_no_class_on_every_grid() -> None:
    for prior in (local_prior(), local_prior().on_grid((9, 12), 1.0)):
        assert prior.of_class(None) is prior.of_class("none") is prior


def test_guidance_extrapolates_from_no_class_to_the_class() -> None:
    prior = local_prior(**COMPLEX).on_grid((12, 12), 1.0)
    x = noisy(prior, 12, 12)
    none, told = prior.denoise(x, T), prior.of_class("T2").denoise(x, T)
    for weight in (0.0, 1.0, 2.5):
        found = ClassGuidance(prior.of_class("T2"), weight).denoise(x, T)
        torch.testing.assert_close(found, none + weight * (told - none))


def test_a_guided_prior_counts_both_evaluations() -> None:
    prior = local_prior(**COMPLEX).on_grid((12, 12), 1.0).of_class("T1")
    counted = Counted(ClassGuidance(prior, 2.0))
    counted.denoise(noisy(prior, 12, 12), T)
    assert counted.nfe == 2
    plain = Counted(prior)
    plain.denoise(noisy(prior, 12, 12), T)
    assert plain.nfe == 1


@pytest.mark.parametrize(
    ("name", "weight", "words"),
    [(None, 1.0, "`prior` is of no class.*T1, T2"), ("T1", -1.0, "`weight` is -1"),
     ("T1", float("nan"), "`weight` is nan")],
)  # fmt: skip
def test_guidance_refuses_what_it_cannot_use(name: str | None, weight: float, words: str) -> None:
    with pytest.raises(MedscoreError, match=words):
        ClassGuidance(local_prior(**COMPLEX).of_class(name), weight)


def test_the_contract_states_classes_and_channels_and_survives_its_file(tmp_path: Any) -> None:
    found = contract(**COMPLEX)
    assert (found.classes, found.channels, found.complex_data) == (("T1", "T2"), 2, "two-channel")
    assert DataContract.model_validate_json(found.model_dump_json()) == found
    loaded = load_prior(write_prior(tmp_path / "any.safetensors", **COMPLEX))
    assert loaded.classes == ("T1", "T2")
    assert contract().classes == ()


def test_complex_images_need_a_network_of_two_channels() -> None:
    with pytest.raises(MedscoreError, match="complex images have 2 channels, the network has 1"):
        contract(**{**COMPLEX, **CLASSED})


def test_complex_images_of_a_class_are_denoised_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, shape = local_prior(**COMPLEX).of_class("T2"), (128, 144)
    x = noisy(prior, *shape)[:1]
    whole = prior.on_grid(shape, 1.0).denoise(x, T[:1])
    monkeypatch.setenv("MEDSCORE_MEMORY", str(100**2 * SMALL.activation_bytes()))
    tiles = prior.on_grid(shape, 1.0).denoise(x, T[:1])
    torch.testing.assert_close(tiles, whole, rtol=0, atol=1e-4)
    assert not torch.equal(prior.of_class("T1").on_grid(shape, 1.0).denoise(x, T[:1]), tiles)


class Means(torch.nn.Module):
    """The exact denoiser of images of unknown class, dark or bright: constant means, little spread.

    Args:
        means: mean of no known class and of each class.
    """

    def __init__(self, *means: float) -> None:
        super().__init__()
        self.spec = LocalUNetSpec(classes=("dark", "bright"))
        self.means = torch.nn.Parameter(torch.tensor(means))

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        mean = self.means[x[:, 4, 0, 0].long()][:, None, None, None]
        variance = torch.exp(2 * c)[:, None, None, None]
        return mean + 0.01 / (0.01 + variance) * (x[:, :1] - mean)


def test_the_likeliest_class_is_that_of_the_images() -> None:
    prior = NetworkPrior(
        Means(0.5, 0.2, 0.8), VE(0.01, 20.0), preconditioning=clean, condition=log_ratio
    ).on_grid((16, 16), 1.0)
    generator = torch.Generator().manual_seed(0)
    for name, mean in (("dark", 0.2), ("bright", 0.8)):
        x = mean + 0.1 * torch.randn(2, 1, 16, 16, generator=generator)
        assert likeliest_class(prior, x) == name
        losses = class_losses(prior, x)
        assert set(losses) == {"dark", "bright"}
        assert losses == class_losses(prior, x)
        assert losses != class_losses(prior, x, seed=1)
        assert max(losses.values()) > 1.1 * min(losses.values())
    with pytest.raises(MedscoreError, match="knows no classes"):
        likeliest_class(local_prior().on_grid((16, 16), 1.0), x)
