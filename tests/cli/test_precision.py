"""The precision ``auto`` of commands: recorded, and kept when a run is resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import medscore as ms
from medscore.engine.loop import StepInfo
from medscore.errors import Interrupted
from medscore.generation import generate
from medscore.priors.precision import VARIABLE

Command = Callable[..., Any]
Args = list[object]


def _said(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return found


def _image(folder: Path) -> bytes:
    return (folder / "recon.nii.gz").read_bytes()


@pytest.fixture(scope="module")
def low(done: Command, recon_args: Args, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reconstruction in bf16."""
    folder = tmp_path_factory.mktemp("low") / "bf16"
    done(*recon_args, "--precision", "bf16", "-o", folder)
    return folder


def test_auto_is_the_default_and_its_choice_is_recorded(
    done: Command, recon_args: Args, low: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "bf16")
    done(*recon_args, "-o", tmp_path / "auto")
    assert _image(tmp_path / "auto") == _image(low)
    said = _said(tmp_path / "auto")
    assert said["precision"] == {"used": "bf16", "source": VARIABLE}
    assert said["settings"] == _said(low)["settings"]
    assert _said(low)["precision"] == {"used": "bf16", "source": "given"}


def test_python_chooses_as_the_command_does(
    noisy: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "bf16")
    found = ms.reconstruct(noisy, prior, steps=2)
    assert found.record["precision"]["used"] == "bf16"
    assert ms.reconstruct(noisy, prior, steps=2, precision="float32").record["precision"] == {
        "used": "float32", "source": "given",
    }  # fmt: skip


def test_a_resumed_run_keeps_its_precision(
    medscore: Command,
    done: Command,
    recon_args: Args,
    interrupt: Callable[..., None],
    low: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(VARIABLE, "bf16")
    interrupt(3)
    assert medscore(*recon_args, "-o", tmp_path / "out").code == 130
    monkeypatch.undo()  # now auto is float32
    done(*recon_args, "-o", tmp_path / "out")
    assert _image(tmp_path / "out") == _image(low)
    assert _said(tmp_path / "out")["precision"] == {"used": "bf16", "source": VARIABLE}


def test_a_run_is_not_resumed_in_another_precision_than_its_own(
    medscore: Command,
    recon_args: Args,
    interrupt: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(VARIABLE, "bf16")
    interrupt(3)
    assert medscore(*recon_args, "-o", tmp_path / "out").code == 130
    monkeypatch.undo()
    result = medscore(*recon_args, "--precision", "float32", "-o", tmp_path / "out")
    assert result.code == 2
    assert "another" in result.err or "other settings" in result.err


def test_an_unknown_precision_in_the_environment_is_refused(
    medscore: Command, recon_args: Args, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "half")
    result = medscore(*recon_args, "-o", tmp_path / "out")
    assert result.code == 2
    assert f"{VARIABLE} is 'half'" in result.err
    assert not list(tmp_path.iterdir())


def test_generated_images_keep_their_precision_too(
    prior: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(info: StepInfo) -> None:
        if info.done == 3:
            raise KeyboardInterrupt

    given: dict[str, Any] = {"count": 2, "steps": 8, "device": "cpu", "output": tmp_path / "out"}
    whole = generate(prior, **{**given, "output": None}, precision="bf16")
    monkeypatch.setenv(VARIABLE, "bf16")
    with pytest.raises(Interrupted):
        generate(prior, **given, on_step=stop)
    monkeypatch.undo()  # now auto is float32
    found = generate(prior, **given)
    assert torch.equal(found.images, whole.images)
    assert found.provenance["precision"] == {"used": "bf16", "source": VARIABLE}
