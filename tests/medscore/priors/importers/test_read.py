"""Foreign files: tensors are read, nothing is executed, and everything else is refused."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from medscore.errors import MedscoreError
from medscore.priors.importers.read import Source, read_content, read_settings, state_dict

WEIGHTS = {"a": torch.arange(3.0), "b": torch.eye(2)}


class Bomb:
    """A pickle that makes a folder when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"model": WEIGHTS, "x": bomb}])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_not_executed(
    tmp_path: Path, wrap: Callable[[Bomb], object], zipped: bool
) -> None:
    hit = tmp_path / "hit"
    pickle.loads(pickle.dumps(Bomb(hit)))
    assert hit.exists()  # the bomb works
    hit.rmdir()
    path = tmp_path / "hostile.pth"
    torch.save(wrap(Bomb(hit)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(MedscoreError, match=r"asks for posix\.mkdir: .* nothing was executed"):
        read_content(path)
    assert not hit.exists()


def test_a_bare_hostile_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    hit, path = tmp_path / "hit", tmp_path / "hostile.pt"
    path.write_bytes(pickle.dumps(Bomb(hit)))
    with pytest.raises(MedscoreError, match="tensors"):
        read_content(path)
    assert not hit.exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_tensors_are_read_whatever_the_name_of_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.bin"
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=kind == "zip")
    found = state_dict(Source(path, read_content(path)))
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither safetensors nor a torch checkpoint"),
        (b"not a checkpoint", "neither safetensors nor a torch checkpoint"),
        (b"PK\x03\x04 not a zip", "neither safetensors nor a torch checkpoint"),
        (b"\xff" * 8 + b"{", "a damaged safetensors file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(MedscoreError, match=why) as refusal:
        read_content(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model": {f"module.{k}": v for k, v in WEIGHTS.items()}, "optimizer": {"state": {}}},
    ],
)
def test_the_one_dictionary_of_tensors_is_found(content: object) -> None:
    found = state_dict(Source(Path("x"), content))
    assert found == WEIGHTS


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (torch.zeros(3), "holds no tensors by name"),
        ({"epoch": 3}, "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"model": WEIGHTS, "ema": WEIGHTS}, "holds several networks: ema, model"),
    ],
)
def test_none_or_several_are_refused(content: object, why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        state_dict(Source(Path("x"), content))


@pytest.mark.parametrize("text", ['{"a": 1e-5, "b": [1, 2]}', "a: 0.00001\nb: [1, 2]\n"])
def test_settings_are_json_or_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings"
    path.write_text(text)
    assert read_settings(path) == {"a": 1e-5, "b": [1, 2]}


@pytest.mark.parametrize("content", [b"- 1\n", b"a: [", b"\xff\xfe\x00"])
def test_other_settings_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings"
    path.write_bytes(content)
    with pytest.raises(MedscoreError, match=r"docs/import\.md|UTF-8"):
        read_settings(path)


def test_pickles_are_refused_where_torch_reads_them_unsafely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")
    read_content(tmp_path / "w.pt")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(MedscoreError, match=r"w\.pt: is a pickle, which torch 2\.5\.1.*2\.6"):
        read_content(tmp_path / "w.pt")
