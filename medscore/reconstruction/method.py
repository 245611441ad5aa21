"""What every reconstruction method is: a check, a solver, and an identity of its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medscore.engine.loop import StepInfo
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Reconstruction


def _ignore(info: StepInfo) -> None:
    pass


@dataclass(frozen=True)
class Run:
    """How a method is run, without influence on the result.

    Attributes:
        where: what error messages call the measurement; its path, if it has one.
        on_step: called after every sampling step.
        state: file that keeps an interrupted run; None to keep none.
    """

    where: str | Path = "measurement"
    on_step: Callable[[StepInfo], None] = _ignore
    state: Path | None = None


QUIET: Run = Run()


class Method(ABC):
    """A way to reconstruct measurements: sampling with a prior, a baseline, or a network."""

    @abstractmethod
    def check(self, measurement: Measurement, where: str | Path = "measurement") -> None:
        """Refuse a measurement that the method is not made for, before anything slow begins.

        Args:
            measurement: the data.
            where: what error messages call the measurement.

        Raises:
            MedscoreError: settings that are invalid, or that do not fit the measurement.
        """

    @abstractmethod
    def reconstruct(self, measurement: Measurement, run: Run = QUIET) -> Reconstruction:
        """Reconstruct all slices.

        Args:
            measurement: the data.
            run: progress and state of the run.

        Raises:
            MedscoreError: as :meth:`check`, or the solver diverged.
        """

    def identity(self, modality: str) -> str:
        """Hash of the weights that the method uses; empty if it uses none.

        Args:
            modality: modality of the measurements, which decides on the default prior.
        """
        return ""
