"""A kind of weights file: lossless round trip, and every invalid file is rejected."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.specs import Strict
from medscore.io.weights import WeightsFile, check_finite, weights_hash


class Contract(Strict):
    """Header of the files of this test."""

    width: int


class Model(nn.Module):
    """A module with a network, whose weights are stored."""

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self.network = nn.Conv2d(1, contract.width, 3)


def positive(contract: Contract, path: Path) -> None:
    if contract.width < 0:
        raise MedscoreError("negative width", where=path, hint="use a positive one")


def kind(name: str = "test-1") -> WeightsFile[Contract]:
    return WeightsFile(
        format=name, contract=Contract, what="toy", where_from="make it", made_by="the test",
        renew="make it again", check=positive,
    )  # fmt: skip


def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(Model(Contract(width=2)).network.state_dict())


@pytest.fixture(params=[str, Path], ids=["str", "Path"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    target: str | Path = request.param(tmp_path / "toy.safetensors")
    kind().save(target, Contract(width=2), weights())
    return target


def test_what_is_saved_comes_back_frozen(path: str | Path) -> None:
    model, stored = kind().load(path, Model)
    assert stored.contract == Contract(width=2)
    assert not model.training
    for name, value in model.network.named_parameters():
        expected = weights()[name]
        assert torch.equal(value, expected.half().float() if expected.ndim > 1 else expected)
        assert value.dtype == torch.float32
        assert not value.requires_grad


def test_the_stored_hash_is_that_of_the_stored_weights(path: str | Path) -> None:
    assert kind().read(path).sha256 == weights_hash(load_file(path))


def test_altered_weights_are_read_but_not_verified(path: str | Path) -> None:
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    Path(path).write_bytes(content)
    assert kind().read(path).contract == Contract(width=2)
    with pytest.raises(MedscoreError, match=r"toy\.safetensors: weights hash to"):
        kind().verify(path)
    with pytest.raises(MedscoreError, match="weights hash to"):
        kind().load(path, Model)


def test_files_of_another_format_are_refused(path: str | Path) -> None:
    with pytest.raises(MedscoreError, match=r"format is 'test-1', expected 'test-2'.*by the test"):
        kind("test-2").read(path)


def test_a_missing_file_is_refused_with_its_kind_and_a_hint(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match=r"none: no such toy - make it"):
        kind().read(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("contract", "why"),
    [('{"depth": 2}', "broken data contract.*make it again"), ("{", "broken data contract"),
     ('{"width": -1}', "negative width - use a positive one")],
    ids=["key", "json", "check"],
)  # fmt: skip
def test_a_contract_that_breaks_its_schema_or_check_is_refused(
    tmp_path: Path, contract: str, why: str
) -> None:
    header = {"format": "test-1", "contract": contract, "sha256": ""}
    save_file(weights(), tmp_path / "f", metadata=header)
    with pytest.raises(MedscoreError, match=why):
        kind().read(tmp_path / "f")


def test_weights_that_do_not_fit_the_contract_are_refused(tmp_path: Path) -> None:
    kind().save(tmp_path / "f", Contract(width=3), weights())
    with pytest.raises(MedscoreError, match="weights do not fit the network of the contract"):
        kind().load(tmp_path / "f", Model)


BROKEN = {
    "nan": float("nan"), "inf": float("inf"), "minus": -float("inf"), "beyond float16": 65520.0,
}  # fmt: skip


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_weights_that_a_file_cannot_hold_are_not_saved(tmp_path: Path, value: float) -> None:
    wrong = {name: tensor.clone() for name, tensor in weights().items()}
    wrong["weight"][1, 0, 2, 2] = value
    path = tmp_path / "f.safetensors"
    with pytest.raises(MedscoreError, match=r"f\.safetensors: .*NaN or infinite.*: weight - "):
        kind().save(path, Contract(width=2), wrong)
    assert not list(tmp_path.iterdir())
    wrong["weight"][1, 0, 2, 2] = 65504.0
    kind().save(path, Contract(width=2), wrong)
    assert float(kind().verify(path).weights["weight"].max()) == 65504


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_files_with_weights_that_are_not_finite_are_refused(
    tmp_path: Path, name: str, value: float
) -> None:
    stored = {k: v.half() if v.ndim > 1 else v.clone() for k, v in weights().items()}
    stored[name].view(-1)[-1] = value
    header = {"format": "test-1", "contract": '{"width": 2}', "sha256": weights_hash(stored)}
    save_file(stored, tmp_path / "f", metadata=header)
    for use in (kind().verify, lambda path: kind().load(path, Model)):
        with pytest.raises(MedscoreError, match=rf"f: the weights are NaN or infinite: {name} - "):
            use(tmp_path / "f")


def test_integers_complex_and_empty_weights_are_checked_too() -> None:
    sound = {"step": torch.tensor(3), "none": torch.zeros(0, 4), "z": torch.ones(2) + 1j}
    check_finite(sound, "f", "hint")
    with pytest.raises(MedscoreError, match=r"infinite: z, w - hint"):
        check_finite({**sound, "z": sound["z"] / 0, "w": torch.ones(1) / 0}, "f", "hint")
