"""``medscore priors import``: from checkpoints of other libraries to priors that load."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import (
    DDPM,
    MONAI_2D,
    NOISE_LEVEL,
    contract_file,
    diffusers_folder,
    monai_network,
    score_sde_content,
)
from safetensors.torch import save_file

from medscore.nets.ncsnpp import NCSNPPSpec
from medscore.priors.checkpoint import load_prior, verify

Command = Callable[..., Any]
Refused = Callable[..., str]
NEEDED = {name: MONAI_2D[name] for name in ("num_head_channels", "norm_num_groups")}


def monai_source(folder: Path) -> tuple[list[object], dict[str, Any]]:
    save_file(monai_network(**MONAI_2D).state_dict(), folder / "unet.safetensors")
    (folder / "net.json").write_text(json.dumps(NEEDED))
    args = [folder / "unet.safetensors", "--config", folder / "net.json"]
    return args, {"sde": DDPM, "prediction": NOISE_LEVEL}


def diffusers_source(folder: Path) -> tuple[list[object], dict[str, Any]]:
    pytest.importorskip("diffusers")
    diffusers_folder(folder / "model")
    return [folder / "model"], {}


def score_sde_source(folder: Path) -> tuple[list[object], dict[str, Any]]:
    spec = NCSNPPSpec(width=8, multipliers=(1, 2), blocks=1, attention=())
    sigmas = torch.exp(torch.linspace(3.0, -4.0, 10))
    torch.save(score_sde_content(spec, sigmas), folder / "checkpoint_7.pth")
    return [folder / "checkpoint_7.pth"], {"network_range": [0, 1]}


SOURCES = {"monai": monai_source, "diffusers": diffusers_source, "score-sde": score_sde_source}


@pytest.mark.parametrize("kind", SOURCES)
def test_an_imported_prior_is_shown_verified_and_loaded(
    done: Command, tmp_path: Path, kind: str
) -> None:
    source, changes = SOURCES[kind](tmp_path)
    contract, output = contract_file(tmp_path / "c.yaml", **changes), tmp_path / "p.safetensors"
    done("priors", "import", *source, "-o", output, "--contract", contract)
    said = json.loads(done("priors", "info", output).out)
    assert said["network"]["kind"] == {"score-sde": "ncsnpp"}.get(kind, kind)
    low = 0.0 if kind != "score-sde" else -1000.0  # the middle of the range, or its lower end
    assert (said["name"], said["low"], said["high"]) == ("tiny", low, 1000.0)
    assert "intact" in done("priors", "verify", output).out
    x, t = (
        torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.full((2,), 0.5),
    )
    assert load_prior(output).score(x, t).isfinite().all()


@pytest.mark.parametrize("kind", SOURCES)
def test_the_recognised_kind_is_the_given_one(done: Command, tmp_path: Path, kind: str) -> None:
    source, changes = SOURCES[kind](tmp_path)
    contract = contract_file(tmp_path / "c.yaml", **changes)
    seen, said = tmp_path / "seen.safetensors", tmp_path / "said.safetensors"
    done("priors", "import", *source, "-o", seen, "--contract", contract)
    done("priors", "import", *source, "-o", said, "--contract", contract, "--kind", kind)
    a, b = verify(seen), verify(said)
    assert (a.contract, a.sha256) == (b.contract, b.sha256)


@pytest.mark.slow
def test_refusals(refused: Refused, tmp_path: Path) -> None:
    source, changes = monai_source(tmp_path)
    contract, output = contract_file(tmp_path / "c.yaml", **changes), tmp_path / "p.safetensors"
    (tmp_path / "empty").mkdir()
    torch.save({"w": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save({"w": contract}, tmp_path / "path.pt")  # a pickled Path
    last = ["--contract", contract]

    def why(*args: object) -> str:
        return refused("priors", "import", *args)

    assert "see what is missing" in why(tmp_path / "other.pt", "-o", output, *last)
    assert "nothing was executed" in why(tmp_path / "path.pt", "-o", output, *last)
    assert "no config.json" in why(tmp_path / "empty", "-o", output, *last)
    assert "no such file" in why(tmp_path / "none.pt", "-o", output, *last)
    assert "do not define num_head_channels" in why(source[0], "-o", output, *last)
    assert "no known network of score_sde" in why(
        *source, "-o", output, *last, "--kind", "score-sde"
    )
    assert "num_head_channels: there is no such key" in why(
        *source, "-o", output, *last, "--kind", "diffusers"
    )
    assert "not a complete DiffusionModelUNet" in why(
        tmp_path / "other.pt", "-o", output, *last, "--kind", "monai", *source[1:]
    )
    assert "--kind is 'keras'" in why(*source, "-o", output, *last, "--kind", "keras")
    assert "use a name ending in .safetensors" in why(*source, "-o", tmp_path / "p.pt", *last)
    assert "exists already" in why(*source, "-o", source[0], *last)
    assert "--config: not used with a folder, which has its own" in why(
        tmp_path, *source[1:], "-o", output, *last
    )
    assert "no such file" in why(*source, "-o", output, "--contract", tmp_path / "none.yaml")
    contract_file(contract, **changes | {"network_range": None})
    assert "network_range: Field required" in why(*source, "-o", output, *last)
    contract_file(contract)
    assert "no sde, and the checkpoint does not define it" in why(*source, "-o", output, *last)
