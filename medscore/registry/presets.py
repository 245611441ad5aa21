"""Settings of a reconstruction, and presets, which are named settings.

The default preset is ``fast``. ``sharpest`` is the same with DiffPIR, whose samples are close to
the mean of the posterior, and ``posterior`` with moment matching, whatever the prior, the modality
and the number of samples. The settings of the dissertation are YAML files in ``configs/thesis/``;
users can write their own preset files, with some or all of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field

from medscore.errors import MedscoreError
from medscore.io.opening import is_there
from medscore.io.specs import Strict, validated
from medscore.io.yaml_files import read_yaml
from medscore.registry.methods import SAMPLERS
from medscore.registry.settings import (
    DEFAULTS,
    OWNERS,
    POINT,
    POSTERIOR,
    POSTERIOR_PARAMETERS,
    Parameters,
    Settings,
)

THESIS = "thesis"
"""Short name of the dissertation's preset for sparse-view CT."""

RECONSTRUCTION_SNR = 0.45
"""Default signal-to-noise ratio of Langevin correctors; see docs/conditioners.md."""

NAMED = {
    "fast": DEFAULTS,
    "sharpest": replace(DEFAULTS, conditioner=POINT),
    "posterior": replace(
        DEFAULTS, conditioner=POSTERIOR, pairs=True, parameters=POSTERIOR_PARAMETERS
    ),
}
"""Presets that are no files."""


class Preset(Strict):
    """The content of a preset file; the preset ``fast`` supplies settings that are not set.

    Attributes:
        prior: see :class:`Settings`.
        sampler: see :class:`Settings`.
        conditioner: see :class:`Settings`.
        grid: see :class:`Settings`.
        steps: see :class:`Settings`.
        samples: see :class:`Settings`.
        noise: see :class:`Settings`.
        precision: see :class:`Settings`.
        pairs: see :class:`Settings`.
        across_slices: see :class:`Settings`.
        snr: short for the parameter ``sampler.snr``.
        lam: short for the parameter ``conditioner.lam``.
        set: parameters of the methods by dotted name.
    """

    prior: str | None = None
    sampler: str | None = None
    conditioner: str | None = None
    grid: str | None = None
    steps: int | None = None
    samples: int | None = None
    noise: str | None = None
    precision: str | None = None
    pairs: bool | None = None
    across_slices: str | None = None
    snr: float | None = None
    lam: float | None = None
    set: dict[str, Any] = Field(default_factory=dict)


def preset(name: str) -> Settings:
    """The settings of a preset.

    Args:
        name: ``fast``, ``sharpest``, ``posterior``, ``thesis``, the name of a file in
            ``configs/thesis``, or the path of a YAML file.

    Raises:
        MedscoreError: no such preset, or a file with unknown keys or values.
    """
    if name in NAMED:
        return NAMED[name]
    shipped = thesis_presets()
    path = shipped.get("sparse-ct-lidc" if name == THESIS else name, Path(name))
    if not is_there(path):
        raise MedscoreError(
            f"no preset {name!r}",
            hint=f"use a YAML file, {', '.join(NAMED)}, {THESIS}, or one of: {', '.join(shipped)}",
        )
    like = "configs/thesis/sparse-ct-lidc.yaml"
    stated = validated(Preset, read_yaml(path, like=like) or {}, path).model_dump()
    return _overridden(DEFAULTS, stated.pop("set"), stated)


def thesis_presets() -> dict[str, Path]:
    """The files of the dissertation's presets, by name."""
    folder = Path(str(files("medscore.configs"))) / THESIS
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def choose(
    name: str = "fast", *, parameters: Parameters | Sequence[str] = (), **given: Any
) -> Settings:
    """The settings of a preset with some of them overridden.

    Parameters that a preset sets for a sampler, conditioner or grid are dropped if another one is
    chosen.

    Args:
        name: preset, as for :func:`preset`.
        parameters: parameters of the methods by dotted name, or texts such as
            "conditioner.zeta=0.3".
        given: fields of :class:`Settings`, or ``snr`` and ``lam``; None keeps the preset's value.

    Raises:
        MedscoreError: no such preset, or a parameter that is not of the form OWNER.NAME=VALUE.
    """
    return _overridden(preset(name), parsed(parameters), given)


def parsed(parameters: Parameters | Sequence[str]) -> Parameters:
    """Values by dotted name, from a mapping or from texts such as "conditioner.zeta=0.3".

    Args:
        parameters: a mapping, or a sequence of texts.

    Raises:
        MedscoreError: neither, or a text of another form.
    """
    if isinstance(parameters, Mapping):
        if all(isinstance(name, str) for name in parameters):
            return parameters
    elif isinstance(parameters, list | tuple) and all(isinstance(t, str) for t in parameters):
        return parse_parameters(parameters)
    raise MedscoreError(
        f"`parameters` is {parameters!r}", hint='use a dictionary such as {"conditioner.zeta": 0.3}'
    )


def parse_parameters(texts: Sequence[str]) -> dict[str, str]:
    """Values by dotted name from texts such as "conditioner.zeta=0.3".

    Args:
        texts: texts of the form NAME=VALUE.

    Raises:
        MedscoreError: a text of another form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise MedscoreError(
                f"`set` {text!r}", hint="use NAME=VALUE, such as conditioner.zeta=0.3"
            )
        found[name.strip()] = value.strip()
    return found


def _overridden(base: Settings, parameters: Parameters, given: Mapping[str, Any]) -> Settings:
    """The settings ``base`` with some fields and parameters overridden."""
    fields = {key: value for key, value in given.items() if value is not None}
    short = {"sampler.snr": fields.pop("snr", None), "conditioner.lam": fields.pop("lam", None)}
    changed = {
        owner for owner in OWNERS if owner in fields and fields[owner] != getattr(base, owner)
    }
    kept = {
        name: value
        for name, value in base.parameters.items()
        if name.partition(".")[0] not in changed
    }
    kept |= {name: value for name, value in short.items() if value is not None}
    chosen = replace(base, **fields, parameters={**kept, **parameters})
    if chosen.sampler in SAMPLERS and "snr" in SAMPLERS.parameters(chosen.sampler):
        parameters = {"sampler.snr": RECONSTRUCTION_SNR, **chosen.parameters}
        return replace(chosen, parameters=parameters)
    return chosen
