"""docs/benchmarks/results.md: the reports of all comparisons on one page.

    medscore evaluate sparse-ct --data DATA -o runs/sparse-ct     # likewise for each of NAMES
    python benchmarks/results.py runs --page docs/benchmarks/results.md
    python benchmarks/results.py runs --check         # exit code 1 if a target is missed

Reads ``report.md``, ``table.csv`` and the figures that ``medscore evaluate`` wrote to
``RUNS/NAME`` for every comparison. Writes the page, and the figures to a folder beside it.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import sys
from pathlib import Path

from number import Number, exit_code, show, table

NAMES = (
    "sparse-ct", "views-ct", "mar", "bundled-ct", "sparse-ct-thesis", "mar-thesis", "mri",
    "acceleration-mri", "bundled-mri",
)  # fmt: skip
"""The comparisons, in the order of the page."""

INTRO = """# Results on real scans

The dissertation's tables (Song 2022, chapter 8), measured by `medscore evaluate`. A summary:
[Results](../results.md). How to read the tables: [Evaluation](../evaluation.md).

Written by `python benchmarks/results.py runs --page docs/benchmarks/results.md` from the folders
that the commands below wrote; do not edit by hand.

- Images: CT of COVID-19-NY-SBU and brain MRI of TCGA-LGG (TCIA), of patients that no network was
  trained on, and images that ship with pydicom and nilearn. 128 x 128 pixels, two cores. Clinical
  matrix sizes: `benchmarks/native_ct.py`.
- medscore has the shipped priors and default settings everywhere: DiffPIR, 50 network evaluations,
  the mean of 8 samples.
- The learning-free baselines have the best parameters of a grid on slices of these same tables
  (`python benchmarks/tune_baselines.py configs/eval/NAME.yaml`), which favours them. In the thesis
  protocol SIRT stops at 3200 iterations, which with 45 views gains 0.3 dB over 800.
- The supervised networks are trained for 1500 to 3000 steps (`configs/supervised/`), those of CT
  with photon noise, also where they are used without.
- CT has photon noise (1e5 photons per ray) and is measured on a grid twice as fine as that of the
  reconstruction, by detectors of finite width. Comparisons in the "thesis protocol", and those of
  MRI, have noise-free data that are measured on the pixel grid that also reconstructs them (an
  inverse crime), which favours all methods; MAR follows a polychromatic model in both.
- Times were measured while other jobs shared the two cores.
- The dissertation's own numbers are of other data, matrix sizes and networks: do not compare them.

"""
LEARNING_FREE = ("FBP", "FBP (Hann)", "CGLS", "SIRT", "FISTA-TV")
"""Baselines of the sparse-view comparison that need no training."""

SUPERVISED, TRAINED_FOR = "U-Net (23 views)", "23 views"
"""The supervised network of the sparse-view comparison, and the task that it was trained for."""


def numbers(runs: Path) -> list[Number]:
    """Differences of medscore from the other methods of the sparse-view table.

    Args:
        runs: folder of the comparisons' folders.
    """
    content = (runs / "sparse-ct" / "table.csv").read_text()
    rows = {(row["task"], row["method"]): row for row in csv.DictReader(io.StringIO(content))}
    found = []

    def gap(task: str, other: str, metric: str) -> float:
        return float(rows[task, "medscore"][metric]) - float(rows[task, other][metric])

    for task in dict.fromkeys(task for task, _ in rows):
        baselines = [name for name in LEARNING_FREE if (task, name) in rows]
        for metric, unit in (("psnr_mean", "dB"), ("ssim_mean", "SSIM")):
            if not baselines:
                continue
            best = max(baselines, key=lambda name: float(rows[task, name][metric]))
            title = f"{task}: medscore minus the best learning-free baseline, {best} ({unit})"
            found.append(Number(title, gap(task, best, metric), at_least=0))
        for metric, unit in (("psnr_mean", "dB"), ("ssim_mean", "SSIM")):
            title = f"{task}: medscore minus {SUPERVISED} ({unit})"
            least = None if task == TRAINED_FOR else 0
            found.append(Number(title, gap(task, SUPERVISED, metric), at_least=least))
    if ("23 views", "FISTA-TV") in rows:
        title = "23 views: medscore minus FISTA-TV (dB)"
        found.append(Number(title, gap("23 views", "FISTA-TV", "psnr_mean"), at_least=1.5))
    return found


def page(runs: Path, pictures: Path) -> str:
    """The benchmark page of the docs; copies the figures that it shows.

    Args:
        runs: folder of the comparisons' folders.
        pictures: folder of the figures, beside the page.
    """
    parts = [INTRO, "## Targets", "", *table(numbers(runs)), ""]
    pictures.mkdir(exist_ok=True)
    for name in NAMES:
        folder = runs / name
        if not (folder / "report.md").is_file():
            parts += [f"`{name}` has not been run.", ""]
            continue
        text = (folder / "report.md").read_text()
        shown = re.findall(r"\]\(([^)]+\.png)\)", text)
        slices = [p for p in shown if "-slice" in p]
        middle = [p for p in slices if "task2-slice1" in p] or slices[:1]
        kept = [p for p in shown if p not in slices] + middle
        for picture in shown:
            if picture in kept:
                shutil.copyfile(folder / picture, pictures / picture)
                text = text.replace(f"]({picture})", f"]({pictures.name}/{picture})")
            else:
                text = re.sub(rf"!\[[^]]*\]\({re.escape(picture)}\)\n\n?", "", text)
        parts += [text.rstrip(), ""]
    return "\n".join(parts).replace("\n\n\n", "\n\n").rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of the comparisons' folders")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    found = show(numbers(args.runs))
    if args.page:
        args.page.write_text(page(args.runs, args.page.parent / args.page.stem))
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
