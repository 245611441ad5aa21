"""Shell completion of names: priors, presets, methods, tasks and shipped configurations."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, TypeVar, get_type_hints

from typer.models import ParameterInfo

from medscore.cli.words import TASKS
from medscore.errors import MedscoreError

Function = TypeVar("Function", bound=Callable[..., Any])


def _priors() -> Iterable[str]:
    from medscore.priors.catalogue import known_priors, shipped_priors

    try:
        return list(known_priors())
    except MedscoreError:  # a damaged manifest, which the command itself reports
        return list(shipped_priors())


def _fetched() -> Iterable[str]:
    from medscore.priors.catalogue import user_manifest

    try:
        return list(user_manifest().priors)
    except MedscoreError:  # damaged, which the command itself reports
        return ()


def _methods(kind: str) -> Iterable[str]:
    from medscore.registry import methods

    return list(getattr(methods, kind))


def _baselines() -> Iterable[str]:
    from medscore.reconstruction.baselines.methods import BASELINES

    return list(BASELINES)


def _stems(package: str, folder: str, ending: str) -> Iterable[str]:
    inside = (files(package) / folder).iterdir()
    return sorted(one.name[: -len(ending)] for one in inside if one.name.endswith(ending))


def _shipped(*kinds: str) -> Iterable[str]:
    return [name for kind in kinds for name in _stems("medscore.configs", kind, ".yaml")]


NAMES: dict[tuple[str, str], Callable[[], Iterable[str]]] = {
    ("", "prior"): _priors,
    ("info", "name"): _priors,
    ("verify_", "name"): _priors,
    ("remove", "name"): _fetched,
    ("", "preset"): lambda: ["fast", "sharpest", "posterior", "thesis", *_shipped("thesis")],
    ("", "sampler"): lambda: _methods("SAMPLERS"),
    ("", "conditioner"): lambda: _methods("CONDITIONERS"),
    ("", "grid"): lambda: _methods("GRIDS"),
    ("", "across_slices"): lambda: ["auto", *_methods("ACROSS_SLICES")],
    ("", "baseline"): _baselines,
    ("simulate", "task"): lambda: TASKS,
    ("train", "recipe"): lambda: _shipped("train", "supervised"),
    ("evaluate", "config"): lambda: _shipped("eval"),
    ("calibrate", "config"): lambda: _shipped("eval"),
    ("tune", "config"): lambda: _shipped("tune"),
    ("", "modality"): lambda: ("CT", "MR"),
    ("", "score"): lambda: ("psnr", "ssim", "held-out", "sure"),
    ("", "device"): lambda: ("auto", "cpu", "cuda"),
}
"""The names of a parameter, by command (any if empty) and parameter."""

OR_FILES = ("prior", "preset", "recipe", "config")
"""Parameters that take the path of a file as well."""


def completed(function: Function) -> Function:
    """Give the parameters of a command their completions, and return it.

    Args:
        function: the command's implementation.
    """
    hints = get_type_hints(function, include_extras=True)
    for name, hint in hints.items():
        names = NAMES.get((function.__name__, name)) or NAMES.get(("", name))
        for info in getattr(hint, "__metadata__", ()):
            if names is not None and isinstance(info, ParameterInfo):
                info.autocompletion = _completer(names, name in OR_FILES)
    function.__annotations__ = hints
    return function


def _completer(names: Callable[[], Iterable[str]], or_files: bool) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        found = [name for name in names() if name.startswith(incomplete)]
        if or_files:
            found += sorted(glob.glob(f"{glob.escape(incomplete)}*"))
        return found

    return complete
