"""Sparse-view CT at 128 x 128 with the shipped prior: exactness, quality and cost.

    python benchmarks/sparse_ct.py                 # prints the tables
    python benchmarks/sparse_ct.py --json out.json
    python benchmarks/sparse_ct.py --check         # exit code 1 if a target is missed
    python benchmarks/sparse_ct.py --precision bf16 --page docs/benchmarks/sparse-ct.md
    python benchmarks/sparse_ct.py --from-json out.json --page docs/benchmarks/sparse-ct.md
    python benchmarks/sparse_ct.py --limit 1       # one slice

Images: the COVID-19-NY-SBU validation patients (TCIA, CC BY 4.0; 10 slices of 512 x 512) if --data
holds them; otherwise the two head CT slices that ship with pydicom. Quality targets do not apply to
these, because the prior was trained on chests and abdomens. Quality is measured in two protocols:
with photon noise on data of the files' own matrix, and, in a part of its own, in the protocol of
the dissertation, whose data are an inverse crime. Filtered back-projection is measured in the same
run for comparison. Takes about 30 minutes on 2 cores with the validation patients.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from development_data import DATA, ct_images, ct_volumes
from number import Number, exit_code, from_json, machine, show, table, to_json

from medscore.datasets.fit import reduce
from medscore.datasets.volume import Volume
from medscore.hounsfield import hu_to_mu, mu_to_hu
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate
from medscore.metrics.image_quality import CT_CONVENTION, Quality, average, quality
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram, rasterize
from medscore.operators.ct.projector import project
from medscore.operators.ct.scans import sparse_view
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.method import Run
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.sampling import Sampling
from medscore.registry.settings import DEFAULTS, Settings

VIEWS, SIZE = 23, 128
PHOTONS, THESIS = "1e5 photons", "thesis protocol"
NOISE = {PHOTONS: "poisson:1e5", THESIS: "none"}
"""Noise model of each protocol."""

ABOUT = {
    PHOTONS: """The slices are measured in their own matrix, at least twice as fine as that of the
reconstruction, by detectors with a width, with 1e5 photons per ray. The noise is taken from the
scan: that of the photons and an estimate of the errors beyond it, such as partial volume. The
residual is the noise's.""",
    THESIS: """The measurements are noise-free and simulated with the projector and on the pixel
grid that also reconstruct them (an inverse crime), which favours all methods.""",
}
"""What the page says about each protocol."""

QUALITY_TARGETS = {"FBP": (None, None), "one": (33.4, 0.90), "mean": (34.6, 0.918)}
"""Minimum PSNR in dB and minimum SSIM in the thesis protocol on the validation patients."""


def adjoint_numbers() -> list[Number]:
    """``|<A x, y> - <x, A^T y>| / (|A x| |y|)`` for random x and y, in both precisions."""
    numbers = []
    for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        operator = sparse_view(64, 2.0, VIEWS)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 1, 64, 64, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(operator.T(x).shape, generator=generator, dtype=torch.float64).to(dtype)
        ax = operator.forward(x)
        gap = ((ax * y).sum() - (x * operator.adjoint(y)).sum()).abs() / (ax.norm() * y.norm())
        numbers.append(Number(f"adjoint dot-test, {dtype}", float(gap), at_most=bound))
    return numbers


def data_consistency_numbers(path: Path) -> list[Number]:
    """Distance from the result of one data-consistency step to the projection onto {x : A x = y}.

    The distance is relative to that of the random start.

    Args:
        path: DICOM file of a CT slice.
    """
    numbers = []
    for size in (64, SIZE):
        operator = sparse_view(size, 2.0, VIEWS)
        x = torch.from_numpy(ct_volumes([path], size)[0].values).float()[None] / 1000 + 1
        start = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        y = operator.forward(x)
        best = operator.project_exact(start, y, tol=1e-4).x
        for step in (operator.proximal, operator.data_consistency):
            distance = float((step(start, y, 1.0) - best).norm() / (start - best).norm())
            name = f"Operator.{step.__name__} at {size}: remaining distance to the projection"
            numbers.append(Number(name, distance))
    return numbers


def line_integral_numbers() -> list[Number]:
    """Relative L2 error of rasterised ellipses' sinograms against their exact line integrals."""
    shapes = {
        "disc": Ellipse(0.02, 0.0, 0.0, 100.0, 100.0),
        "off-centre ellipse": Ellipse(0.02, 30.0, -20.0, 60.0, 35.0, 0.6),
    }
    numbers = []
    for name, shape in shapes.items():
        geometry = ParallelBeam(512, 300 / 512, 60)
        exact = exact_sinogram([shape], geometry)
        found = project(rasterize([shape], 512, 300 / 512), geometry)
        error = float((found - exact).norm() / exact.norm())
        numbers.append(Number(f"Radon, {name}: relative L2 error", error, at_most=0.005))
    return numbers


def inverse_numbers(paths: Sequence[Path]) -> list[Number]:
    """PSNR of ``T_inv(T x)`` against x at three matrix sizes.

    Args:
        paths: DICOM files of the CT slices.
    """
    numbers = []
    for size in (128, 256, 512):
        psnr = []
        for v in ct_volumes(paths, size):
            operator = sparse_view(size, v.spacing[0], VIEWS)
            mu = torch.from_numpy(hu_to_mu(v.values)).float()[None]
            hu = mu_to_hu(operator.T_inv(operator.T(mu))[0].numpy())
            psnr.append(quality(hu, v.values, CT_CONVENTION).psnr)
        name = f"T_inv(T x) at {size}, {operator.geometry.views} views, mean PSNR (dB)"
        numbers.append(Number(name, float(np.mean(psnr)), at_least=42.0))
    return numbers


def scan(v: Volume, protocol: str, number: int = 0) -> Measurement:
    """23 views of a slice, to reconstruct at 128 x 128.

    Args:
        v: one slice in HU, in its own matrix.
        protocol: a name in ``NOISE``.
        number: index of the slice, the seed of its noise.
    """
    return simulate(v, "sparse-ct", views=VIEWS, noise=NOISE[protocol], seed=number, size=SIZE)


def run(m: Measurement, settings: Settings, samples: int, batch_size: int) -> Reconstruction:
    """Reconstruct a measurement of one slice.

    An interrupted run leaves its state in the temporary folder and is continued by the same call.

    Args:
        m: the measurement.
        settings: prior, sampler and conditioner.
        samples: posterior samples.
        batch_size: samples drawn together.
    """
    known = f"{settings} {samples} {batch_size}".encode() + m.data.tobytes()
    state = f"medscore-bench-{hashlib.sha256(known).hexdigest()[:16]}.safetensors"
    method = Sampling(replace(settings, samples=samples), batch_size=batch_size)
    return method.reconstruct(m, Run(state=Path(tempfile.gettempdir()) / state))


def reconstruction_numbers(
    paths: Sequence[Path], settings: Settings, samples: int, protocol: str, *, validation: bool
) -> list[Number]:
    """Quality of filtered back-projection, of one sample and of the mean; computational cost.

    Args:
        paths: DICOM files of the CT slices.
        settings: prior, sampler and conditioner.
        samples: posterior samples per slice.
        protocol: a name in ``NOISE``; the quality targets are those of the thesis protocol.
        validation: whether the quality targets apply.
    """
    exact = protocol == THESIS
    found: dict[str, list[Quality]] = {"FBP": [], "one": [], "mean": []}
    results = []
    for number, (path, v) in enumerate(zip(paths, ct_volumes(paths), strict=True)):
        m, reference = scan(v, protocol, number), reduce(v, SIZE).values
        r = run(m, settings, samples, batch_size=8)
        found["FBP"].append(quality(classical(m)[1], reference, CT_CONVENTION))
        each = [quality(r.samples[:, k], reference, CT_CONVENTION) for k in range(samples)]
        found["one"].append(average(each))
        found["mean"].append(quality(r.mean, reference, CT_CONVENTION))
        last = ", ".join(f"{k} {q[-1].psnr:.2f} dB {q[-1].ssim:.4f}" for k, q in found.items())
        print(f"{protocol}, {path.stem}, {r.seconds:.0f} s: {last}", flush=True)
        results.append(r)
    numbers = []
    for key, title in (("FBP", "FBP"), ("one", "one sample"), ("mean", f"mean of {samples}")):
        low_psnr, low_ssim = QUALITY_TARGETS[key] if exact and validation else (None, None)
        psnr = float(np.mean([q.psnr for q in found[key]]))
        ssim = float(np.mean([q.ssim for q in found[key]]))
        numbers += [
            Number(f"{protocol}: {title}, PSNR (dB)", psnr, at_least=low_psnr),
            Number(f"{protocol}: {title}, SSIM", ssim, at_least=low_ssim),
        ]
    gain = numbers[4].value - numbers[0].value
    residual = max(float(r.residual.max()) for r in results)
    calls = sum(r.operator_calls for r in results) / len(paths)
    seconds = sum(r.seconds for r in results) / len(paths)
    return [
        *numbers,
        Number(f"{protocol}: gain of the mean of {samples} over FBP (dB)", gain, at_least=3.0),
        Number(f"{protocol}: largest relative residual", residual, at_most=1e-3 if exact else None),
        Number(f"{protocol}: network evaluations per sample (NFE)", results[-1].nfe),
        Number(f"{protocol}: batched operator calls per slice", calls),
        Number(f"{protocol}: seconds per slice of {samples} samples", seconds),
    ]


def invariance_numbers(path: Path, settings: Settings) -> list[Number]:
    """Repeatability with the same seed (10 steps), and batch size 1 against 8 (all steps).

    Args:
        path: DICOM file of a CT slice, which is measured with photons.
        settings: prior, sampler and conditioner; the precision is set to float32.
    """
    m = scan(ct_volumes([path])[0], PHOTONS)
    settings = replace(settings, precision="float32")
    short = replace(settings, steps=10)
    first, again = (run(m, short, 8, batch_size=8).samples for _ in range(2))
    eight, one = (run(m, settings, k, batch_size=k).samples for k in (8, 1))
    repeated = float(np.abs(first - again).max())
    width = CT_CONVENTION.high - CT_CONVENTION.low
    batched = float(np.abs(eight[:, :1] - one).max()) / width
    return [
        Number("same seed twice, largest difference", repeated, at_most=0),
        Number("batch 1 against batch 8 in float32, largest difference", batched, at_most=1e-4),
    ]


def parts(
    paths: Sequence[Path], settings: Settings, samples: int, *, validation: bool
) -> dict[str, Callable[[], list[Number]]]:
    """The measurements by the sections of the page.

    Args:
        paths: DICOM files of the CT slices.
        settings: prior, sampler and conditioner.
        samples: posterior samples per slice.
        validation: whether the quality targets apply.
    """
    return {
        "exactness": lambda: [
            *adjoint_numbers(),
            *data_consistency_numbers(paths[0]),
            *line_integral_numbers(),
            *inverse_numbers(paths),
            *invariance_numbers(paths[0], settings),
        ],
        **{
            protocol: lambda p=protocol: reconstruction_numbers(
                paths, settings, samples, p, validation=validation
            )
            for protocol in NOISE
        },
    }


def page(found: dict[str, Any]) -> str:
    """The benchmark page of the docs.

    Args:
        found: the images, settings, metric, machine and numbers of a run, as ``--json`` stores
            them.
    """
    settings = Settings(**found["settings"])
    chosen = ", ".join(f"{k} {v}" for k, v in asdict(settings).items() if v is not None)
    lines = [
        f"# Sparse-view CT at {SIZE} x {SIZE}",
        "",
        "Exactness of the Radon operator, repeatability, and quality and cost of the default",
        "reconstruction. How to use it: [Sparse-view CT](../sparse-ct.md).",
        "",
        f"Written by `python benchmarks/sparse_ct.py --precision {settings.precision} "
        "--page docs/benchmarks/sparse-ct.md`; do not edit by hand.",
        "",
        f"- Images: {found['images']}; {VIEWS} views, {SIZE} x {SIZE} pixels.",
        f"- Settings: {chosen}.",
        f"- Metric: {found['metric']}.",
        f"- Machine: {found['machine']}.",
    ]
    for name, rows in found["parts"].items():
        about = ABOUT.get(name)
        lines += ["", f"## {name[0].upper()}{name[1:]}", "", *([about, ""] if about else [])]
        lines += table(from_json(rows))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--limit", type=int, help="measure the first slices only")
    parser.add_argument("--samples", type=int, default=8, help="posterior samples per slice")
    parser.add_argument("--steps", type=int, default=DEFAULTS.steps, help="steps of the time grid")
    parser.add_argument("--precision", default=DEFAULTS.precision, help="auto, float32 or bf16")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--from-json", type=Path, help="use stored results instead of a new run")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    if args.from_json:
        found = json.loads(args.from_json.read_text())
    else:
        settings = replace(DEFAULTS, prior="ct-128", steps=args.steps, precision=args.precision)
        title, paths, validation = ct_images(args.data)
        if args.limit:
            title, paths = f"{title}, the first {args.limit}", paths[: args.limit]
        measure = parts(paths, settings, args.samples, validation=validation)
        found = {
            "images": title,
            "settings": asdict(settings),
            "metric": str(CT_CONVENTION),
            "machine": machine(),
            "parts": {name: to_json(numbers()) for name, numbers in measure.items()},
        }
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{found['images']}; {VIEWS} views, {SIZE} x {SIZE}; {found['settings']}")
    print(f"metric: {found['metric']}")
    numbers = show(number for rows in found["parts"].values() for number in from_json(rows))
    if args.page:
        args.page.write_text(page(found))
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
