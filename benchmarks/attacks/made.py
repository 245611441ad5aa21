"""Valid files that medscore's own commands make: measurements, networks and saved states."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attacks import command
from attacks.corpus import Files

RECON = ("--prior", "in/ct.safetensors", "--steps", "2", "--device", "cpu", "-o", "out/run")
GENERATE = ("generate", "--prior", "in/ct.safetensors", "-n", "4", "--steps", "2", "--device",
            "cpu", "-o", "out/run")  # fmt: skip
LIKELIHOOD = ("likelihood", "in/ct.nii.gz", "--prior", "in/ct.safetensors", "--method", "bound",
              "--draws", "1", "--device", "cpu", "-o", "out/run")  # fmt: skip
TRAIN = ("train", "in/recipe.yaml", "--data", "in/data", "--device", "cpu", "-o", "out/run")
TUNE = ("tune", "in/tuning.yaml", "--data", "in/data", "-o", "out/run")
EVALUATE = ("evaluate", "in/evaluation.yaml", "--data", "in/data", "--processes", "1", "-o",
            "out/run")  # fmt: skip
ENCODE = ("encode", "in/ct.nii.gz", "--prior", "in/ct.safetensors", "--tolerance", "1e-1",
          "--precision", "float32", "--device", "cpu", "-o", "out/codes.npz")  # fmt: skip

MADE: dict[str, tuple[tuple[str, ...], str]] = {
    "ct.h5": (("simulate", "in/ct.nii.gz", "--views", "9", "-o", "out/m.h5"), "m.h5"),
    "noisy.h5": (
        ("simulate", "in/ct.nii.gz", "--noise", "gaussian:0.02", "-o", "out/m.h5"), "m.h5",
    ),
    "mri.h5": (("simulate", "in/mr.nii", "--task", "mri", "-o", "out/m.h5"), "m.h5"),
    "coils.h5": (
        ("simulate", "in/mr.nii", "--task", "mri-multicoil", "--coils", "2", "-o", "out/m.h5"),
        "m.h5",
    ),
    "mar.h5": (
        ("simulate", "in/ct.nii.gz", "--task", "mar", "--implant", "5,5,6", "-o", "out/m.h5"),
        "m.h5",
    ),
    "codes.npz": (ENCODE, "codes.npz"),
    "trained": (TRAIN, "run"),
    "classifier.safetensors": (
        ("train", "in/classifier.yaml", "--data", "in/data", "-o", "out/run"),
        "run/classifier.safetensors",
    ),
    "dequantizer.safetensors": (
        ("train", "in/dequantizer.yaml", "--data", "in/data", "-o", "out/run"),
        "run/dequantizer.safetensors",
    ),
    "supervised.safetensors": (
        ("train", "in/supervised.yaml", "--data", "in/data", "-o", "out/run"),
        "run/supervised.safetensors",
    ),
    "cache": (("train", "in/recipe.yaml", "--data", "in/data", "--cache", "out/cache", "-o",
               "out/run"), "cache"),
    "study": (TUNE, "run"),
    "compared": (EVALUATE, "run"),
    "generated": (GENERATE, "run"),
}  # fmt: skip
"""Commands, and the file or folder of ``out`` that each makes."""

STOPPED = {"recon": ("recon", "in/ct.h5", *RECON), "generate": GENERATE, "likelihood": LIKELIHOOD}
"""Commands that are interrupted after their first step; their states are named ``NAME.state``."""


def places(folder: Path) -> Files:
    """Where each file will be, whether it is made or not.

    Args:
        folder: the folder to work in.
    """
    found = {name: folder / name / "out" / output for name, (_, output) in MADE.items()}
    return found | {f"{name}.state": folder / f"{name}.state" / "state" for name in STOPPED}


def make(files: Files, folder: Path, names: set[str]) -> None:
    """Run the commands that make some files, and those that they need.

    Args:
        files: the files that need no command, by name.
        folder: an empty folder to work in.
        names: names of the files to make.

    Raises:
        RuntimeError: a command fails.
    """
    every = files | places(folder)
    for name, (argv, _) in MADE.items():
        if name in names | _needed(names):
            _run(argv, every, folder / name, 0)
    for name, argv in STOPPED.items():
        place = folder / f"{name}.state"
        if place.name in names:
            _run(argv, every, place, 130, partial(_stop, name))
            _state(place / "out").rename(place / "state")


def _needed(names: set[str]) -> set[str]:
    """The files that commands read that make others."""
    words = [word for name in names if name in MADE for word in MADE[name][0]]
    words += [word for name, argv in STOPPED.items() if f"{name}.state" in names for word in argv]
    return {word[3:] for word in words if word.startswith("in/")}


def _run(
    argv: tuple[str, ...], files: Files, place: Path, code: int,
    prepare: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    for name in ("in", "out"):
        (place / name).mkdir(parents=True)
    named = {word[3:] for word in argv if word.startswith("in/")}
    for name in named | {"ct.safetensors", "colour.safetensors"}:
        copy = shutil.copytree if files[name].is_dir() else shutil.copyfile
        copy(files[name], place / "in" / name)
    done = command.run(argv, place, 2**20, prepare=prepare)
    if done.code != code:
        raise RuntimeError(f"medscore {' '.join(argv)}: exit code {done.code}: {done.said}")


def _state(folder: Path) -> Path:
    """The folder that an interrupted command left."""
    (state,) = folder.glob(".*.resume")
    return state


def _stop(name: str) -> None:
    """Interrupt a command after its first step, in this process."""
    from importlib import import_module

    import_module("medscore.cli.app")
    module = sys.modules[f"medscore.cli.{name}"]
    original = module.sampling_bar

    @contextmanager
    def bar(title: str) -> Iterator[Callable[[object], None]]:
        with original(title):
            yield _interrupt

    module.sampling_bar = bar  # type: ignore[attr-defined]


def _interrupt(info: object) -> None:
    raise KeyboardInterrupt
