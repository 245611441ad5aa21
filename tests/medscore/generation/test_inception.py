"""Features computed by a network that the user provides."""

import warnings
from pathlib import Path

import pytest
import torch
from support import network_of_features
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.generation.inception import inception_features


@pytest.fixture
def network(tmp_path: Path) -> Path:
    network_of_features(tmp_path / "net.pt")
    return tmp_path / "net.pt"


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
def test_it_sees_bytes_of_three_channels(network: Path, channels: int) -> None:
    x = torch.rand(5, channels, 4, 4, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    seen = (x.clamp(0, 1) * 255).round().expand(-1, 3, -1, -1).flatten(2)
    found = inception_features(network, x, trust=True, batch=2)
    assert torch.allclose(found, torch.cat([seen.mean(2), seen.std(2)], 1))


def test_other_files_are_refused(tmp_path: Path) -> None:
    x = torch.zeros(2, 1, 4, 4)
    for name, content in (("text", b"no network"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MedscoreError, match="is not a feature network"):
            inception_features(tmp_path / name, x, trust=True)
    with pytest.raises(MedscoreError, match="nowhere"):
        inception_features(tmp_path / "nowhere.pt", x)


class Writer(nn.Module):
    """A network that makes a file when it is run, as any TorchScript can."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def forward(self, x: Tensor) -> Tensor:
        written = torch.from_file(self.file, shared=True, size=4)
        return x.flatten(1).float() + written.sum()


def test_a_program_is_only_run_by_who_trusts_it(tmp_path: Path) -> None:
    network, written = tmp_path / "net.pt", tmp_path / "written"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Writer(str(written))).save(str(network))
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(MedscoreError, match=r"net\.pt: is TorchScript.* not run .*`trust`"):
        inception_features(network, x)
    assert not written.exists()
    inception_features(network, x, trust=True)
    assert written.exists()
