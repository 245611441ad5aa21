"""``medscore doctor``: what it prints, also of damaged priors and of settings of the user's."""

import getpass
import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medscore.cli import doctor as module
from medscore.priors import catalogue, precision
from medscore.priors.precision import Timing

Command = Callable[..., Any]
SECTIONS = ("machine", "torch", "network", "projectors", "packages", "cache", "priors")


@pytest.fixture(autouse=True)
def _timing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precision, "measure", lambda *given: Timing(0.02, 0.01, 0.001))
    monkeypatch.setenv("MEDSCORE_CACHE", str(tmp_path / "cache"))


def test_it_describes_machine_settings_and_packages(done: Command) -> None:
    found = json.loads(done("doctor", "--json").out)
    assert set(found) == {"medscore", "python", "threads", *SECTIONS}
    assert found["torch"]["version"] == torch.__version__
    assert found["torch"]["threads"] == torch.get_num_threads()
    assert 1 <= found["machine"]["usable_cores"] <= os.cpu_count()
    assert found["network"]["used"] == "bf16"
    assert found["network"]["ms"] == {"float32": 20.0, "bf16": 10.0}
    assert found["projectors"]["csr"] is True
    assert found["packages"]["python-gdcm"]
    assert set(found["priors"].values()) == {"intact"}
    assert found["cache"] == {**found["cache"], "files": 0, "mib": 0}


def test_it_says_which_settings_are_the_users(
    done: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    found = json.loads(done("doctor", "--json").out)["threads"]
    assert found["OMP_WAIT_POLICY"] == {"value": "PASSIVE", "source": "user"}
    assert found["GOMP_SPINCOUNT"] == {"value": None, "source": "default"}


def test_the_text_holds_every_section_and_nobodys_name(done: Command) -> None:
    text = done("doctor").out
    for word in (*SECTIONS[:-1], "GPU", "OMP_NUM_THREADS", "prior ct-128 ", "precision auto: bf16"):
        assert word in text
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text.replace(str(Path.home()), "")


def test_a_damaged_prior_is_named(
    done: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in catalogue.prior_folder().glob("ct-128.*"):
        shutil.copy(path, tmp_path)
    file = tmp_path / "ct-128.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(catalogue, "shipped_priors", lambda: {"ct-128": file})
    assert module._priors()["ct-128"] != "intact"


def test_files_of_the_cache_are_counted(done: Command, tmp_path: Path) -> None:
    (tmp_path / "cache" / "precision").mkdir(parents=True)
    (tmp_path / "cache" / "precision" / "a.json").write_bytes(bytes(2**20))
    assert module._cache() == {"folder": str(tmp_path / "cache"), "files": 1, "mib": 1.0}
