"""Likelihoods of many images under a prior, how typical the images are, and the files with both."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import medscore
from medscore.engine.items import Item, ItemFolder, fingerprint_of, run_items, state_path
from medscore.engine.loop import StepInfo
from medscore.errors import MedscoreError
from medscore.io.files import atomic_folder, check_absent, check_new
from medscore.io.weights import weights_hash
from medscore.likelihood.assessment import ImageLikelihood, assess_image, make_dequantization
from medscore.likelihood.dequantization import DequantizationFlow
from medscore.likelihood.dequantizer import DEQUANTIZER
from medscore.likelihood.fitting import fit_tests
from medscore.likelihood.inputs import Files, check_limit, read_images
from medscore.likelihood.patients import judge_patients
from medscore.likelihood.settings import METHODS, LikelihoodSettings
from medscore.likelihood.typicality import (
    Typical,
    beside,
    nats_per_dim,
    read_typical,
    warning,
    write_typical,
)
from medscore.likelihood.unusual import ImageTest, words_of
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.registry.checks import resolve_device
from medscore.white_noise import derive_seed

NAMES = ("file", "name")
COLUMNS = ("image", "patient", "nats_per_dim", "standard_error", "bits_per_dim", "z", "nfe")


@dataclass(frozen=True)
class Assessment:
    """Likelihoods of images under a prior.

    Attributes:
        images: the likelihood of each image.
        names: source file, without its folders, and position in it, for each image.
        patients: patient of each image; empty where unknown.
        labels: what likelihood.csv calls each image: the start of its file's hash and its position.
        groups: what likelihood.csv calls the patient of each image; empty where unknown.
        z: standard deviations from the mean of the prior's validation images, (n,); None if the
            prior has no such statistics.
        provenance: what was computed, as JSON values.
        notes: what was done to fit the images to the prior's grid, one sentence each.
        unusual: what the tests of contrast and residuals warn of, patient by patient.
        typical: statistics of these images, where they were requested.
        typical_file: the file they were written to.
    """

    images: tuple[ImageLikelihood, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    z: Tensor | None
    provenance: dict[str, Any]
    notes: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()
    typical: Typical | None = None
    typical_file: Path | None = None

    @property
    def nats_per_dim(self) -> float:
        """Mean of log p(x) / D in nats."""
        return sum(image.nats_per_dim for image in self.images) / len(self.images)

    @property
    def bits_per_dim(self) -> float | None:
        """Mean bits per dimension; None without grey levels."""
        bits = [image.bits_per_dim for image in self.images if image.bits_per_dim is not None]
        return sum(bits) / len(bits) if bits else None

    @property
    def warning(self) -> str | None:
        """A warning if images are unlike the prior's validation images."""
        return None if self.z is None else warning(self.z)


def assess_images(
    images: Files,
    prior: str | Path = WHOLE_IMAGE_PRIOR,
    *,
    method: str = "flow",
    divergence: str = "auto",
    probes: int = 1,
    draws: int = 128,
    bits: int | None = None,
    dequantizer: str | Path | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seed: int = 0,
    limit: int | None = None,
    spacing_mm: float | None = None,
    accept: str | Sequence[str] = (),
    typical: bool = False,
    device: str = "auto",
    output: str | Path | None = None,
    keep_identity: bool = False,
    allow_mismatch: bool = False,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> Assessment:
    """Log-likelihoods of images under a prior, and how typical they are of its training data.

    With ``output`` an interrupted call resumes with the next image when it is repeated.

    Args:
        images: DICOM files or folders, NIfTI files, image files or NumPy archives.
        prior: name of a prior, or a checkpoint file.
        method: flow (probability flow), bound (of the noisy image) or clean-bound (of the image).
        divergence: auto, exact, rademacher or gaussian; auto is exact for small images.
        probes: random probes of the divergence.
        draws: pairs of a time and a noise that a bound averages.
        bits: grey levels are 2^bits over the prior's range, dequantized with uniform noise; None
            computes densities.
        dequantizer: file with trained dequantization noise, which has bits of its own.
        rtol: relative tolerance of the flow's solver.
        atol: absolute tolerance of the flow's solver.
        seed: seed of all draws.
        limit: maximum number of images, which are then equally spaced among all.
        spacing_mm: pixel size in mm, for archives that do not record it.
        accept: kinds of images that are used all the same; see
            :func:`~medscore.datasets.load.load_image`.
        typical: take these images as typical of the prior, and write their statistics beside it.
        device: auto, cpu or cuda.
        output: folder to write, which must not exist; None writes no folder.
        keep_identity: whether likelihood.csv states the names of files and patients too, not only
            the starts of the files' hashes.
        allow_mismatch: whether the prior is used on the grid of the images, even outside its image
            domain; by default they are fitted to its grid.
        on_step: called after every image.

    Raises:
        MedscoreError: a parameter is invalid, a file does not fit the prior, or the output exists.
    """
    settings = LikelihoodSettings(method, divergence, probes, draws, bits, rtol, atol, seed)
    settings.check()
    check_limit(limit)
    folder = None if output is None else Path(output)
    states = () if folder is None else (state_path(folder),)
    if folder is not None:
        check_absent(folder, states)
    file = prior_path(str(prior))
    checkpoint = read_checkpoint(file)
    contract, sha256 = checkpoint.contract, checkpoint.sha256
    if typical and not any(state.exists() for state in states):
        check_new(beside(file))
    known = None if typical else read_typical(file, sha256)
    noise = make_dequantization(
        settings, None if dequantizer is None else Path(dequantizer), sha256
    )
    found = read_images(
        images, contract, spacing_mm=spacing_mm, accept=accept, limit=limit,
        own_grid=allow_mismatch,
    )  # fmt: skip
    count = len(found.images)
    if typical and count < 2:
        raise MedscoreError(
            f"`typical`: {count} images do not determine a standard deviation",
            hint="give many different images",
        )
    chosen = resolve_device(device)
    network = load_prior(file, device=chosen)
    on = {
        grid: network.on_grid(*grid, allow_mismatch=allow_mismatch)
        for grid in dict.fromkeys(found.grids)
    }
    with_z = typical or known is not None
    tests: tuple[ImageTest, ...] = ()
    if typical and contract.channels == 1 and len(on) == 1:
        patients = [group or label for group, label in zip(found.groups, found.labels, strict=True)]
        (placed,) = on.values()
        tests = fit_tests(placed, contract.quantity, found.x.to(chosen), patients)

    def work(index: int) -> Item:
        x, placed = found.images[index][None].to(chosen), on[found.grids[index]]
        row = asdict(assess_image(placed, x, settings, noise, derive_seed(seed, index)))
        if known is not None:
            placed, x = known.seen(placed, x)
        return Item(row | {"typical": float(nats_per_dim(placed, x))} if with_z else row)

    fingerprint = fingerprint_of(
        medscore.__version__, asdict(settings), sha256, with_z,
        None if noise is None else weights_hash(noise.state_dict()), found.digests,
    )  # fmt: skip
    state = ItemFolder(states[0], fingerprint) if states else None
    with nullcontext() if folder is None else atomic_folder(folder, states) as unfinished:
        items = run_items(
            count, work, state,
            lambda done, item: on_step(StepInfo(done, count, item.record["nfe"])),
        )  # fmt: skip
        rows = tuple(ImageLikelihood(**item.record) for item in items)
        bound = torch.tensor([row.typical or 0.0 for row in rows])
        judgements = {} if known is None else judge_patients(known, on, found, chosen)
        result = Assessment(
            images=rows, names=found.names, patients=found.patients, labels=found.labels,
            groups=found.groups,
            z=None if known is None else known.z(bound),
            provenance={
                **asdict(settings),
                "prior": {"name": contract.name, "sha256": sha256},
                "density": METHODS[method],
                "nats": "log p of the image in the prior's range, where "
                f"{contract.low:g} to {contract.high:g} {contract.quantity} is 0 to 1",
                "bits": None if noise is None else noise.levels.bits,
                "dequantization": _dequantization(noise, dequantizer),
                "allow_mismatch": allow_mismatch,
                "notes": list(found.notes),
                "typicality": {
                    name: [judgement.record() for judgement in of_patient]
                    for name, of_patient in judgements.items()
                },
                "seconds": sum(row.seconds for row in rows),
            },
            notes=found.notes,
            unusual=tuple(
                f"{name or 'images'}: {word}"
                for name, of_patient in judgements.items()
                for word in words_of(of_patient)
            ),
            typical=_statistics(bound, sha256, tests) if typical else None,
            typical_file=beside(file) if typical else None,
        )  # fmt: skip
        if unfinished is not None:
            write_assessment(result, unfinished, keep_identity=keep_identity)
        if result.typical is not None and result.typical != read_typical(file, sha256):
            check_new(beside(file))
            write_typical(file, result.typical)
    return result


def write_assessment(result: Assessment, folder: Path, *, keep_identity: bool = False) -> None:
    """Write likelihood.csv, one line per image, and likelihood.json.

    Args:
        result: the likelihoods.
        folder: an existing folder.
        keep_identity: whether to state the names of files and patients too.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, *(NAMES if keep_identity else ())])
    for i, row in enumerate(result.images):
        writer.writerow([
            result.labels[i], result.groups[i], f"{row.nats_per_dim:.6g}",
            "" if math.isnan(row.standard_error) else f"{row.standard_error:.3g}",
            "" if row.bits_per_dim is None else f"{row.bits_per_dim:.5g}",
            "" if result.z is None else f"{float(result.z[i]):.3g}", row.nfe,
            *((result.names[i], result.patients[i]) if keep_identity else ()),
        ])  # fmt: skip
    (folder / "likelihood.csv").write_text(out.getvalue())
    (folder / "likelihood.json").write_text(json.dumps(result.provenance, indent=1) + "\n")


def _dequantization(noise: DequantizationFlow | None, dequantizer: str | Path | None) -> str | None:
    """The noise within grey levels: None, uniform, or the hash of the weights of a trained flow."""
    if noise is None:
        return None
    return "uniform" if dequantizer is None else f"sha256 {DEQUANTIZER.read(dequantizer).sha256}"


def _statistics(values: Tensor, sha256: str, tests: tuple[ImageTest, ...]) -> Typical:
    try:
        return Typical.of(values, sha256).model_copy(update={"tests": tests})
    except ValueError as error:
        raise MedscoreError(f"`typical`: {error}", hint="give many different images") from error
