"""Compare samples with real images: distances, and the nearest training image of each sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medscore.datasets.collections.cohort import equally_spaced
from medscore.errors import MedscoreError, reading
from medscore.generation.inception import check_trusted, inception_features
from medscore.generation.quality import (
    NEIGHBOURS,
    Features,
    frechet,
    mmd,
    precision_recall,
    sliced_wasserstein,
)
from medscore.io.files import atomic_write, check_new
from medscore.io.numpy_files import read_npy
from medscore.likelihood.inputs import at_samples, check_limit, label_of, read_images
from medscore.metrics.memorisation import nearest
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR, prior_path
from medscore.priors.checkpoint import read_checkpoint
from medscore.registry.checks import check_counts


@dataclass(frozen=True)
class Distances:
    """Distances of a set from the real images.

    Attributes:
        sliced_wasserstein: sliced 2-Wasserstein distance.
        mmd: maximum mean discrepancy with a Gaussian kernel.
        frechet: Frechet distance; FID if the features are those of the usual Inception network.
        precision: fraction of the set within the manifold of the real images.
        recall: fraction of the real images within the manifold of the set.
    """

    sliced_wasserstein: float
    mmd: float
    frechet: float
    precision: float
    recall: float


@dataclass(frozen=True)
class TrainingNeighbours:
    """The nearest training image of each sample, which shows whether samples are copies.

    Attributes:
        samples: median distance of the samples to their nearest training images.
        real: the same median for the real images.
        closest: smallest distance of a sample, divided by the smallest of a real image, among
            equally many of both; far below 1 indicates a copy. None if a training image is among
            the real images.
        image: what outputs call the nearest training image, for each sample.
        distance: distance to it, for each sample.
    """

    samples: float
    real: float
    closest: float | None
    image: list[str]
    distance: list[float]


@dataclass(frozen=True)
class Comparison:
    """Samples compared with real images.

    Attributes:
        space: pixels or features, in which distances are measured.
        compared: images of each set that the distances are computed from.
        distances: distances from the real images, of ``samples`` and, where given, ``training``.
        nearest: nearest training images; None without training images.
    """

    space: str
    compared: int
    distances: dict[str, Distances]
    nearest: TrainingNeighbours | None

    @property
    def record(self) -> dict[str, Any]:
        """Everything as JSON values."""
        found: dict[str, Any] = {"of": self.space, "compared": self.compared}
        found |= {name: asdict(value) for name, value in self.distances.items()}
        return found if self.nearest is None else found | {"nearest": asdict(self.nearest)}


def compare_images(
    samples: str | Path,
    real: str | Path,
    prior: str | Path = WHOLE_IMAGE_PRIOR,
    *,
    training: str | Path | None = None,
    features: bool = False,
    inception: str | Path | None = None,
    trust: bool = False,
    limit: int | None = None,
    seed: int = 0,
    spacing_mm: float | None = None,
    accept: str | Sequence[str] = (),
    output: str | Path | None = None,
    keep_identity: bool = False,
) -> Comparison:
    """Distances of samples from real images, and with ``training`` those of training images.

    Training images show what perfect samples would reach. Distances depend on the number of images,
    so equally many of each set are compared.

    Args:
        samples: folder written by ``medscore generate``, or images.
        real: real images that the prior has not seen.
        prior: name of a prior, or a checkpoint file, whose range and size the images get.
        training: training images, compared like the samples and searched for copies.
        features: all files are .npy arrays of features (n, d) instead of images.
        inception: TorchScript network that computes features; pixels are compared if None.
        trust: whether ``inception`` may be run: TorchScript is a program, which can write files.
        limit: maximum number of images of each set, which are then equally spaced.
        seed: seed of the random directions.
        spacing_mm: pixel size in mm, for archives that do not record it.
        accept: kinds of images that are used all the same; see
            :func:`~medscore.datasets.load.load_image`.
        output: JSON file to write, which must not exist; None writes nothing.
        keep_identity: whether training images are called by the names of their files, not by the
            starts of the files' hashes.

    Raises:
        MedscoreError: a parameter is invalid, a file does not fit, a set is too small, or the
            output exists.
    """
    check_counts(("seed", seed, 0, 2**63 - 1))
    check_limit(limit)
    file = None if output is None else Path(output)
    if file is not None:
        check_new(file)
    if features and inception is not None:
        raise MedscoreError("`inception` beside `features`", hint="leave one of them out")
    network = None if inception is None else Path(inception)
    if network is not None:
        check_trusted(network, trust)
    elif trust:
        raise MedscoreError("`trust` without `inception`", hint="leave it out")
    files = {"samples": Path(samples), "real": Path(real)}
    if training is not None:
        files["training"] = Path(training)
    sets, names = {}, {}
    if features:
        for name, path in files.items():
            rows = read_features(path)
            chosen = equally_spaced(len(rows), limit)
            label = path.name if keep_identity else label_of(path)
            sets[name], names[name] = rows[chosen], [f"{label}#{i}" for i in chosen]
    else:
        contract = at_samples(files["samples"], read_checkpoint(prior_path(str(prior))).contract)
        found = {
            name: read_images(path, contract, spacing_mm=spacing_mm, accept=accept, limit=limit)
            for name, path in files.items()
        }
        parts = [its.x for its in found.values()]
        x = torch.cat(parts)
        rows = x.flatten(1) if network is None else inception_features(network, x, trust=trust)
        sets = dict(zip(found, rows.split([*map(len, parts)]), strict=True))
        names = {name: list(its.names if keep_identity else its.labels)
                 for name, its in found.items()}  # fmt: skip
    _check(sets, files)
    try:
        distances = {name: distances_from(x, sets, seed) for name, x in sets.items()
                     if name != "real"}  # fmt: skip
    except ValueError as error:  # the width of the kernel is 0
        raise MedscoreError(
            f"most of the real images are alike ({error})", where=files["real"],
            hint="give real images that differ",
        ) from error  # fmt: skip
    result = Comparison(
        space="features" if features or network is not None else "pixels",
        compared=min(len(x) for x in sets.values()),
        distances=distances,
        nearest=None if training is None else training_neighbours(sets, names["training"]),
    )
    if file is not None:
        atomic_write(file, (json.dumps(result.record, indent=1) + "\n").encode())
    return result


def distances_from(x: Features, sets: dict[str, Features], seed: int) -> Distances:
    """Distances of ``x`` from ``sets["real"]``, on equally many images of every set.

    Args:
        x: features (n, d) of the images to be judged.
        sets: features by name of the set; all are reduced to the size of the smallest.
        seed: seed of the random directions.
    """
    count = min(len(found) for found in sets.values())
    a, b = (found[equally_spaced(len(found), count)] for found in (x, sets["real"]))
    precision, recall = precision_recall(a, b)
    generator = torch.Generator().manual_seed(seed)
    return Distances(sliced_wasserstein(a, b, generator), mmd(a, b), frechet(a, b), precision,
                     recall)  # fmt: skip


def training_neighbours(sets: dict[str, Features], names: list[str]) -> TrainingNeighbours:
    """The nearest training image of each sample.

    Args:
        sets: features of ``samples``, ``real`` and ``training`` images.
        names: names of the training images.
    """
    training = sets["training"].double()
    (distance, index), (usual, _) = (
        nearest(sets[name].double(), training, mirror=False, relative=False)
        for name in ("samples", "real")
    )
    count = min(len(distance), len(usual))
    ours, theirs = (float(d[equally_spaced(len(d), count)].min()) for d in (distance, usual))
    return TrainingNeighbours(
        float(distance.median()), float(usual.median()),
        ours / theirs if theirs > 0 else None,
        [names[i] for i in index.tolist()], distance.tolist(),
    )  # fmt: skip


def read_features(file: Path) -> Features:
    """An array of features (n, d).

    Args:
        file: a .npy file.

    Raises:
        MedscoreError: the file holds no such array.
    """
    hint = "save them with numpy.save"
    values = read_npy(file, "features", hint)
    with reading("features", file, hint):
        if (
            values.dtype.kind not in "iuf"
            or values.ndim != 2
            or not values.size
            or not np.isfinite(values).all()
        ):
            raise ValueError("no array (n, d) of finite numbers")
    return torch.from_numpy(values.astype(np.float32))


def _check(sets: dict[str, Features], files: dict[str, Path]) -> None:
    for name, x in sets.items():
        if len(x) <= NEIGHBOURS:
            raise MedscoreError(
                f"{len(x)} image(s)", where=files[name], hint=f"give more than {NEIGHBOURS}"
            )
        if x.shape[1] != sets["real"].shape[1]:
            raise MedscoreError(
                f"{x.shape[1]} features of an image, {files['real']} has "
                f"{sets['real'].shape[1]}", where=files[name], hint="use the same features",
            )  # fmt: skip
