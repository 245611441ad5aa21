"""Data consistency of sparse-view CT: operator calls and quality by the solver.

    python benchmarks/consistency.py                     # prints the table, about 15 minutes
    python benchmarks/consistency.py --check             # exit code 1 if a target is missed
    python benchmarks/consistency.py --page docs/benchmarks/consistency.md

Each step of the default conditioner solves a damped least-squares problem. Compared are

- by rows: conjugate gradients in the space of the measurements with a preconditioner
  (:mod:`medscore.operators.gram`), the default;
- by pixels: conjugate gradients in the space of the image, with as many iterations as the
  conditioner allows;
- converged: by rows, to a residual of 0.03.

All have the same seed, so that differences of the PSNR come from the solver. Images: a slice of
the COVID-19-NY-SBU validation patients (TCIA, CC BY 4.0) if --data holds them, otherwise a head CT
slice that ships with pydicom; the prior is ct-128, also beyond its matrix and pixel sizes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from development_data import DATA, ct_images, ct_volumes
from number import Number, exit_code, machine, show, table

import medscore
from medscore.conditioners import diffpir
from medscore.measurements.simulation import simulate
from medscore.metrics.image_quality import CT_CONVENTION, quality
from medscore.operators.ct.radon import Radon

CASES = {
    "256 x 256, 45 views, 1e5 photons": (256, 45, "poisson:1e5"),
    "512 x 512, 90 views, 1e5 photons": (512, 90, "poisson:1e5"),
    "128 x 128, 23 views, noise-free": (128, 23, "none"),
}
"""Matrix size, views and noise of each case."""

LEAST = -0.02
"""Largest loss in dB of the default. Noise-free data are an inverse crime, which converged
solutions exploit best; there the default is to lose nothing against the solver by pixels."""

INTRO = """# Data consistency of sparse-view CT

Operator calls and quality of one sample with 50 network evaluations, by the solver of the
data-consistency steps: [Conditioners](../conditioners.md).

Written by `python benchmarks/consistency.py --page docs/benchmarks/consistency.md`; do not edit
by hand.

"""


@contextmanager
def solver(name: str) -> Iterator[dict[str, int]]:
    """Data consistency by one of the solvers; yields parameters of the conditioner.

    Args:
        name: by rows, by pixels or converged.
    """
    if name == "by pixels":
        with mock.patch.object(Radon, "gram", return_value=None):
            yield {}
    elif name == "converged":
        with mock.patch.multiple(diffpir, LOOSE=0.03, CLOSE=0.03):
            yield {"conditioner.iterations": 50}
    else:
        yield {}


def numbers(data: Path) -> Iterator[Number]:
    """PSNR and operator calls by case and solver.

    Args:
        data: folder of the development data.
    """
    path = ct_images(data)[1][0]
    for title, (size, views, noise) in CASES.items():
        (v,) = ct_volumes([path], size)
        m = simulate(v, "sparse-ct", views=views, noise=noise)
        psnr = {}
        for name in ("by pixels", "by rows", "converged"):
            with solver(name) as parameters:
                start = time.process_time()
                r = medscore.reconstruct(
                    m, "ct-128", samples=1, precision="float32", parameters=parameters,
                    allow_mismatch=True,
                )  # fmt: skip
            psnr[name] = quality(r.samples[0], v.values, CT_CONVENTION).psnr
            yield Number(f"{title}: {name}, PSNR", psnr[name], "dB")
            yield Number(f"{title}: {name}, operator calls", r.operator_calls)
            seconds = time.process_time() - start
            yield Number(f"{title}: {name}, CPU time with the network", seconds, "s")
        for name in ("by pixels", "converged"):
            gain = psnr["by rows"] - psnr[name]
            least = None if (name, noise) == ("converged", "none") else LEAST
            yield Number(f"{title}: by rows minus {name}", gain, "dB", at_least=least)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    found = show(numbers(args.data))
    if args.page:
        args.page.write_text(INTRO + machine() + "\n\n" + "\n".join(table(found)) + "\n")
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
