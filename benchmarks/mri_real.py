"""Measured k-space with some of its samples left out, against the image of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from number import Number
from numpy.typing import NDArray
from torch import Tensor

import medscore as ms
from medscore.errors import MedscoreError
from medscore.measurements.coil_maps import coil_maps
from medscore.measurements.measurement import Measurement
from medscore.measurements.read import measure
from medscore.metrics.image_quality import Quality
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.masks import calibration_region, centre_fraction
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.wrappers.padded import Padded
from medscore.reconstruction.result import Reconstruction

MAPS = "espirit"
"""Estimator of the coil maps, from the samples that are kept."""

LEAST = 8
"""Smallest number of lines in the centre, so that maps of small matrices can be estimated."""

WEIGHTS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Weights of L1-wavelet, of which the best for each case is compared."""

KERNELS = tuple((width, weight) for width in (5, 7, 9) for weight in (0.03, 0.1, 0.3, 1.0, 3.0))
"""Widths and weights of GRAPPA, of which the best for each case is compared."""

DAMPING = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Weights of CG-SENSE for references."""

HELD_OUT = 0.1
"""Share of the samples that choose the weight of a reference."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """A file of measured k-space.

    Attributes:
        title: what it is.
        file: name of the file in the folder ``kspace`` of the data.
        complete: whether k-space is fully sampled, so that the root sum of squares of its coils is
            the reference; otherwise CG-SENSE of all samples is.
        lines: whether whole lines are left out, or single samples.
        accelerations: all points of k-space over those that are kept.
        options: options of ``measure``.
    """

    title: str
    file: str
    complete: bool = False
    lines: bool = True
    accelerations: tuple[float, ...] = (4.0, 6.0)
    options: Mapping[str, Any] = field(default_factory=dict)


CASES = (
    Case("GRE phantom, 2 coils, 160 x 160", "twix-gre.dat", complete=True),
    Case(
        "phantom, 16 coils, 64 x 64", "grappa-16ch-64.npz",
        options={
            "geometry": {
                "array": "kspace", "reference": "refscan",
                "axes": ("readout", "phase", "coil"), "spacing": (3.0, 3.0),
            },
        },
    ),
    Case(
        "brain, 8 coils, 230 x 180", "brain-8ch-cartesian.npy",
        lines=False, accelerations=(12.0, 16.0), options={"spacing": 1.0},
    ),
)  # fmt: skip


def real_numbers(
    data: Path,
    cases: Iterable[Case],
    ours: Callable[[Measurement], Reconstruction],
    weights: tuple[float, ...] = WEIGHTS,
    kernels: tuple[tuple[int, float], ...] = KERNELS,
) -> Iterable[Number]:
    """NMSE and SSIM of every method in every case, and the gains of medscore.

    Args:
        data: folder of the development data.
        cases: the files.
        ours: the reconstruction by medscore.
        weights: weights of L1-wavelet.
        kernels: widths and weights of GRAPPA.
    """
    for case in cases:
        path = data / "kspace" / case.file
        target = "rss" if case.complete else None
        whole, image = measure(path, maps=MAPS, target=target, **case.options)
        reference = reference_of(whole) if image is None else image
        for acceleration in case.accelerations:
            m = undersampled(whole, kept_samples(whole, acceleration, lines=case.lines))
            found = {
                "L1-wavelet": tuned(m, reference, "l1-wavelet", [{"weight": w} for w in weights]),
                "GRAPPA": tuned(
                    m, reference, "grappa", [{"width": w, "weight": v} for w, v in kernels]
                ),
                "medscore": ours(m),
            }
            title = f"{case.title}, {acceleration:g}x"
            yield from compared(title, found, reference, whole, m)


def compared(
    title: str,
    found: Mapping[str, Reconstruction],
    reference: Image,
    whole: Measurement,
    m: Measurement,
) -> Iterable[Number]:
    """The numbers of one case.

    Args:
        title: the case and its acceleration.
        found: the reconstruction of every method.
        reference: image (slices, H, W) of all samples.
        whole: the measurement with all samples.
        m: the measurement with those that were kept.
    """
    judged = {name: quality(each, reference) for name, each in found.items()}
    for name, q in judged.items():
        yield Number(f"{title}: {name}, NMSE", q.nmse)
        yield Number(f"{title}: {name}, SSIM", q.ssim)
        if found[name].complex_mean is not None:
            yield Number(
                f"{title}: {name}, NMSE of the samples left out",
                unseen_error(found[name], whole, m),
            )
    own = judged["medscore"]
    for name in (n for n in judged if n != "medscore"):
        peer = judged[name]
        yield Number(f"{title}: NMSE of medscore over {name}", own.nmse / peer.nmse, at_most=1)
        yield Number(f"{title}: medscore minus {name}, SSIM", own.ssim - peer.ssim, at_least=0)


def reference_of(whole: Measurement) -> Image:
    """The image of all measured samples (slices, H, W), by CG-SENSE.

    Its weight is the one with which the other samples predict some best.

    Args:
        whole: all of its samples.
    """
    total = float(scanner(whole.operator).diagonal.float().mean())
    rest = undersampled(whole, kept_samples(whole, 1 / (total * (1 - HELD_OUT)), lines=False))

    def solved(m: Measurement, weight: float) -> Reconstruction:
        return ms.reconstruct(m, method="cg-sense", parameters={"weight": weight})

    errors = {w: unseen_error(solved(rest, w), whole, rest) for w in DAMPING}
    return solved(whole, min(errors, key=errors.__getitem__)).mean


def tuned(
    m: Measurement, reference: Image, kind: str, grid: list[dict[str, Any]]
) -> Reconstruction:
    """The reconstruction by a baseline with the parameters that are best for this very case.

    Args:
        m: the measurement.
        reference: image (slices, H, W) of all samples.
        kind: name of the baseline.
        grid: the parameters to choose from; those that the baseline refuses are left out.

    Raises:
        MedscoreError: it refuses all of them.
    """
    tried: list[Reconstruction] = []
    refused: MedscoreError | None = None
    for parameters in grid:
        try:
            tried.append(ms.reconstruct(m, method=kind, parameters=parameters))
        except MedscoreError as error:
            refused = error
    if not tried:
        assert refused is not None
        raise refused
    return min(tried, key=lambda each: quality(each, reference).nmse)


def quality(found: Reconstruction, reference: Image) -> Quality:
    """PSNR, SSIM and NMSE of a reconstruction in the convention of MR.

    Args:
        found: the reconstruction.
        reference: image (slices, H, W) of all samples.
    """
    return ms.quality(found.mean, reference, "mr")


def undersampled(m: Measurement, mask: Tensor) -> Measurement:
    """The measurement with fewer samples, and coil maps that are estimated from these.

    Args:
        m: the measurement.
        mask: (ky, kx), the samples to keep.
    """
    data = torch.from_numpy(m.data) * mask
    operator: Any = MulticoilFourier(coil_maps(MAPS, data, mask), mask)
    if operator.image_shape != m.size:
        operator = Padded(operator, *m.size)
    return replace(m, data=data.numpy(), operator=operator)


def kept_samples(m: Measurement, acceleration: float, *, lines: bool) -> Tensor:
    """Mask (ky, kx) of the measured samples to keep: the centre, and some of the others.

    Lines outside of the centre are equally spaced among the measured ones, single samples are drawn
    at random.

    Args:
        m: the measurement, which has the same samples in all slices.
        acceleration: all points over those that are kept, those of the centre included.
        lines: whether whole lines along ky are left out.
    """
    measured = scanner(m.operator).diagonal.reshape(-1, *m.data.shape[-2:]).all(0)
    rows, columns = measured.shape
    if not lines:
        square = max(LEAST, round((measured.numel() * centre_fraction(acceleration)) ** 0.5))
        height, width = (min(side, square) for side in calibration_region(measured))
        centre = torch.zeros_like(measured)
        centre[_middle(rows, height), _middle(columns, width)] = True
        others = (measured & ~centre).flatten().nonzero()[:, 0]
        count = max(0, round(measured.numel() / acceleration) - int(centre.sum()))
        drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[:count]
        mask = centre.flatten()
        mask[others[drawn]] = True
        return mask.reshape(measured.shape)
    taken = measured.any(0)
    inside = torch.zeros_like(taken)
    inside[_middle(columns, max(LEAST, round(columns * centre_fraction(acceleration))))] = True
    inside &= taken
    others = (taken & ~inside).nonzero()[:, 0]
    count = max(0, round(columns / acceleration) - int(inside.sum()))
    inside[others[((torch.arange(count) + 0.5) * len(others) / max(count, 1)).long()]] = True
    return measured & inside


def unseen_error(found: Reconstruction, whole: Measurement, m: Measurement) -> float:
    """NMSE of the samples that were left out, as the reconstruction predicts them.

    Args:
        found: a reconstruction of complex images.
        whole: the measurement with all samples.
        m: the measurement with those that were kept.
    """
    assert found.complex_mean is not None
    full = scanner(whole.operator).diagonal
    unseen = full & ~scanner(m.operator).diagonal
    inner = scanner(m.operator)
    assert isinstance(inner, MulticoilFourier)
    operator: Any = MulticoilFourier(inner.sensitivity, full)
    if operator.image_shape != m.size:
        operator = Padded(operator, *m.size)
    predicted = operator.forward(torch.from_numpy(found.complex_mean)[:, None])
    measured = torch.from_numpy(whole.data)
    gap = (unseen * (predicted - measured)).norm() / (unseen * measured).norm()
    return float(gap) ** 2


def _middle(n: int, count: int) -> slice:
    return slice(n // 2 - count // 2, n // 2 - count // 2 + count)
