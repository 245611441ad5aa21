"""PSNR lost by tuning without references, on held-out measurements.

    python benchmarks/tuning.py                  # both grids, both scores; about 20 minutes
    python benchmarks/tuning.py --check          # exit code 1 if a target is missed
    python benchmarks/tuning.py --json out.json

Every setting of configs/tune/grid-ct-23.yaml and grid-mri-8x.yaml is scored twice: by PSNR against
the references, and by how well it predicts held-out measurements. The benchmark reports how much
PSNR the setting chosen by held-out measurements loses to the best setting of the grid. Trials are
stored (--folder), so an interrupted run continues. Needs the development data (--data).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import tempfile
from pathlib import Path

from development_data import DATA
from number import Number, exit_code, show

from medscore.tuning.run import tune

GRIDS = ("grid-ct-23", "grid-mri-8x")
"""Searches of configs/tune."""


def trials(name: str, score: str, data: Path, folder: Path, workers: int) -> dict[str, float]:
    """The score of every setting of a search.

    Args:
        name: the search, one of ``GRIDS``.
        score: ``psnr`` or ``held-out``.
        data: folder of the development data.
        folder: folder that stores the trials.
        workers: the number of processes.
    """
    out = folder / f"{name}-{score}"
    tune(name, out, data=data, score=score, workers=workers)
    rows = csv.DictReader(io.StringIO((out / "trials.csv").read_text()))
    return {
        ", ".join(f"{k} {float(v):g}" for k, v in row.items() if k in ("snr", "lam")): (
            float(row[score]) if row[score] else float("-inf")
        )
        for row in rows
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    folder = Path(tempfile.gettempdir()) / "medscore-tuning"
    parser.add_argument("--folder", type=Path, default=folder, help="folder that stores the trials")
    parser.add_argument("--workers", type=int, default=2, help="processes that try settings")
    parser.add_argument("--json", type=Path, help="write all scores to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    numbers, details = [], {}
    for name in GRIDS:
        psnr, held_out = (
            trials(name, score, args.data, args.folder, args.workers)
            for score in ("psnr", "held-out")
        )
        oracle, chosen = (max(found, key=found.__getitem__) for found in (psnr, held_out))
        loss = psnr[oracle] - psnr[chosen]
        print(f"{name}: oracle {oracle} ({psnr[oracle]:.2f} dB), held-out {chosen} "
              f"({psnr[chosen]:.2f} dB), worst {min(psnr.values()):.2f} dB")  # fmt: skip
        numbers.append(Number(f"{name}: PSNR lost without references (dB)", loss, at_most=0.3))
        details[name] = {"psnr": psnr, "held-out": held_out}
    show(numbers)
    if args.json:
        args.json.write_text(json.dumps(details, indent=1) + "\n")
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
