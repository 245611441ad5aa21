"""The long commands on small problems, what their results are, and how much a kill may cost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from launcher import Ended, launch
from safetensors import safe_open

from medscore.nets.unet import UNetSpec
from medscore.priors.checkpoint import build_prior, save_prior
from medscore.priors.contract import DataContract, Provenance, VESpec

SIDE = 16
EVERY = 20
"""Steps of a sampler between two saves of its state."""

TRAINING = {
    "name": "net", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
    "size": SIDE, "data": ["scan.nii.gz"], "validation": ["other.nii.gz"], "licence": "CC0",
    "sde": {"kind": "ve", "sigma_min": 0.01, "sigma_max": 10.0},
    "network": {"kind": "unet", "channels": [8, 8], "blocks": 1, "fold": 1, "groups": 4},
    "objective": {"kind": "edm"},
    "plan": {"steps": 26, "batch": 2, "learning_rate": 1e-3, "warmup": 2, "save_every": 5,
             "log_every": 3, "validate_every": 4, "sample_every": 13},
}  # fmt: skip

COHORT = {"modality": "CT", "data": ["scan.nii.gz"], "size": SIDE}
TASK = {"name": "9 views", "scan": {"task": "sparse-ct", "views": 9}}
TV = {"kind": "fista-tv", "weight": 1e-3, "iterations": 5}
TUNING = {
    "name": "weight", "trials": 13, "score": "psnr", "cohort": {**COHORT, "limit": 1},
    "task": TASK, "method": {"name": "TV", "baseline": TV},
    "search": {"weight": {"low": 1e-5, "high": 1.0, "log": True},
               "iterations": {"low": 2, "high": 6, "integer": True}},
}  # fmt: skip
VALUES = {"weight": {"values": [1e-4, 1e-3, 1e-2]}, "iterations": {"values": [2, 4]}}
GRID = {**TUNING, "name": "grid", "trials": 100, "search": VALUES}


@dataclass(frozen=True)
class Case:
    """A long command.

    Attributes:
        name: the command.
        words: its arguments without the output.
        output: name of its output.
        unit: dotted name of the function that does a piece of work.
        lost: largest number of pieces of work that a kill may cost.
        piece: what a piece of work is, in the plural.
        keeps: whether the output folder is continued, instead of appearing at the end.
    """

    name: str
    words: list[object]
    output: str
    unit: str
    lost: int
    piece: str
    keeps: bool = False

    def run(self, folder: Path, said: Path, **how: Any) -> Ended:
        """Run the command with its output in a folder.

        Args:
            folder: the folder.
            said: file for what it prints.
            how: as for :func:`launcher.launch`.
        """
        words = [*self.words, "-o", folder / self.output]
        return launch([str(word) for word in words], said, count=self.count, **how)

    def count(self, tick: Callable[[], object]) -> None:
        """Patch this process so that every piece of work is counted.

        Args:
            tick: counts one.
        """
        import importlib

        module, _, name = self.unit.rpartition(":")
        owner: Any = importlib.import_module(module)
        *parts, last = name.split(".")
        for part in parts:
            owner = getattr(owner, part)
        real = getattr(owner, last)

        def counted(*args: Any, **kwargs: Any) -> Any:
            tick()
            return real(*args, **kwargs)

        setattr(owner, last, counted)


def cases(data: Path) -> list[Case]:
    """The cases, on inputs written into a folder.

    Args:
        data: an empty folder.
    """
    prior = _inputs(data)
    for name, content in (("net", TRAINING), ("tune", TUNING), ("grid", GRID)):
        (data / f"{name}.yaml").write_text(yaml.safe_dump(content))
    ours = {"prior": str(prior), "samples": 2, "steps": 4, "precision": "float32"}
    comparison = {
        "name": "kills", "title": "Kills", "ours": "ours", "metric": {"convention": "ct"},
        "cohort": COHORT, "tasks": [TASK], "pictures": 1,
        "methods": [{"name": "TV", "baseline": TV}, {"name": "ours", "prior": ours}],
    }  # fmt: skip
    (data / "eval.yaml").write_text(yaml.safe_dump(comparison))
    device = ["--device", "cpu", "--prior", prior]
    exact = ["--tolerance", 0.1, "--precision", "float32", *device]
    pc = ["--sampler", "pc", "--conditioner", "proximal", "--grid", "uniform", "--steps", 45]
    network = "medscore.priors.counted:Counted.denoise"
    score = "medscore.tuning.objective:Search._one"
    coding, nfe = "medscore.generation.coding", "evaluations"
    bound = ["--method", "bound", "--draws", 4]
    folder = ["--data", data]
    return [
        Case("recon", ["recon", data / "m.h5", *pc, "--batch-size", 1, *device], "out", network,
             2 * EVERY + 1, nfe),
        Case("generate", ["generate", "-n", 4, "--batch-size", 2, "--steps", 45, *device], "out",
             network, EVERY + 1, nfe),
        Case("train", ["train", data / "net.yaml", *folder], "out",
             "medscore.training.loop:draw", 5, "steps", keeps=True),
        Case("evaluate", ["evaluate", data / "eval.yaml", *folder, "--processes", 1], "out",
             "medscore.evaluation.methods:cell_of", 1, "cells", keeps=True),
        Case("tune (sampled)", ["tune", data / "tune.yaml", *folder], "out", score, 1, "trials",
             keeps=True),
        Case("tune (grid)", ["tune", data / "grid.yaml", *folder], "out", score, 1, "trials",
             keeps=True),
        Case("encode", ["encode", data / "scan.nii.gz", *exact], "codes.npz", f"{coding}:encode",
             1, "images"),
        Case("decode", ["decode", data / "codes.npz", *exact], "out", f"{coding}:decode", 1,
             "images"),
        Case("likelihood", ["likelihood", data / "scan.nii.gz", *bound, *device], "out",
             "medscore.likelihood.report:assess_image", 1, "images"),
    ]  # fmt: skip


def _inputs(data: Path) -> Path:
    """Write two scans, a measurement, codes and an untrained prior; returns the prior."""
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    discs = [np.where(np.hypot(x, y) < 3 + k, 40.0 * k, -1000.0) for k in range(5)]
    for name, slices in (("scan", discs[:3]), ("other", discs[3:])):
        image = nib.Nifti1Image(np.float32(slices).transpose(2, 1, 0), np.diag([-3, -3, 5, 1.0]))
        nib.save(image, data / f"{name}.nii.gz")
    contract = DataContract(
        name="tiny", modality="CT", quantity="HU", low=-1000, high=1500, size=SIDE,
        spacing_mm=(1.0, 6.0), data_mean=0.3, data_std=0.3,
        sde=VESpec(sigma_min=0.01, sigma_max=20.0),
        network=UNetSpec(channels=(8, 8), blocks=1, fold=1, groups=4),
        provenance=Provenance(data="none", patients=1, slices=1, steps=0, seed=0, licence="CC0"),
    )  # fmt: skip
    torch.manual_seed(0)
    prior = data / "tiny.safetensors"
    save_prior(prior, contract, build_prior(contract).network.state_dict())
    said = data / "said.txt"
    for words in (
        ["simulate", data / "scan.nii.gz", "--views", 9, "--noise", "gaussian:0.02",
         "-o", data / "m.h5"],
        ["encode", data / "scan.nii.gz", "--prior", prior, "--tolerance", 0.1,
         "--precision", "float32", "-o", data / "codes.npz"],
    ):  # fmt: skip
        ended = launch([str(word) for word in words], said)
        assert ended.code == 0, ended.said
    return prior


def results(folder: Path) -> dict[str, object]:
    """All files below a folder that must be equal, by name, without times of day and durations.

    TensorBoard has a file for each start, and SQLite's file holds times of day: they are left out.

    Args:
        folder: the folder.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and "tensorboard" not in name and path.name != "study.db":
            found[name] = _content(path)
        elif path.is_dir():
            found[name] = "folder"
    return found


def _content(path: Path) -> object:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.name == "table.csv" or path.name == "slices.csv":
        rows = csv.DictReader(io.StringIO(path.read_text()))
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]
    if path.suffix == ".md":  # its tables are those of the CSV files
        lines = path.read_text().splitlines()
        return [line for line in lines if not line.startswith(("|", "Written by"))]
    if path.suffix == ".safetensors":  # the order of its header is random
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            return dict(header), {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
    return path.read_bytes()


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "seconds" not in k}
    return [_timeless(v) for v in value] if isinstance(value, list) else value
