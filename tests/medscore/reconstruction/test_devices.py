"""A volume whose slices two processes share: started here, by torchrun, or after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from stacks import prior, scan, volume

from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file

SUPPORT = Path(__file__).resolve().parents[2] / "support"
SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from stacks import prior
from medscore.engine import loop
from medscore.reconstruction.run import choose_method
from medscore.reconstruction.saving import reconstruct_file
measurement, output, devices, rule, kill = sys.argv[1:]
loop.SAVE_SECONDS = -1.0
done = []
def step(info):
    done.append(info.done)
    if info.done == int(kill):
        os.kill(os.getpid(), signal.SIGKILL)
method = choose_method(prior(), steps=5, samples=2, preset="sharpest", across_slices=rule)
reconstruct_file(measurement, output, method, devices=int(devices), on_step=step)
print("steps", *done)
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def ran(
    folder: Path, m: Measurement, *launcher: str, devices: int, rule: str, kill: int = -1
) -> subprocess.CompletedProcess[str]:
    file, script = folder / "m.h5", folder / "script.py"
    if not file.exists():
        write_measurement(file, m)
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    own = str(file), str(folder / "out"), str(devices), rule, str(kill)
    command = [sys.executable, *launcher, str(script), *own]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def result(folder: Path, m: Measurement, *launcher: str, devices: int, rule: str) -> NDArray:
    folder.mkdir()
    done = ran(folder, m, *launcher, devices=devices, rule=rule)
    assert done.returncode == 0, done.stderr
    return values(folder)


def values(folder: Path) -> NDArray[np.float64]:
    image: nibabel.Nifti1Image = nibabel.load(folder / "out/recon.nii.gz")  # type: ignore
    assert not list(folder.glob(".out*"))  # neither a state nor a part is left
    return np.asarray(image.dataobj, dtype=np.float64)


@pytest.mark.process
@pytest.mark.parametrize(
    ("task", "rule"), [("sparse-ct", "tv"), ("sparse-ct", "none"), ("cone-ct", "tv")]
)
def test_two_processes_give_the_volume_of_one(tmp_path: Path, task: str, rule: str) -> None:
    m = simulate(volume(), task, views=5, noise="gaussian:0.01")
    one = result(tmp_path / "one", m, devices=1, rule=rule)
    two = result(tmp_path / "two", m, devices=2, rule=rule)
    under = result(tmp_path / "torchrun", m, *TORCHRUN, devices=1, rule=rule)
    for each in (two, under):
        assert np.abs(each - one).max() <= 1e-5 * np.ptp(one)


@pytest.mark.process
def test_a_killed_run_of_two_processes_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """In two processes, and in one."""
    whole = result(tmp_path / "whole", scan(), devices=2, rule="tv")
    for devices in (2, 1):
        folder = tmp_path / f"killed{devices}"
        folder.mkdir()
        killed = ran(folder, scan(), devices=2, rule="tv", kill=8)
        assert killed.returncode == -signal.SIGKILL
        assert (folder / ".out.resume").exists()
        again = ran(folder, scan(), devices=devices, rule="tv")
        assert again.returncode == 0, again.stderr
        assert again.stdout.splitlines()[-1] == "steps 8 9 10"
        if devices == 2:
            np.testing.assert_array_equal(values(folder), whole)
        else:
            assert np.abs(values(folder) - whole).max() <= 1e-5 * np.ptp(whole)


def test_a_process_of_another_launcher_writes_its_own_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launchers of batch systems number processes that have nothing to do with each other."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "3")
    write_measurement(tmp_path / "m.h5", scan())
    method = choose_method(prior(), steps=2)
    reconstruct_file(tmp_path / "m.h5", tmp_path / "out", method)
    assert (tmp_path / "out/recon.nii.gz").exists()


def test_more_processes_of_torchrun_than_slices_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "6"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    write_measurement(tmp_path / "m.h5", scan())
    with pytest.raises(MedscoreError, match="`devices` is 6, but there are 5 slices"):
        reconstruct_file(tmp_path / "m.h5", tmp_path / "out", choose_method(prior()))


@pytest.mark.parametrize(
    ("devices", "given", "why"),
    [
        (6, {}, "`devices` is 6, but there are 5 slices to share - use at most 5"),
        (2, {"method": "fbp"}, "`devices` is 2, but a baseline runs in one process"),
        (0, {}, "`devices` is 0"),
    ],
)
def test_processes_that_cannot_share_a_measurement_are_refused(
    tmp_path: Path, devices: int, given: dict[str, str], why: str
) -> None:
    write_measurement(tmp_path / "m.h5", scan())
    method = choose_method(**(given or {"prior": prior()}))  # type: ignore[arg-type]
    with pytest.raises(MedscoreError, match=why) as caught:
        reconstruct_file(tmp_path / "m.h5", tmp_path / "out", method, devices=devices)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
