"""What tuning without references costs: the best of a grid by held-out measurements, in PSNR.

    python benchmarks/tuning.py                  # both grids, both scores: about 20 minutes
    python benchmarks/tuning.py --check          # exit 1 when a number is missed
    python benchmarks/tuning.py --json out.json

Every setting of configs/tune/grid-ct-23.yaml and grid-mri-8x.yaml is scored twice, by PSNR against
the references and by predicting measurements that were left out. The number is how much PSNR the
second choice loses against the best setting of the grid. The peer is that oracle, in the same run.
Trials are kept (--folder), so an interrupted run goes on. Needs the development data (--data).
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
from number import Number

from medscore.cli.tune import tune

GRIDS = ("grid-ct-23", "grid-mri-8x")


def trials(name: str, score: str, data: Path, folder: Path, workers: int) -> dict[str, float]:
    """The score of every setting."""
    out = folder / f"{name}-{score}"
    tune(Path(name), out, data, None, score, None, workers)
    rows = csv.DictReader(io.StringIO((out / "trials.csv").read_text()))
    return {
        ", ".join(f"{k} {float(v):g}" for k, v in row.items() if k in ("snr", "lam")): (
            float(row[score]) if row[score] else float("-inf")
        )
        for row in rows
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of development data")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "medscore-tuning"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here as JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
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
    for number in numbers:
        print(number)
    if args.json:
        args.json.write_text(json.dumps(details, indent=1) + "\n")
    return int(args.check and not all(n.met for n in numbers))


if __name__ == "__main__":
    sys.exit(main())
