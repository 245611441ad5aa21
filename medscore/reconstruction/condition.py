"""What intervals depend on: the condition of a measurement, and the settings of the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medscore.measurements.measurement import Measurement
from medscore.uncertainty.table import Condition, Value

IRRELEVANT = ("prior", "seed", "samples", "device", "precision", "parameters")
"""Settings that do not change the posterior, or that are compared on their own."""


def condition_of(m: Measurement, noise_std: Tensor | None) -> Condition:
    """The condition of a measurement.

    Args:
        m: the measurement.
        noise_std: noise standard deviation, broadcastable to the data; None without noise.
    """
    rows, columns = m.size
    data = torch.from_numpy(m.data)
    taken = m.operator.mask(data).expand(data.shape)
    measured = float(taken.double().mean()) * data[0].numel()
    noise = 0.0
    if noise_std is not None:
        power = float((taken * noise_std.to(taken).square()).double().mean())
        noise = (power / float(data.abs().double().square().mean())) ** 0.5
    return Condition(
        task=m.task, modality=m.modality, rows=rows, columns=columns, pixel_mm=m.spacing[0],
        data_per_pixel=measured / (rows * columns * (m.slices if m.whole else 1)), noise=noise,
    )  # fmt: skip


def method_of(record: Mapping[str, Any]) -> dict[str, Value]:
    """The settings of a method, as far as the posterior samples depend on them.

    Args:
        record: record of a reconstruction by posterior sampling.
    """
    settings = record["settings"]
    found: dict[str, Value] = {
        name: _plain(value) for name, value in settings.items() if name not in IRRELEVANT
    }
    found |= {name: _plain(value) for name, value in settings["parameters"].items()}
    found["fitted to the prior's grid"] = bool(record["grid"]["fitted"])
    if (told := record["prior"].get("class")) is not None:
        found["class"] = str(told)
    return found


def _plain(value: Any) -> Value:
    return value if isinstance(value, str | bool | int | float) or value is None else repr(value)
