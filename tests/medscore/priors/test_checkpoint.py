"""Prior files are complete, verified and never pickled."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medscore.errors import MedscoreError
from medscore.nets.unet import UNetSpec
from medscore.priors.checkpoint import build_prior, load_prior, read_checkpoint, save_prior, verify
from medscore.priors.contract import (
    DataContract,
    Provenance,
    SubVPSpec,
    VESpec,
    VPSpec,
)
from medscore.sdes.linear import VE, VP, SubVP


def contract(**changes: object) -> DataContract:
    fields: dict[str, object] = {
        "name": "tiny",
        "modality": "CT",
        "quantity": "HU",
        "low": -1000.0,
        "high": 1500.0,
        "size": 16,
        "spacing_mm": (1.0, 6.0),
        "data_mean": 0.1,
        "data_std": 0.2,
        "sde": VESpec(),
        "network": UNetSpec(channels=(8, 8), groups=4),
        "provenance": Provenance(
            data="none", patients=0, slices=0, steps=0, seed=0, licence="none"
        ),
    }
    return DataContract.model_validate(fields | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    target = tmp_path / "tiny.safetensors"
    save_prior(target, contract(), build_prior(contract()).network.state_dict())
    return target


def test_a_saved_prior_comes_back_with_contract_and_weights(path: Path) -> None:
    torch.manual_seed(0)
    original = build_prior(contract())
    loaded = load_prior(path)
    assert loaded.contract == contract()
    for name, value in original.network.state_dict().items():
        stored = loaded.network.state_dict()[name]
        torch.testing.assert_close(stored, value, rtol=1e-3, atol=1e-6)
        assert stored.dtype == torch.float32
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(
    ("spec", "sde"),
    [
        (VESpec(sigma_min=0.02, sigma_max=9.0), VE(0.02, 9.0)),
        (VPSpec(), VP()),
        (SubVPSpec(beta_max=10.0), SubVP(0.1, 10.0)),
    ],
)
def test_the_header_rebuilds_the_sde(tmp_path: Path, spec: object, sde: object) -> None:
    c = contract(sde=spec)
    target = tmp_path / "p.safetensors"
    save_prior(target, c, build_prior(c).network.state_dict())
    assert load_prior(target).sde == sde


def test_kernels_are_halved_and_what_has_one_axis_is_kept(path: Path) -> None:
    torch.manual_seed(0)
    for name, value in build_prior(contract()).network.state_dict().items():
        stored = read_checkpoint(path).weights[name]
        assert torch.equal(stored, value.half() if value.ndim > 1 else value)


def test_the_layout_in_memory_does_not_matter(tmp_path: Path, path: Path) -> None:
    torch.manual_seed(0)
    last = build_prior(contract()).network.to(memory_format=torch.channels_last).state_dict()
    save_prior(tmp_path / "last.safetensors", contract(), last)
    assert verify(tmp_path / "last.safetensors").sha256 == verify(path).sha256


def test_one_changed_byte_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(MedscoreError, match="damaged"):
        verify(path)


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise AssertionError('the pickle was executed')",))

    target = tmp_path / "model.pt"
    target.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(MedscoreError, match="not a safetensors file"):
        read_checkpoint(target)


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(3)}, target)
    with pytest.raises(MedscoreError, match="format is None"):
        read_checkpoint(target)


def test_another_preprocessing_version_is_refused(tmp_path: Path) -> None:
    c = contract(preprocessing=99)
    target = tmp_path / "p.safetensors"
    save_prior(target, c, build_prior(c).network.state_dict())
    with pytest.raises(MedscoreError, match="preprocessing version 99"):
        load_prior(target)


def test_a_broken_contract_is_refused(tmp_path: Path) -> None:
    header = {"format": "medscore-prior-1", "contract": '{"name": "x"}', "sha256": ""}
    target = tmp_path / "p.safetensors"
    save_file({"w": torch.zeros(3)}, target, metadata=header)
    with pytest.raises(MedscoreError, match="broken data contract"):
        read_checkpoint(target)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = contract(network=UNetSpec(channels=(16, 16), groups=4))
    target = tmp_path / "p.safetensors"
    save_prior(target, contract(), build_prior(other).network.state_dict())
    with pytest.raises(MedscoreError, match="do not fit"):
        load_prior(target)


def test_a_missing_prior_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match=r"none\.safetensors: no such prior"):
        read_checkpoint(tmp_path / "none.safetensors")


@pytest.mark.parametrize("changes", [{"low": 5.0, "high": 5.0}, {"spacing_mm": (2.0, 1.0)}])
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        contract(**changes)
