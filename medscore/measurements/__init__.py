"""Measurements: simulated from an image, or read from scanner data; one file format for both."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
    from medscore.measurements.read import measure
    from medscore.measurements.simulation import simulate
    from medscore.measurements.tasks import OPTIONS, TASKS

_MODULES = {
    "Measurement": "measurement",
    "OPTIONS": "tasks",
    "TASKS": "tasks",
    "measure": "read",
    "read_measurement": "measurement",
    "simulate": "simulation",
    "write_measurement": "measurement",
}
"""Where the public names are defined; imported on first use."""

__all__ = [
    "OPTIONS",
    "TASKS",
    "Measurement",
    "measure",
    "read_measurement",
    "simulate",
    "write_measurement",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
