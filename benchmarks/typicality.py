"""Whether unusual images are noticed: false alarms on validation patients, and other images.

    python benchmarks/typicality.py            # about 5 minutes on 2 cores
    python benchmarks/typicality.py --recon 10 # reconstructions too, of 10 slices each
    python benchmarks/typicality.py --check    # exit 1 if a target is missed
    python benchmarks/typicality.py --write    # fit the tests of the shipped priors again

Each row counts the slices, and the scans, that the tests beside a shipped prior call unusual, with
95 % intervals (Wilson). None of the images took part in the fit, which uses training patients only;
the statistics and the penalty were however chosen while looking at these rows, and T2 and heads are
one patient each. Rows marked "training" are of patients that the prior has seen. The T1 slices of
one validation patient have grey air, as phase-sensitive inversion recovery gives it: they are
unusual, so the target for false alarms is that of the other slices. No development
data hold a post-contrast scan whose contrast is stated: the row "simulated enhancement" adds a ring
and vessels of 1.8 times the brightness to T1 slices, which is a sketch of one. Without the data
there is nothing to measure.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from development_data import DATA
from number import Number, table
from numpy.typing import NDArray

from medscore.datasets.collections.cohort import equally_spaced
from medscore.datasets.collections.slices import Quantity, load_slices
from medscore.datasets.load import load_image
from medscore.datasets.volume import AIR, Source, Volume
from medscore.likelihood.features import body_of
from medscore.likelihood.fitting import fit_tests
from medscore.likelihood.typicality import (
    Typical,
    judged,
    nats_per_dim,
    network_range,
    read_typical,
    write_typical,
)
from medscore.measurements.simulation import simulate
from medscore.priors.catalogue import prior_path
from medscore.priors.checkpoint import load_prior
from medscore.priors.network import NetworkPrior
from medscore.reconstruction.run import choose_method

SIZE, PER_PATIENT = 128, 12
"""Side of the slices, and largest number of slices of a training patient in the fit."""

CHESTS = ("ct/train/*.nii.gz", "ct/tcga-lung-slices-train.npz")
VALIDATION = "ct/tcga-lung-slices-validation.npz"
TRAINING = {
    "ct": CHESTS, "ct-128": CHESTS, "ct-128-vp": CHESTS,
    "mri-128": ("mri/tcga-lgg-slices-train.npz", "mri/*t1*.nii.gz"),
}  # fmt: skip
"""Training slices of the priors, as in their recipes."""

PIXEL_MM = 2.9
"""Pixel size in mm that the prior for any matrix is given for the reduced slices."""

GREY = 0.2
"""Share of the brightest pixel from which the air around the head is called grey."""

Slices = NDArray[np.float32]


@dataclass(frozen=True)
class Group:
    """Slices (n, H, W) in HU or as magnitudes, and the scan of each.

    ``false_alarms`` and ``found`` are the targets for shares of slices, in percent.
    """

    name: str
    values: Slices
    scans: tuple[str, ...] = field(repr=False)
    false_alarms: float | None = None
    found: float | None = None


def reduced(values: Slices, fill: float) -> Slices:
    """Slices in a square of air, reduced to ``SIZE`` by area means."""
    n, height, width = values.shape
    side = -(-max(height, width) // SIZE) * SIZE
    square = np.full((n, side, side), fill, np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = values
    blocks = square.reshape(n, SIZE, side // SIZE, SIZE, side // SIZE)
    means: Slices = blocks.mean((2, 4), dtype=np.float32)
    return means


def archive(path: Path) -> tuple[Slices, tuple[str, ...], NDArray[np.str_]]:
    """Slices, patients and contrasts of an archive."""
    with np.load(path) as held:
        hu = "hu" in held
        values = held["hu" if hu else "image"].astype(np.float32)
        patients = tuple(str(p) for p in held["patient"])
        contrast = held["contrast"] if "contrast" in held else np.array([""] * len(values))
    return reduced(values, AIR if hu else 0.0), patients, contrast


def content(group: Group, least: float) -> Group:
    """The slices that are not almost empty."""
    spread = group.values.std((1, 2)) / (group.values.max((1, 2)) - group.values.min((1, 2)) + 1e-6)
    kept = np.flatnonzero(spread > least)
    scans = tuple(group.scans[i] for i in kept)
    return Group(group.name, group.values[kept], scans, group.false_alarms, group.found)


def enhanced(values: Slices) -> Slices:
    """T1 slices with an enhancing ring and vessels, as a sketch of a post-contrast scan."""
    generator, found = np.random.default_rng(0), values.copy()
    y, x = np.mgrid[:SIZE, :SIZE]
    for image in found:
        body = body_of(image / max(float(np.quantile(image, 0.995)), 1e-6))
        inside = np.argwhere(body)
        middle, reach = inside.mean(0), np.ptp(inside, axis=0) / 2
        tissue = float(np.median(image[body]))
        at = middle + generator.uniform(-0.4, 0.4, 2) * reach
        radius = generator.uniform(6, 10)
        ring = np.abs(np.hypot(y - at[0], x - at[1]) - radius) < 1.5
        vessels = np.zeros_like(ring)
        for _ in range(12):
            angle = generator.uniform(0, 2 * math.pi)
            row, column = middle + 0.75 * reach * (math.sin(angle), math.cos(angle))
            vessels |= np.hypot(y - row, x - column) < 1.5
        image[body & (ring | vessels)] = 1.8 * tissue
    return found


def mri(data: Path) -> list[Group]:
    """Magnitude images."""
    values, patients, contrast = archive(data / "mri/tcga-lgg-slices-validation.npz")
    t1 = np.flatnonzero(contrast == "T1")
    air = np.flatnonzero(np.median(values[:, :4], (1, 2)) < GREY * values.max((1, 2)))
    t2 = load_image(data / "mri/adi-t2-axial.nii.gz", modality="MR").values
    groups = [
        Group("validation, T1 and FLAIR", values, patients),
        Group(
            "validation without T1 of grey air",
            values[air],
            tuple(np.array(patients)[air]),
            false_alarms=5.0,
        ),
        Group("T2 of the brain", reduced(t2, 0.0), ("t2",) * len(t2), found=90.0),
        Group("simulated enhancement of T1", enhanced(values[t1]), tuple(patients[i] for i in t1)),
    ]
    for name, file in {
        "T1 of the brain, another scanner": "studyforrest02-t1-defaced",
        "T1 of the thigh": "sts001-thigh-t1-512",
        "T2 of the thigh, fat-suppressed": "sts001-thigh-t2fs-384",
        "T2 of the abdomen": "cmbcrc06489-abdomen-t2-512",
        "knee, PD-FS and T1": "knee-384-own",
    }.items():
        other, who, _ = archive(data / f"mri/{file}.npz")
        groups.append(Group(name, other, who))
    return [content(group, 0.02) for group in groups]


def ct(data: Path) -> list[Group]:
    """CT images."""
    values, patients, _ = archive(data / VALIDATION)
    files = sorted((data / "ct/covid-19-ny-sbu").glob("*/*.dcm"))
    covid = [load_image(f, modality="CT", accept="derived").values for f in files]
    head = load_image(data / "ct/ge-head-tilt-dicom", modality="CT", resample=True).values
    thin = load_image(data / "ct/volumes-validation/RIDER-Pilot-0117.nii.gz", modality="CT").values
    metal, who, _ = archive(data / "metal/real-metal-and-dense-contrast.npz")
    checked = [
        Group("validation, TCGA lung", values, patients),
        Group("validation, COVID-19-NY-SBU", np.concatenate([reduced(v, AIR) for v in covid]),
              tuple(f.parent.name for f in files)),
        Group("validation, thin slices (RIDER)", reduced(thin, AIR), ("rider",) * len(thin)),
    ]  # fmt: skip
    groups = [
        *checked,
        Group("validation, all of these", np.concatenate([g.values for g in checked]),
              tuple(scan for g in checked for scan in g.scans), false_alarms=5.0),
        Group("heads", reduced(head, AIR), ("head",) * len(head), found=90.0),
        Group("metal and dense contrast (training)", metal, who),
    ]  # fmt: skip
    return [content(group, 0.02) for group in groups]


def reconstructed(
    prior: NetworkPrior, group: Group, count: int, task: str, **options: float
) -> Group:
    """Reconstructions of some slices from simulated measurements, with the prior itself."""
    chosen = equally_spaced(len(group.values) - 4, count)
    assert prior.contract is not None
    modality = prior.contract.modality
    affine, source = np.diag([-2.0, -2.0, 5.0, 1.0]), Source("array", "0" * 64)
    volume = Volume(group.values[[i + 2 for i in chosen]], affine, modality, source)
    found = choose_method(prior).reconstruct(simulate(volume, task, **options))
    told = " ".join(f"{name} {value:g}" for name, value in options.items())
    scans = tuple(group.scans[i + 2] for i in chosen)
    return Group(f"{group.name}, reconstructed, {told}", found.samples[:, 0], scans)


def shares(flags: Sequence[bool]) -> str:
    """Count, percentage and the 95 % interval of Wilson."""
    n, k = len(flags), sum(flags)
    p, z = k / n, 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{k}/{n} ({100 * max(low, 0):.0f} to {100 * min(high, 1):.0f} %)"


def numbers(name: str, prior: NetworkPrior, groups: Sequence[Group]) -> list[Number]:
    """The share of slices and of scans of each group that the tests call unusual."""
    assert prior.file is not None
    assert prior.contract is not None
    typical = read_typical(prior.file, prior.sha256)
    assert typical is not None
    found = []
    for group in groups:
        slices: list[bool] = []
        scans: list[bool] = []
        for scan in dict.fromkeys(group.scans):
            rows = [i for i, s in enumerate(group.scans) if s == scan]
            js = judged(typical, prior, prior.contract, group.values[rows])
            scans.append(any(j.unusual for j in js))
            slices += [any(j.slices[k] > j.test.threshold for j in js) for k in range(len(rows))]
        label = f"{name}: {group.name}; slices {shares(slices)}, scans {shares(scans)}"
        share = 100 * sum(slices) / len(slices)
        found.append(Number(label, share, "%", at_least=group.found, at_most=group.false_alarms))
        print(found[-1], flush=True)
    return found


def write(data: Path, names: Sequence[str]) -> None:
    """Fit the tests of the shipped priors to their training patients and store them.

    The prior for any matrix has its other statistics from the validation slices here as well.
    """
    for name in names:
        prior, patterns = load_prior(prior_path(name)), TRAINING[name]
        contract, file = prior.contract, prior.file
        assert contract is not None
        assert file is not None
        typical = None if contract.size is None else read_typical(file, prior.sha256)
        if contract.size is None:
            prior = prior.on_grid((SIZE, SIZE), PIXEL_MM)
            values, _, _ = archive(data / VALIDATION)
            bounds = nats_per_dim(prior, network_range(values, contract))
            typical = Typical.of(bounds, prior.sha256).model_copy(
                update={"side": SIZE, "pixel_mm": PIXEL_MM}
            )
        assert typical is not None
        quantity: Quantity = "HU" if contract.modality == "CT" else "magnitude"
        slices = load_slices(
            patterns, root=data, side=SIZE, low=contract.low, high=contract.high, quantity=quantity
        )
        patients = np.array(slices.patients)
        rows = [np.flatnonzero(patients == p) for p in np.unique(patients)]
        kept = np.concatenate([r[equally_spaced(len(r), PER_PATIENT)] for r in rows])
        x = slices.images[kept][:, None].float()
        tests = fit_tests(prior, contract.quantity, x, patients[kept].tolist())
        print(write_typical(file, typical.model_copy(update={"tests": tests})))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of development data")
    parser.add_argument("--recon", type=int, default=0, help="slices to reconstruct; 0 for none")
    parser.add_argument("--write", action="store_true", help="fit the tests again and store them")
    parser.add_argument("--prior", action="append", help="only this prior; repeatable")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    args = parser.parse_args()
    if not (args.data / "mri").is_dir() or not (args.data / "ct").is_dir():
        print(f"there are no development data in {args.data}: nothing was measured")
        return 0
    if args.write:
        write(args.data, args.prior or list(TRAINING))
        return 0
    found: list[Number] = []
    for name, groups, task, options in (
        ("ct", ct(args.data), "sparse-ct", [{"views": 23}]),
        ("ct-128", ct(args.data), "sparse-ct", [{"views": 23}]),
        ("ct-128-vp", ct(args.data), "sparse-ct", [{"views": 23}]),
        ("mri-128", mri(args.data), "mri", [{"acceleration": 4.0}, {"acceleration": 8.0}]),
    ):
        if args.prior and name not in args.prior:
            continue
        prior = load_prior(prior_path(name))
        wanted = [g for g in groups if g.false_alarms is not None or g.found is not None]
        if args.recon:
            groups += [reconstructed(prior, group, args.recon, task, **option)
                       for group in wanted for option in options]  # fmt: skip
        found += numbers(name, prior, groups)
    print("\n".join(table(found)))
    return int(args.check and not all(number.met for number in found))


if __name__ == "__main__":
    sys.exit(main())
