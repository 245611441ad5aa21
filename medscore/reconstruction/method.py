"""The interface of a reconstruction method: a check, a solver, and an identity of its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medscore.engine.loop import StepInfo
from medscore.io.group import ALONE, Group
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Reconstruction


def _ignore(info: StepInfo) -> None:
    """Ignore the progress.

    Args:
        info: the progress.
    """


@dataclass(frozen=True)
class Run:
    """Execution settings of a method, which do not affect its result.

    Attributes:
        where: name or path of the measurement in error messages.
        on_step: called after every sampling step.
        state: folder that keeps an interrupted run, also after its end; None to keep none.
        group: processes that share the slices of the measurement, and all get the result.
    """

    where: str | Path = "measurement"
    on_step: Callable[[StepInfo], None] = _ignore
    state: Path | None = None
    group: Group = ALONE


QUIET: Run = Run()


class Method(ABC):
    """A reconstruction method: posterior sampling, a baseline, or a supervised network."""

    @abstractmethod
    def check(self, measurement: Measurement, where: str | Path = "measurement") -> None:
        """Reject a measurement that the method cannot reconstruct, before anything slow begins.

        Args:
            measurement: the data.
            where: name of the measurement in error messages.

        Raises:
            MedscoreError: invalid settings, or settings that do not fit the measurement.
        """

    @abstractmethod
    def reconstruct(self, measurement: Measurement, run: Run = QUIET) -> Reconstruction:
        """Reconstruct all slices.

        Args:
            measurement: the data.
            run: execution settings.

        Raises:
            MedscoreError: as :meth:`check`, or the solver diverged.
        """

    @property
    def can_share(self) -> bool:
        """Whether several processes can share the slices of a measurement."""
        return False

    @property
    def device_kind(self) -> str:
        """The kind of device that the method runs on, cpu or cuda."""
        return "cpu"

    @property
    def samples(self) -> int:
        """Number of posterior samples per slice."""
        return 1

    def gives_phase(self, measurement: Measurement) -> bool:
        """True if the reconstruction of a measurement is a complex image, whose phase is known.

        Args:
            measurement: the data.
        """
        return False

    def all_weights(self, modality: str) -> str:
        """The hashes of all weights that results depend on, those of a learned covariance included.

        Args:
            modality: see :meth:`identity`.
        """
        return self.identity(modality)

    def identity(self, modality: str) -> str:
        """The hash of the weights that the method uses; empty if it uses none.

        Args:
            modality: modality of the measurements, which determines the default prior.
        """
        return ""
