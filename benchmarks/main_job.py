"""The main job in numbers: sparse-view CT with the shipped prior, from real slices.

    python benchmarks/main_job.py                 # the table
    python benchmarks/main_job.py --json out.json
    python benchmarks/main_job.py --check         # exit code 1 when a number is missed
    python benchmarks/main_job.py --page docs/main-job.md
    python benchmarks/main_job.py --from-json out.json --page docs/main-job.md   # no new run

Images: the COVID-19-NY-SBU validation patients (TCIA, CC BY 4.0; 10 slices of 512 x 512) when
--data holds them, else the two head CT slices that ship with pydicom, for which the quality
thresholds do not apply (the prior has learnt chests and abdomens). The peer is filtered
back-projection in the same run. Takes about 25 minutes on 2 cores with the validation patients.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from number import Number, table

from medscore.cli.demo import image_paths
from medscore.cli.progress import sampling_bar
from medscore.datasets.load import load_image
from medscore.datasets.volume import Volume
from medscore.hounsfield import hu_to_mu, mu_to_hu
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import Choices
from medscore.metrics.image_quality import CT_CONVENTION, Quality, average, quality
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram, rasterize
from medscore.operators.ct.projector import project
from medscore.operators.ct.scans import sparse_view
from medscore.priors.catalogue import DEFAULT_PRIORS
from medscore.reconstruction.baselines.classical import classical
from medscore.reconstruction.method import Run
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.sampling import Sampling
from medscore.registry.presets import DEFAULTS, Settings

VIEWS, SIZE = 23, 128
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def images(data: Path) -> tuple[str, list[Path], bool]:
    """What the numbers are measured on, and whether it is the validation set."""
    found = sorted(data.glob("ct/covid-19-ny-sbu/*/*.dcm"))
    if found:
        patients = len({path.parent for path in found})
        return f"COVID-19-NY-SBU, {len(found)} slices of {patients} patients", found, True
    return "2 head CT slices shipped with pydicom", image_paths(), False


def volume(paths: list[Path], size: int, limit: int | None = None) -> list[Volume]:
    """Each slice reduced to ``size``, in HU."""
    return [load_image(path, modality="CT", size=size) for path in paths[:limit]]


def operator_numbers(paths: list[Path]) -> list[Number]:
    """Exactness of the operator: adjoint, line integrals, T_inv."""
    numbers = []
    for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        operator = sparse_view(64, 2.0, VIEWS)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 1, 64, 64, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(operator.T(x).shape, generator=generator, dtype=torch.float64).to(dtype)
        ax = operator.forward(x)
        gap = ((ax * y).sum() - (x * operator.adjoint(y)).sum()).abs() / (ax.norm() * y.norm())
        numbers.append(Number(f"adjoint dot-test, {dtype}", float(gap), at_most=bound))
    for size in (64, SIZE):
        operator = sparse_view(size, 2.0, VIEWS)
        x = torch.from_numpy(volume(paths, size, 1)[0].values).float()[None] / 1000 + 1
        start = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        y = operator.forward(x)
        best = operator.project_exact(start, y, tol=1e-4).x
        for step in (operator.proximal, operator.consistent):
            distance = float((step(start, y, 1.0) - best).norm() / (start - best).norm())
            name = f"Operator.{step.__name__} at {size}: distance left to the nearest fit"
            numbers.append(Number(name, distance))
    shapes = {
        "disc": Ellipse(0.02, 0.0, 0.0, 100.0, 100.0),
        "off-centre ellipse": Ellipse(0.02, 30.0, -20.0, 60.0, 35.0, 0.6),
    }
    for name, shape in shapes.items():
        geometry = ParallelBeam(512, 300 / 512, 60)
        exact = exact_sinogram([shape], geometry)
        found = project(rasterize([shape], 512, 300 / 512), geometry)
        error = float((found - exact).norm() / exact.norm())
        numbers.append(Number(f"Radon, {name}: relative L2 error", error, at_most=0.005))
    for size in (128, 256, 512):
        psnr = []
        for v in volume(paths, size):
            operator = sparse_view(size, v.spacing[0], VIEWS)
            mu = torch.from_numpy(hu_to_mu(v.values)).float()[None]
            back = operator.T_inv(operator.T(mu))[0].numpy()
            hu = mu_to_hu(back)
            psnr.append(quality(hu, v.values, CT_CONVENTION).psnr)
        name = f"T_inv(T x) at {size}, {operator.geometry.views} views, mean PSNR (dB)"
        numbers.append(Number(name, float(np.mean(psnr)), at_least=42.0))
    return numbers


def run(
    v: Volume, settings: Settings, samples: int, batch: int
) -> tuple[Reconstruction, np.ndarray]:
    """Simulate, reconstruct and back-project one slice."""
    measurement = simulate_scan(v, "sparse-ct", Choices(views=VIEWS), noise_name="none", seed=0)
    method = Sampling(replace(settings, samples=samples), batch_size=batch)
    name = hashlib.sha256(f"{settings} {samples} {batch} {v.source.sha256}".encode()).hexdigest()
    state = Path(tempfile.gettempdir()) / f"medscore-bench-{name[:16]}.safetensors"
    with sampling_bar("reconstruct") as show:
        result = method.reconstruct(measurement, Run(on_step=show, state=state))
    return result, classical(measurement)[1]


def reconstruction_numbers(
    paths: list[Path], settings: Settings, samples: int, validation: bool
) -> list[Number]:
    """Quality of FBP, one sample and the mean; what it costs."""
    per: dict[str, list[Quality]] = {"FBP": [], "one": [], "mean": []}
    seconds, residuals, nfe, calls = 0.0, [], 0, 0
    for path, v in zip(paths, volume(paths, SIZE), strict=True):
        r, fbp = run(v, settings, samples, batch=8)
        per["FBP"].append(quality(fbp, v.values, CT_CONVENTION))
        every = [quality(r.samples[:, k], v.values, CT_CONVENTION) for k in range(samples)]
        per["one"].append(average(every))
        per["mean"].append(quality(r.mean, v.values, CT_CONVENTION))
        print(
            f"{path.stem}, {r.seconds:.0f} s: "
            + ", ".join(f"{k} {q[-1].psnr:.2f} dB {q[-1].ssim:.4f}" for k, q in per.items()),
            flush=True,
        )
        seconds, nfe = seconds + r.seconds, r.nfe
        calls += r.operator_calls
        residuals.append(float(r.residual.max()))
    asked = {"FBP": (None, None), "one": (33.4, 0.90), "mean": (34.6, 0.918)}
    title = {"FBP": "FBP", "one": "one sample", "mean": f"mean of {samples}"}
    numbers = []
    for key, found in per.items():
        low_psnr, low_ssim = asked[key] if validation else (None, None)
        psnr, ssim = np.mean([q.psnr for q in found]), np.mean([q.ssim for q in found])
        numbers += [
            Number(f"{title[key]}, PSNR (dB)", float(psnr), at_least=low_psnr),
            Number(f"{title[key]}, SSIM", float(ssim), at_least=low_ssim),
        ]
    gain = numbers[4].value - numbers[0].value
    numbers += [
        Number(f"gain of the mean of {samples} over FBP (dB)", gain, at_least=3.0),
        Number("largest relative residual", max(residuals), at_most=1e-3),
        Number("network evaluations per sample (NFE)", nfe),
        Number("batched operator calls per slice", calls / len(paths)),
        Number(f"seconds per slice of {samples} samples", seconds / len(paths)),
    ]
    return numbers


def invariance_numbers(paths: list[Path], settings: Settings) -> list[Number]:
    """Same seed twice (few steps), and batch 1 against batch 8 (all of them); prior's range."""
    v = volume(paths, SIZE, 1)[0]
    settings = replace(settings, precision="float32")
    short = replace(settings, steps=10)
    first, again = (run(v, short, 8, batch=8)[0].samples for _ in range(2))
    eight, one = (run(v, settings, k, batch=k)[0].samples for k in (8, 1))
    width = CT_CONVENTION.high - CT_CONVENTION.low
    return [
        Number(
            "same seed twice, largest difference", float(np.abs(first - again).max()), at_most=0
        ),
        Number(
            "batch 1 against batch 8 in float32, largest difference",
            float(np.abs(eight[:, :1] - one).max()) / width,
            at_most=1e-4,
        ),
    ]


def page(title: str, settings: Settings, numbers: list[Number], remark: str) -> str:
    """The results page of the docs."""
    chosen = ", ".join(f"{k} {v}" for k, v in settings.__dict__.items() if v is not None)
    lines = [
        "# The main job: sparse-view CT",
        "",
        f"Written by `python benchmarks/main_job.py --precision {settings.precision} "
        "--page docs/main-job.md`; do not edit by hand.",
        "",
        f"Images: {title}. {VIEWS} views, {SIZE} x {SIZE}, noise-free.",
        "",
        f"Settings: {chosen}.",
        "",
        f"Metric: {CT_CONVENTION}.",
        "",
        f"Machine: {platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}. {remark}".rstrip(),
        "",
        *table(numbers),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of validation data")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=DEFAULTS.steps)
    parser.add_argument("--precision", default=DEFAULTS.precision, help="float32 or bf16")
    parser.add_argument("--json", type=Path, help="write the numbers here as JSON")
    parser.add_argument("--page", type=Path, help="write the numbers here as a Markdown page")
    parser.add_argument("--remark", default="", help="a sentence on the run for the page")
    parser.add_argument("--from-json", type=Path, help="numbers of an earlier run, not a new one")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    args = parser.parse_args()
    if args.from_json:
        earlier = json.loads(args.from_json.read_text())
        title, settings = earlier["images"], Settings(**earlier["settings"])
        numbers = [
            Number(n["name"], n["value"], at_least=n["at_least"], at_most=n["at_most"])
            for n in earlier["numbers"]
        ]
    else:
        settings = replace(
            DEFAULTS,
            prior=DEFAULT_PRIORS["CT"],
            steps=args.steps,
            precision=args.precision,
        )
        title, paths, validation = images(args.data)
        numbers = operator_numbers(paths) + invariance_numbers(paths, settings)
        numbers += reconstruction_numbers(paths, settings, args.samples, validation)
    if args.json:
        content = {
            "images": title,
            "settings": settings.__dict__,
            "metric": str(CT_CONVENTION),
            "numbers": [{**n.__dict__, "met": n.met} for n in numbers],
        }
        args.json.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{title}; {VIEWS} views, {SIZE} x {SIZE}, noise-free; {settings}")
    print(f"metric: {CT_CONVENTION}")
    for number in numbers:
        print(number)
    if args.page:
        args.page.write_text(page(title, settings, numbers, args.remark))
    missed = [n for n in numbers if not n.met]
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
