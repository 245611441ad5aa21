"""The errors of a reconstructed slice whose truth is known, and the posterior samples' own account.

One slice, measured by one task and reconstructed by one method, is a cell. Each finished cell is a
file, named by the hash of everything that it depends on, so that a killed run continues.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import medscore
from medscore.datasets.collections.cohort import Case
from medscore.errors import MedscoreError, reading
from medscore.evaluation import methods
from medscore.evaluation.config import MethodSpec, TaskSpec
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_object
from medscore.io.numpy_files import open_npz
from medscore.reconstruction.condition import method_of
from medscore.reconstruction.result import Reconstruction, body_of_image, moderated
from medscore.reconstruction.widths import unlike
from medscore.uncertainty.intervals import deviation, in_pairs, ratios
from medscore.uncertainty.scores import crps
from medscore.uncertainty.table import Condition, Value

REGIONS = 200
"""Random regions of a slice."""

RADII = (1.5, 12.0)
"""Smallest and largest radius of a region: in pixels, and as a divisor of the side of the image."""

ARRAYS = ("error", "std", "deviation", "crps", "region_error", "region_std")
AGAIN = "remove it, and it is computed again"


@dataclass(frozen=True)
class SliceErrors:
    """The errors of a slice.

    Attributes:
        case: what outputs call the slice.
        patient: what outputs call its patient.
        samples: number of posterior samples.
        nfe: network evaluations per sample.
        prior: name of the prior.
        prior_sha256: hash of its weights.
        condition: condition of the measurement.
        method: settings of the method.
        unlike: how the image is unlike those of the prior; empty if it is not.
        error: truth minus mean of the pixels of the body, (n,).
        std: standard deviation of the samples there, (n,).
        deviation: the moderated deviation there, (n,).
        crps: fair CRPS of the samples there, (n,).
        region_error: truth minus mean of the means of random regions, (REGIONS,).
        region_std: standard deviation of the samples' means of those regions.
    """

    case: str
    patient: str
    samples: int
    nfe: int
    prior: str
    prior_sha256: str
    condition: Condition
    method: dict[str, Value]
    unlike: str
    error: NDArray[np.float32]
    std: NDArray[np.float32]
    deviation: NDArray[np.float32]
    crps: NDArray[np.float32]
    region_error: NDArray[np.float32]
    region_std: NDArray[np.float32]

    @property
    def pairs(self) -> bool:
        """Whether the samples are pairs with opposite noise."""
        return in_pairs(bool(self.method.get("pairs")), self.samples)

    @property
    def ratios(self) -> NDArray[np.float64]:
        """Errors of the pixels over the predictive deviation."""
        return ratios(self.error, self.deviation, self.samples, pairs=self.pairs)

    @property
    def region_ratios(self) -> NDArray[np.float64]:
        """Errors of the regions over the predictive deviation."""
        return ratios(self.region_error, self.region_std, self.samples, pairs=self.pairs)


@dataclass(frozen=True)
class Piece:
    """One cell to compute; it can be sent to another process.

    Attributes:
        case: the slice.
        number: index of the slice in the cohort, which determines the seed of its noise.
        task: the measurement.
        method: the method.
        seed: seed of the measurement noise.
        where: the configuration, for error messages.
    """

    case: Case
    number: int
    task: TaskSpec
    method: MethodSpec
    seed: int
    where: Path

    @property
    def fixed(self) -> list[Any]:
        """Everything that the result depends on, including the names in it."""
        chosen = methods.method_of(self.method, self.task.name)
        return [
            "slice errors 2", medscore.__version__, REGIONS, RADII,
            (self.case.label, self.case.group, self.case.digest, self.number),
            (self.task.name, self.task.scan.model_dump(mode="json")),
            methods.parameters(self.method, self.task.name),
            chosen.all_weights(self.case.volume.modality), self.seed,
        ]  # fmt: skip


def errors_of_piece(piece: Piece) -> SliceErrors:
    """Measure and reconstruct a slice, and compare its samples with the truth.

    Args:
        piece: the cell to compute.

    Raises:
        MedscoreError: an invalid task or method; the message names both.
    """
    try:
        seed = piece.number + piece.seed * 1_000_003
        m = methods.measure(piece.case, piece.task, seed, piece.where)
        found = methods.solver(piece.method, piece.task.name)(m)
    except MedscoreError as error:
        name = f"{piece.method.name}, {piece.task.name}, {piece.case.name}"
        raise MedscoreError(f"{name}: {error}") from error
    return errors_of(found, piece.case, piece.number)


def errors_of(found: Reconstruction, case: Case, seed: int) -> SliceErrors:
    """The errors of a reconstructed slice.

    Args:
        found: the reconstruction, of one slice and two samples or more.
        case: the slice, with the truth.
        seed: seed of the random regions.
    """
    truth, body = case.volume.values, body_of_image(found)
    drawn = np.moveaxis(found.samples, 1, 0)
    regions = random_regions(body[0], np.random.default_rng(seed))
    means = np.array([[image[0][region].mean() for image in drawn] for region in regions])
    of_truth = np.array([truth[0][region].mean() for region in regions])
    return SliceErrors(
        case=case.label, patient=case.group, samples=len(drawn), nfe=found.nfe,
        prior=str(found.record["prior"]["name"]),
        prior_sha256=str(found.record["prior"]["sha256"]),
        condition=Condition(**found.record["condition"]), method=method_of(found.record),
        unlike=unlike(found.record),
        error=(truth - found.mean)[body], std=found.std[body],
        deviation=moderated(found)[body].astype(np.float32),
        crps=crps(truth[body], drawn[:, body]).astype(np.float32),
        region_error=(of_truth - means.mean(1)).astype(np.float32),
        region_std=deviation(means, 1, pairs=found.pairs).astype(np.float32),
    )  # fmt: skip


def random_regions(
    body: NDArray[np.bool_], generator: np.random.Generator, count: int = REGIONS
) -> list[NDArray[np.bool_]]:
    """Discs of random centre and radius, as far as they lie in the body.

    Args:
        body: pixels (H, W) of the body.
        generator: random generator.
        count: number of discs.
    """
    y, x = np.mgrid[: body.shape[0], : body.shape[1]]
    places = np.argwhere(body)
    centres = places[generator.integers(0, len(places), count)]
    least, most = RADII[0], max(RADII[0], max(body.shape) / RADII[1])
    radii = generator.uniform(least, most, count)
    return [
        body & ((y - row) ** 2 + (x - column) ** 2 <= radius**2)
        for (row, column), radius in zip(centres, radii, strict=True)
    ]


class ErrorStore:
    """The finished cells in a folder, KEY.npz each.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """The file of a cell.

        Args:
            key: key of the cell.
        """
        return self.folder / f"{key}.npz"

    def put(self, key: str, cell: SliceErrors) -> None:
        """Write a cell, atomically.

        Args:
            key: key of the cell.
            cell: the cell.
        """
        arrays = {name: getattr(cell, name) for name in ARRAYS}
        record = {name: value for name, value in vars(cell).items() if name not in ARRAYS}
        record["condition"] = cell.condition.model_dump()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, record=np.array(json.dumps(record)), **arrays)
        atomic_write(self.path(key), buffer.getvalue())

    def get(self, key: str) -> SliceErrors:
        """Read a cell.

        Args:
            key: key of the cell.

        Raises:
            MedscoreError: the file is damaged.
        """
        path = self.path(key)
        with open_npz(path, "a finished cell", AGAIN) as archive:
            arrays: dict[str, Any] = {name: archive[name] for name in ARRAYS}
            text = str(archive["record"])
        with reading("a finished cell", path, AGAIN):
            record = parse_object(text)
            record["condition"] = Condition.model_validate(record["condition"])
            cell = SliceErrors(**record, **arrays)
            if len({getattr(cell, name).shape for name in ARRAYS[:4]}) > 1:
                raise ValueError("its arrays do not fit each other")
            return cell
