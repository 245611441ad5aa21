"""Valid files that medscore's own commands make: measurements, networks and saved states."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attacks import command
from attacks.corpus import Files

RECON = ("--prior", "in/ct.safetensors", "--steps", "2", "--device", "cpu", "-o", "out/run")
GENERATE = ("generate", "--prior", "in/ct.safetensors", "-n", "1", "--steps", "2", "--device",
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


def make(files: Files, folder: Path) -> Files:
    """Run the commands.

    Args:
        files: the files that need no command, by name.
        folder: an empty folder to work in.

    Returns:
        The files that the commands made, by name.

    Raises:
        RuntimeError: a command fails.
    """
    found: Files = {}
    for name, (argv, output) in MADE.items():
        place = folder / name
        _run(argv, files | found, place, 0)
        found[name] = place / "out" / output
    for name, argv in STOPPED.items():
        place = folder / f"{name}.state"
        _run(argv, files | found, place, 130, lambda name=name: _stop(name))  # type: ignore[misc]
        found[f"{name}.state"] = _state(place / "out")
    return found


def _run(
    argv: tuple[str, ...], files: Files, place: Path, code: int,
    prepare: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    (place / "out").mkdir(parents=True)
    (place / "in").mkdir()
    for name, source in files.items():
        if (
            any(f"in/{name}" == word for word in argv)
            or name.endswith("r.safetensors")
            or name == "ct.safetensors"
        ):
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, place / "in" / name)
    done = command.run(argv, place, 2**20, prepare=prepare)
    if done.code != code:
        raise RuntimeError(f"medscore {' '.join(argv)}: exit code {done.code}: {done.said}")


def _state(folder: Path) -> Path:
    """The one file that an interrupted command left."""
    (state,) = (path for path in folder.iterdir() if path.is_file() and "lock" not in path.name)
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
