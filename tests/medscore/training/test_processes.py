"""Two processes (DDP, started by lightning-fabric or torchrun) end with the weights of one."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from training import OBJECTIVE, PLAN, prior, stripes

from medscore.errors import MedscoreError
from medscore.training.loop import train_steps

SUPPORT = Path(__file__).resolve().parents[2] / "support"
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from training import OBJECTIVE, PLAN, prior, stripes
from medscore.engine.launch import processes
from medscore.training.loop import train_steps
plan = replace(PLAN, steps=10, optimiser="sgd", learning_rate=0.1, precision="float64")
with processes("cpu", int(sys.argv[2])) as engine:
    assert engine.world_size == int(sys.argv[2])
    list(train_steps(prior(), stripes, OBJECTIVE, plan, Path(sys.argv[1]), fabric=engine))
"""


def state(folder: Path, devices: int, *launcher: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(script), str(folder), str(devices)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "state.safetensors")


@pytest.mark.process
def test_two_processes_give_the_weights_of_one_with_the_same_batch(tmp_path: Path) -> None:
    """Ten steps of SGD in float64 on 16 images, in one process or 8 in each of two."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    one = state(tmp_path / "one", 1)
    for name, two in {
        "started here": state(tmp_path / "here", 2),
        "torchrun": state(tmp_path / "torchrun", 2, *torchrun),
    }.items():
        assert two.keys() == one.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=0, atol=1e-12, msg=f"{name} {key}")
    moved = one["network.first.weight"] - prior().network.first.weight.double()
    assert moved.norm().item() > 1e-2  # the weights have changed at all


def test_a_batch_that_cannot_be_split_evenly_is_refused(tmp_path: Path) -> None:
    three = create_autospec(Fabric, instance=True, world_size=3, global_rank=0)
    with pytest.raises(MedscoreError, match="batch of 16 cannot be split evenly among 3 processes"):
        next(train_steps(prior(), stripes, OBJECTIVE, PLAN, tmp_path, fabric=three))
