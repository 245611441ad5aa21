"""Features computed by a network that the user provides."""

from pathlib import Path

import pytest
import torch
from support import network_of_features

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
    found = inception_features(network, x, batch=2)
    assert torch.allclose(found, torch.cat([seen.mean(2), seen.std(2)], 1))


def test_other_files_are_refused(tmp_path: Path) -> None:
    x = torch.zeros(2, 1, 4, 4)
    for name, content in (("text", b"no network"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MedscoreError, match="is not a feature network"):
            inception_features(tmp_path / name, x)
    with pytest.raises(MedscoreError, match="nowhere"):
        inception_features(tmp_path / "nowhere.pt", x)
