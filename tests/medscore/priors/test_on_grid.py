"""Priors for any matrix: their contract, and their place on a grid of known pixels."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from local_networks import SMALL, contract, images, local_prior, local_unet
from pydantic import ValidationError

import medscore as ms
from medscore.errors import MedscoreError
from medscore.generation.latent import encode
from medscore.likelihood.divergence import exact
from medscore.likelihood.flow import log_likelihood
from medscore.nets.any_size import without_grid
from medscore.nets.context import InContext
from medscore.nets.tiles import Tiled
from medscore.nets.unet import UNetSpec
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VE

T = torch.tensor([0.3, 0.6])


def noisy(*shape: int) -> torch.Tensor:
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))


def test_a_contract_for_any_matrix_states_its_network_and_survives_json() -> None:
    found = contract()
    assert (found.size, found.matrix) == (None, "any matrix")
    assert found.receptive_field == SMALL.receptive_field == 60
    assert not found.uses_position
    assert json.loads(found.model_dump_json())["size"] is None
    assert DataContract.model_validate_json(found.model_dump_json()) == found
    assert contract(network=SMALL.model_copy(update={"position": True})).uses_position
    fixed = contract(size=32, network=UNetSpec(channels=(8, 8)))
    assert (fixed.matrix, fixed.receptive_field) == ("32 x 32", None)


@pytest.mark.parametrize(
    "changes",
    [{"network": UNetSpec(channels=(8, 8))}, {"modality": "picture", "quantity": "grey"}],
    ids=["attention", "pictures"],
)
def test_only_bounded_networks_of_medical_images_serve_any_matrix(changes: dict[str, Any]) -> None:
    with pytest.raises((MedscoreError, ValidationError), match=r"`?size`? may be null"):
        contract(**changes)


def test_a_concrete_contract_has_one_size_and_pixel() -> None:
    assert contract().at().side == 256
    assert contract().at().spacing_mm == (1.5, 1.5)
    assert contract(spacing_mm=(0.4, 1.0)).at().spacing_mm == (1.0, 1.0)
    chosen = contract().at(100, 2.5)
    assert (chosen.side, chosen.spacing_mm) == (100, (2.5, 2.5))
    fixed = contract(size=32)
    assert fixed.at() is fixed
    with pytest.raises(MedscoreError, match="is for any matrix"):
        _ = contract().side


@pytest.mark.parametrize(
    ("size", "spacing", "words"),
    [
        (0, None, "`size` is 0"), (99_999, None, "`size` is 99999"),
        (64, 3.5, "`spacing` is 3.5 mm, prior any knows pixels of 0.5 to 3 mm"),
        (64, 0.3, "`spacing` is 0.3 mm, prior any knows pixels of 0.5 to 3 mm"),
        (64, float("nan"), "`spacing` is nan"),
    ],
)  # fmt: skip
def test_a_size_or_pixel_that_the_prior_does_not_know_is_refused(
    size: int, spacing: float | None, words: str
) -> None:
    with pytest.raises(MedscoreError, match=words):
        contract().at(size, spacing)


def test_a_prior_of_one_size_refuses_another() -> None:
    fixed = contract(size=32, name="fixed")
    with pytest.raises(
        MedscoreError, match="`size` is 64, but prior fixed has one matrix, 32 x 32"
    ):
        fixed.at(64)
    with pytest.raises(MedscoreError, match="`spacing` is 2, but prior fixed"):
        fixed.at(spacing=2.0)


@pytest.mark.parametrize("shape", [(16, 24), (17, 22)])
def test_the_network_is_given_the_pixel_size_and_position_of_the_padded_grid(
    shape: tuple[int, int],
) -> None:
    """Padding by reflection does not change the pixels: the maps are those of the larger matrix."""
    prior, x = local_prior(), noisy(*shape)
    rows, columns = (-(-n // 4) * 4 for n in shape)
    seen: list[torch.Tensor] = []
    prior.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    found = prior.on_grid(shape, 1.25).denoise(x, T)
    assert found.shape == x.shape
    assert seen[0].shape == (2, 4, rows, columns)
    maps = images(1, 1, rows, columns, pixel_mm=1.25, dtype=torch.float32)[:, 1:]
    assert torch.equal(seen[0][:, 1:], maps.expand(2, -1, -1, -1))
    top, left = (rows - shape[0]) // 2, (columns - shape[1]) // 2
    inner = seen[0][:, :1, top : top + shape[0], left : left + shape[1]]
    into = 1 / (prior.sde.sigma(T) ** 2 + 0.3**2).sqrt()[:, None, None, None]
    torch.testing.assert_close(inner, into * (x - 0.3), rtol=1e-4, atol=1e-5)


def test_the_result_does_not_depend_on_the_batch() -> None:
    prior, x = local_prior().on_grid((18, 23), 0.8), noisy(18, 23)
    both = prior.denoise(x, T)
    single = torch.cat([prior.denoise(x[i : i + 1], T[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(both, single, rtol=0, atol=1e-4)
    assert float((both - x).abs().max()) > 1e-2


def test_the_pixel_size_changes_the_denoised_image() -> None:
    prior, x = local_prior(), noisy(16, 16)
    fine, coarse = (prior.on_grid((16, 16), mm).denoise(x, T) for mm in (0.6, 2.5))
    assert float((fine - coarse).abs().max()) > 1e-3


def test_a_large_image_is_denoised_in_tiles_within_the_memory_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prior, shape = local_prior(), (128, 144)
    x = noisy(*shape)[:1]
    whole = prior.on_grid(shape, 1.0).denoise(x, T[:1])
    monkeypatch.setenv("MEDSCORE_MEMORY", str(100**2 * SMALL.activation_bytes()))
    sizes = list[int]()
    hook = prior.network.register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape[-2] * inputs[0].shape[-1])
    )
    tiles = prior.on_grid(shape, 1.0).denoise(x, T[:1])
    hook.remove()
    assert len(sizes) > 1
    assert max(sizes) <= 100**2
    torch.testing.assert_close(tiles, whole, rtol=0, atol=1e-4)


def test_a_prior_on_a_grid_keeps_its_file_and_can_be_moved_to_another() -> None:
    prior = local_prior()
    prior.sha256 = "abc"
    first = prior.on_grid((20, 20), 1.0)
    assert first.sha256 == "abc"
    assert first.contract == prior.contract
    again = first.on_grid((24, 16), 2.0)
    assert without_grid(again.network) is prior.network
    assert isinstance(again.network, InContext)
    assert isinstance(again.network.network, Tiled)
    x = noisy(24, 16)
    assert torch.equal(again.denoise(x, T), prior.on_grid((24, 16), 2.0).denoise(x, T))


def test_without_a_grid_one_line_says_how_to_place_it() -> None:
    prior, x = local_prior(), noisy(16, 16)
    calls = [
        lambda: prior.denoise(x, T), lambda: prior.score(x, T), lambda: ms.sample(prior),
        lambda: ms.sample(prior, shape=(1, 16, 16)), lambda: log_likelihood(prior, x, exact),
        lambda: encode(prior, x),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(MedscoreError, match="prior any needs the pixel size") as refused:
            call()
        assert "prior.on_grid((rows, columns), pixel_mm)" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_prior_on_a_grid_is_sampled_at_its_shape() -> None:
    for shape in ((16, 16), (16, 20)):
        found = ms.sample(local_prior().on_grid(shape, 1.0), 2, steps=2)
        assert found.x.shape == (2, 1, *shape)


def test_images_of_another_size_than_the_grid_are_refused() -> None:
    with pytest.raises(MedscoreError, match=r"have 16 x 16 pixels, .* on a grid of 16 x 20"):
        local_prior().on_grid((16, 20), 1.0).denoise(noisy(16, 16), T)


@pytest.mark.parametrize("pixel", [5.0, 0.1, 0.0, -1.0, float("inf")])
def test_unknown_pixels_are_refused_unless_they_are_allowed(pixel: float) -> None:
    with pytest.raises(MedscoreError, match=f"`pixel_mm` is {pixel:g}"):
        local_prior().on_grid((16, 16), pixel)
    if 0 < pixel < np.inf:
        placed = local_prior().on_grid((16, 16), pixel, allow_mismatch=True)
        assert placed.denoise(noisy(16, 16), T).isfinite().all()


@pytest.mark.parametrize("shape", [(0, 16), (16, -1)])
def test_an_invalid_shape_is_refused(shape: Any) -> None:
    with pytest.raises(MedscoreError, match="`shape` is"):
        local_prior().on_grid(shape, 1.0)


def test_a_network_without_a_file_is_placed_by_its_specification() -> None:
    prior = NetworkPrior(local_unet(dtype=torch.float32), VE(0.01, 20.0))
    with pytest.raises(MedscoreError, match="the prior LocalUNet needs the pixel size"):
        prior.denoise(noisy(16, 16), T)
    placed, x = prior.on_grid((16, 18), 1.0), noisy(16, 18)
    assert placed.denoise(x, T).shape == x.shape
    again = placed.on_grid((16, 18), 2.0).denoise(x, T)
    assert torch.equal(again, prior.on_grid((16, 18), 2.0).denoise(x, T))


def test_other_priors_take_their_own_size_as_they_are() -> None:
    fixed = contract(size=32, network=UNetSpec(channels=(8, 8), groups=8))
    prior = NetworkPrior(fixed.network.build(), fixed.sde.build(), fixed)
    assert prior.on_grid((32, 32), 1.0) is prior
    assert prior.on_grid((33, 32), 1.0).denoise(noisy(33, 32), T).shape == (2, 1, 33, 32)
    bare = NetworkPrior(torch.nn.Identity(), VE(0.01, 20.0))
    assert bare.on_grid((7, 9), 1.0) is bare
