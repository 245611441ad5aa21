"""The precision ``auto``: the faster one if the images agree, measured once; injected times."""

import json
import logging
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medscore.engine.items import Item, ItemFolder
from medscore.engine.precision import settle
from medscore.engine.resume import load_progress
from medscore.errors import MedscoreError
from medscore.priors import precision
from medscore.priors.base import Prior
from medscore.priors.network import NetworkPrior
from medscore.priors.precision import VARIABLE, Choice, Timing, choose_precision, psnr_change
from medscore.sdes.base import SDE
from medscore.sdes.ddpm import DDPM
from medscore.sdes.linear import VE, VP, SubVP

SHAPE = (1, 8, 8)


class Network(nn.Module):
    """Half its input, with an error in bf16, after as many seconds as each precision takes."""

    def __init__(self, float32: float, bf16: float, error: float = 0.0) -> None:
        super().__init__()
        self.seconds, self.error = {False: float32, True: bf16}, error
        self.now, self.calls = 0.0, 0
        self.gain = nn.Parameter(torch.tensor(0.5), requires_grad=False)
        self.own = nn.Parameter(torch.tensor([float32, bf16]), requires_grad=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        low = torch.is_autocast_enabled("cpu")
        self.now += self.seconds[low]
        self.calls += 1
        return self.gain * x + (self.error if low else 0.0)

    def clock(self) -> float:
        return self.now


class Fussy(Network):
    """A network that cannot run in autocast."""

    fault: Exception = RuntimeError("not implemented for BFloat16")

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise self.fault
        return super().forward(x, c)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSCORE_CACHE", str(tmp_path))
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(precision, "emulates_bf16", lambda device: False)


def choose(network: Network, sde: SDE | None = None, shape: tuple[int, ...] = SHAPE) -> Choice:
    prior = NetworkPrior(network, sde or VE())
    return choose_precision("auto", prior, shape, clock=network.clock)


@pytest.mark.parametrize(
    "sde", [VE(), VP(), SubVP(), DDPM(100)], ids=lambda sde: type(sde).__name__
)
def test_the_faster_precision_is_taken_where_the_images_agree(sde: SDE) -> None:
    assert choose(Network(0.02, 0.01), sde).name == "bf16"
    assert choose(Network(0.01, 0.02), sde).name == "float32"


def test_bf16_must_be_faster_by_a_tenth() -> None:
    assert choose(Network(0.0108, 0.01)).name == "float32"
    assert choose(Network(0.0112, 0.01)).name == "bf16"


@pytest.mark.parametrize("error", [0.5, math.nan, math.inf])
def test_bf16_is_refused_where_the_images_differ(error: float) -> None:
    found = choose(Network(0.02, 0.01, error))
    assert found.name == "float32"
    assert found.timing is not None
    assert not found.timing.change <= precision.CHANGE


@pytest.mark.parametrize("fault", [RuntimeError("no BFloat16"), TypeError("unsupported type")])
def test_a_network_that_cannot_run_in_bf16_runs_in_float32(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(Fussy, "fault", fault)
    found = choose(Fussy(0.02, 0.01))
    assert found.name == "float32"
    json.dumps(found.record(), allow_nan=False)


def test_an_error_in_float32_is_an_error() -> None:
    class Broken(Network):
        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        choose(Broken(0.02, 0.01))


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_the_change_is_that_of_the_psnr(ratio: float) -> None:
    clean = torch.zeros(2, 1, 2, 2)
    exact = torch.tensor([1.0, -1, 1, -1]).reshape(1, 1, 2, 2).expand(2, -1, -1, -1)
    other = (
        torch.tensor([1.0, 1, -1, -1]).reshape(1, 1, 2, 2)
        * torch.tensor([0.0, ratio])[:, None, None, None]
    )  # orthogonal to the error of one image, none in the other
    expected = 10 * math.log10(1 + ratio**2)
    assert psnr_change(clean, exact, exact + other) == pytest.approx(expected)


def test_images_without_error_agree_only_with_themselves() -> None:
    x = torch.ones(1, 1, 2, 2)
    assert psnr_change(x, x, x) == 0
    assert psnr_change(x, x, x + 0.1) == math.inf


def test_the_test_ends_after_its_time_with_every_precision_timed_once() -> None:
    slow = Network(10.0, 5.0)
    assert choose(slow).name == "bf16"
    assert slow.calls == 4
    quick = Network(0.002, 0.001)
    choose(quick)
    assert quick.calls == 2 * (1 + len(precision.RATIOS))


def test_the_choice_is_repeated_without_the_test() -> None:
    first, again = Network(0.02, 0.01), Network(0.02, 0.01)
    assert choose(first) == choose(again)
    assert again.calls == 0
    other = Network(0.02, 0.01)
    choose(other, shape=(1, 8, 16))
    assert other.calls > 0
    changed = Network(0.02, 0.01)
    changed.gain.data += 0.1
    choose(changed)
    assert changed.calls > 0


def test_a_damaged_file_of_the_cache_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choose(Network(0.02, 0.01))
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{")
    with caplog.at_level(logging.WARNING):
        assert choose(Network(0.02, 0.01)).name == "bf16"
    assert "timed again" in caplog.text
    assert json.loads(file.read_text())["bf16"] == pytest.approx(0.01)


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSCORE_CACHE", str(tmp_path / "file"))
    network = Network(0.02, 0.01)
    assert choose(network).name == "bf16"
    assert network.calls == 2 * (1 + len(precision.RATIOS))
    assert "cannot be stored" in caplog.text


def test_random_numbers_of_the_user_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    choose(Network(0.02, 0.01))
    assert torch.equal(torch.rand(1), expected)


class Gaussian(Prior):
    sde = VE()

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("not to be called")


def test_a_prior_that_is_no_network_stays_in_float32() -> None:
    assert choose_precision("auto", Gaussian(), SHAPE) == Choice("float32", "no network")


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_the_users_word_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert choose_precision(name, Gaussian(), SHAPE) == Choice(name, "given")
    monkeypatch.setenv(VARIABLE, name)
    assert choose_precision("auto", Gaussian(), SHAPE) == Choice(name, VARIABLE)


def test_an_unknown_word_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "half")
    with pytest.raises(MedscoreError, match="MEDSCORE_PRECISION is 'half'"):
        choose_precision("auto", Gaussian(), SHAPE)


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_a_resumed_run_keeps_the_precision_of_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    state, other = tmp_path / "state", {"float32": "bf16", "bf16": "float32"}[name]
    saved = ItemFolder(state, f"run in {name}")
    saved.save_point(Item())
    monkeypatch.setenv(VARIABLE, other)

    def settled(asked: str, title: str = "run") -> Choice:
        return settle(asked, Gaussian(), SHAPE, "cpu", state, lambda p: f"{title} in {p}")

    assert settled("auto") == Choice(name, "state")
    assert settled(other).name == other  # refused by load_progress
    assert settled("auto", "another run").name == other
    saved.remove()
    assert settled("auto").name == other
    saved.save(0, Item())
    assert settled("auto") == Choice(name, "state")


def test_a_damaged_state_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "0000000.safetensors").write_bytes(b"no state")
    found = settle("auto", Gaussian(), SHAPE, "cpu", tmp_path / "state", lambda p: p)
    assert found.name == "float32"
    with pytest.raises(MedscoreError, match="cannot be read"):
        load_progress(ItemFolder(tmp_path / "state", "float32"))


def test_the_record_is_plain_json() -> None:
    timing = Timing(0.02, 0.01, 0.001)
    assert Choice("bf16", "timing", timing).record() == {
        "used": "bf16", "source": "timing", "ms": {"float32": 20.0, "bf16": 10.0},
        "psnr_change_db": 0.001,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("units", "emulated"),
    [
        ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, True),
        ({"amx_bf16": True, "avx512_bf16": False}, False),
        ({"amx_bf16": False, "avx512_bf16": True}, False),
        ({"neon": True}, False),
        ({}, False),
    ],
)
def test_processors_without_units_for_bf16_are_known(
    units: dict[str, bool], emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert precision.emulates_bf16("cpu") is emulated
    assert not precision.emulates_bf16("cuda")
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # versions of torch that do not tell
    assert not precision.emulates_bf16("cpu")


def test_a_processor_without_units_for_bf16_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "emulates_bf16", lambda device: True)
    monkeypatch.setattr(precision, "measure", None)  # would fail if called
    prior = NetworkPrior(Network(1.0, 1.0), VE())
    choice = choose_precision("auto", prior, SHAPE)
    assert (choice.name, choice.source, choice.timing) == ("float32", "no bfloat16 units", None)
