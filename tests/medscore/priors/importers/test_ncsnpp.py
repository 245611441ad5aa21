"""Checkpoints of score_sde_pytorch: the SDE, the prediction, and the resulting score."""

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import CONTRACT, DDPM, contract_file, score_sde_content
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.priors.checkpoint import build_prior
from medscore.priors.contract import DDPMSpec, SubVPSpec, VESpec, VPSpec
from medscore.priors.importers import ncsnpp, score_sde
from medscore.priors.importers.contract import (
    ImportContract,
    ImportedNetwork,
    assemble,
    read_contract,
)
from medscore.priors.importers.read import Source
from medscore.priors.network import NetworkPrior

SIGMAS = torch.exp(torch.linspace(torch.tensor(50.0).log(), torch.tensor(0.01).log(), 100))
TINY: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}
FOURIER = NCSNPPSpec(**TINY)
POSITIONS = NCSNPPSpec(**TINY, resample="plain", progressive_input="none", embedding="positional")


def source(spec: NCSNPPSpec, **changes: Any) -> Source:
    return Source(Path("w.pth"), score_sde_content(spec, SIGMAS) | changes)


def user(**changes: Any) -> ImportContract:
    return ImportContract.model_validate(CONTRACT | changes)


def prior(tmp_path: Path, spec: NCSNPPSpec, **changes: Any) -> tuple[NetworkPrior, ImportedNetwork]:
    path, weights = contract_file(tmp_path / "c.yaml", **changes), tmp_path / "w.pth"
    weights.write_bytes(b"")
    imported = ncsnpp.map_checkpoint(source(spec), read_contract(path))
    contract = assemble(read_contract(path), imported, Source(weights, {}), path)
    made = build_prior(contract).double().eval().requires_grad_(False)
    made.network.load_state_dict(imported.weights)
    return made, imported


def network(spec: NCSNPPSpec, image_range: str) -> nn.Module:
    """The network with the file's averages, in the library's order of the levels."""
    content = score_sde_content(spec, SIGMAS)
    made = spec.model_copy(update={"image_range": image_range}).build().double().eval()
    made.load_state_dict(score_sde.weights(content, spec))
    return made.requires_grad_(False)


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 8, 8, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("network_range", "image_range"), [([0, 1], "unit"), ([-1, 1], "symmetric")]
)
def test_with_fourier_features_the_score_is_the_network_at_log_sigma_over_sigma(
    tmp_path: Path, network_range: list[int], image_range: str
) -> None:
    made, imported = prior(tmp_path, FOURIER, network_range=network_range)
    assert imported.sde == VESpec(sigma_min=0.01, sigma_max=50.0)
    assert imported.steps == 7
    t, x = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64), images(3)
    sigma = made.sde.sigma(t)
    expected = network(FOURIER, image_range)(x, sigma.log()) / sigma[:, None, None, None]
    torch.testing.assert_close(made.score(x, t), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("sde", [VPSpec(), SubVPSpec()])
def test_with_positions_the_score_is_the_network_at_999_t_over_sigma(
    tmp_path: Path, sde: VPSpec | SubVPSpec
) -> None:
    made, _ = prior(tmp_path, POSITIONS, sde=sde.model_dump())
    t, x = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64), images(3)
    sigma = sde.build().sigma(t)[:, None, None, None]
    expected = -network(POSITIONS, "symmetric")(x, 999 * t) / sigma
    torch.testing.assert_close(made.score(x, t), expected, rtol=1e-8, atol=1e-8)


def test_on_ddpms_chain_it_is_the_network_at_the_step_over_sigma(tmp_path: Path) -> None:
    made, _ = prior(tmp_path, POSITIONS, sde=DDPM)
    steps, x = torch.tensor([0, 499, 999]), images(3)
    t = (steps + 1).double() / 1000
    sigma = DDPMSpec().build().sigma(t)[:, None, None, None]
    expected = -network(POSITIONS, "symmetric")(x, steps.double()) / sigma
    torch.testing.assert_close(made.score(x, t), expected, rtol=1e-8, atol=1e-8)


def test_noise_scales_counted_from_the_most_noise_are_counted_from_the_least(
    tmp_path: Path,
) -> None:
    ve = {"kind": "ve", "sigma_min": 0.01, "sigma_max": 50.0}
    made, imported = prior(tmp_path, POSITIONS, sde=ve, network_range=[0, 1])
    assert imported.prediction is not None
    assert imported.prediction.levels == 100
    theirs, x = torch.tensor([0, 40, 99]), images(3)  # 0 is sigma_max
    t = made.sde.eps + (1 - made.sde.eps) * (99 - theirs).double() / 99
    sigma = made.sde.sigma(t)[:, None, None, None]
    torch.testing.assert_close(sigma.flatten(), SIGMAS[theirs].double(), rtol=2e-4, atol=0)
    expected = network(POSITIONS, "unit")(x, theirs.double()) / sigma
    # the changed weights are in single precision
    torch.testing.assert_close(made.score(x, t) * sigma, expected * sigma, rtol=1e-4, atol=1e-4)


VE = {"kind": "ve", "sigma_min": 0.01, "sigma_max": 50.0}


@pytest.mark.parametrize(
    ("spec", "changes", "why"),
    [
        (
            FOURIER,
            {"sde": {"kind": "vp"}},
            "Fourier features of a VE SDE, but the contract's sde is vp",
        ),
        (FOURIER, {"network_range": [0, 2]}, r"network_range \(0.0, 2.0\) does not occur"),
        (POSITIONS, {}, "no sde, and the checkpoint does not define it"),
        (
            POSITIONS,
            {"sde": VE | {"sigma_max": 40.0}},
            "sde is .*40.0, but .*50.0.* in the checkpoint",
        ),
        (FOURIER, {"prediction": {"target": "noise"}}, "prediction is .*noise"),
    ],
)
def test_contradictions_and_gaps_are_refused(
    tmp_path: Path, spec: NCSNPPSpec, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        prior(tmp_path, spec, **changes)


def test_averages_of_another_network_are_refused() -> None:
    with pytest.raises(MedscoreError, match=r"w\.pth: its `ema` has 1 tensors"):
        ncsnpp.map_checkpoint(source(FOURIER, ema={"shadow_params": [torch.zeros(1)]}), user())


def test_a_file_without_noise_scales_leaves_the_sde_to_the_user() -> None:
    content = score_sde_content(FOURIER, SIGMAS)
    del content["model"]["module.sigmas"]
    assert ncsnpp.map_checkpoint(Source(Path("w"), content), user()).sde is None
    content = score_sde_content(POSITIONS, SIGMAS)
    del content["model"]["module.sigmas"]
    with pytest.raises(MedscoreError, match="the file lacks `sigmas`"):
        ncsnpp.map_checkpoint(Source(Path("w"), content), user(sde=VE))


def test_a_configuration_is_refused_and_other_files_are_not_recognised() -> None:
    found = source(FOURIER)
    assert ncsnpp.recognises(found)
    with pytest.raises(MedscoreError, match="`config`: not used"):
        ncsnpp.map_checkpoint(Source(found.path, found.content, config={"a": 1}), user())
    for content in ({"model": {"a": torch.zeros(1)}}, {"epoch": 3}, torch.zeros(1)):
        other = Source(Path("w"), content)
        assert not ncsnpp.recognises(other)
        with pytest.raises(MedscoreError, match="no known network of score_sde_pytorch"):
            ncsnpp.map_checkpoint(other, user())
