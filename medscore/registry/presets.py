"""Presets of ``medscore recon``: named settings, over which single options go.

``fast`` is the default; the dissertation's are YAML files in ``configs/thesis/``, and any such file
can be given by its path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medscore.errors import MedscoreError
from medscore.io.specs import Strict, first_fault
from medscore.registry.checks import check_precision, check_ranges

THESIS = "thesis"
"""Short for the dissertation's sparse-view CT."""


@dataclass(frozen=True)
class Settings:
    """The choices that fix a reconstruction; they are recorded in provenance.json.

    The defaults are the preset ``fast``: docs/conditioners.md compares it with the others. Without
    a prior it is the shipped one of the measurement's modality.
    """

    prior: str | None = None
    sampler: str = "ddim"
    conditioner: str = "diffpir"
    steps: int = 49
    grid: str = "focused"
    snr: float = 0.45
    lam: float | None = None
    samples: int = 1
    seed: int = 0
    noise: str = "recorded"
    precision: str = "float32"

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            MedscoreError: naming the option.
        """
        check_ranges(
            ("--steps", self.steps, 1, 100_000),
            ("--samples", self.samples, 1, 10_000),
            ("--snr", self.snr, 1e-6, 10),
            ("--lam", 1.0 if self.lam is None else self.lam, 0, 1),
            ("--seed", self.seed, 0, 2**63 - 1),
        )
        check_precision(self.precision)


DEFAULTS = Settings()


class _Preset(Strict):
    sampler: str
    conditioner: str
    grid: str
    steps: int
    snr: float
    lam: float | None = None


def preset(name: str) -> Settings:
    """The settings of that name, or of a YAML file.

    Raises:
        MedscoreError: no such preset, or a file that says something else than a preset may.
    """
    if name == "fast":
        return DEFAULTS
    shipped = thesis_presets()
    if name == THESIS:
        name = "sparse-ct-lidc"
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise MedscoreError(
            f"no preset {name!r}",
            hint=f"use a YAML file, fast, {THESIS}, or one of: {', '.join(shipped)}",
        )
    try:
        content = yaml.safe_load(path.read_text())
        chosen = _Preset.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedscoreError("the preset is not YAML", where=path, hint="see configs/thesis") from (
            error
        )
    except ValidationError as error:
        raise MedscoreError(
            f"the preset: {first_fault(error)}", where=path, hint="see configs/thesis"
        ) from None
    return replace(DEFAULTS, **chosen.model_dump())


def thesis_presets() -> dict[str, Path]:
    """The dissertation's, by name."""
    folder = Path(str(files("medscore.configs"))) / THESIS
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def choose(name: str, **given: Any) -> Settings:
    """A preset with the options that were given, those that are not ``None``, in its place."""
    return replace(preset(name), **{key: v for key, v in given.items() if v is not None})
