"""docs/results.md: the reports of all comparisons, joined.

    medscore evaluate sparse-ct --data DATA -o runs/sparse-ct     # and so on, each of NAMES
    python benchmarks/results.py runs --page docs/results.md
    python benchmarks/results.py runs --check                     # exit 1 when a number is missed

Reads ``report.md``, ``table.csv`` and the pictures that ``medscore evaluate`` wrote into
``RUNS/NAME`` for every comparison; writes the page, and the pictures to a folder beside it.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import sys
from pathlib import Path

from number import Number, table

NAMES = (
    "sparse-ct", "views-ct", "mri", "acceleration-mri", "mar", "bundled-ct", "bundled-mri",
)  # fmt: skip
INTRO = """# Results

The dissertation's tables (Song 2022, chapter 8), measured by `medscore evaluate` on real scans:
CT of COVID-19-NY-SBU and brain MRI of TCGA-LGG (TCIA; the README of the development data has
sources and licences), patients that no network was trained on, and images that ship inside
pydicom and nilearn. 128 x 128 pixels, two cores, the shipped priors; ours has its defaults
everywhere: DiffPIR, 50 evaluations, the mean of 8 samples. The learning-free baselines have the
best parameter of a grid on slices of these very tables (`python benchmarks/tune_baselines.py
configs/eval/NAME.yaml`), so they are favoured; SIRT stops at 3200 iterations, which with 45 views
is 0.3 dB more than 800. The supervised networks are trained for 1500 to 3000 steps
(`configs/supervised/`). The seconds were measured while several other jobs shared the two cores:
alone, ours takes 10.8 s a slice (`python benchmarks/scaling.py`). The dissertation's own numbers
are of other data, sizes and networks.

Written by `python benchmarks/results.py runs --page docs/results.md` from the folders that the
commands below wrote; do not edit by hand. How to read it: [evaluation.md](evaluation.md).

"""
LEARNING_FREE = ("FBP", "FBP (Hann)", "CGLS", "SIRT", "FISTA-TV")


def numbers(runs: Path) -> list[Number]:
    """What is asked of the sparse-view table."""
    rows = {
        (row["task"], row["method"]): row
        for row in csv.DictReader(io.StringIO((runs / "sparse-ct" / "table.csv").read_text()))
    }
    tasks = list(dict.fromkeys(task for task, _ in rows))
    found = []

    def gap(task: str, other: str, metric: str) -> float:
        return float(rows[task, "medscore"][metric]) - float(rows[task, other][metric])

    for task in tasks:
        for metric, unit in (("psnr_mean", "dB"), ("ssim_mean", "SSIM")):
            there = [name for name in LEARNING_FREE if (task, name) in rows]
            if not there:
                continue
            rival = max(there, key=lambda name: float(rows[task, name][metric]))
            found.append(Number(f"{task}: ours minus the best learning-free baseline, {rival} "
                                f"({unit})", gap(task, rival, metric), at_least=0))  # fmt: skip
        net = "U-Net (23 views)"
        asked = None if task == "23 views" else 0
        found.append(Number(f"{task}: ours minus {net} (dB)", gap(task, net, "psnr_mean"),
                            at_least=asked))  # fmt: skip
        found.append(Number(f"{task}: ours minus {net} (SSIM)", gap(task, net, "ssim_mean"),
                            at_least=asked))  # fmt: skip
    if ("23 views", "FISTA-TV") in rows:
        found.append(Number("23 views: ours minus FISTA-TV (dB)", gap("23 views", "FISTA-TV",
                            "psnr_mean"), at_least=1.5))  # fmt: skip
    return found


def page(runs: Path, pictures: Path) -> str:
    """The page; copies the pictures it shows."""
    parts = [INTRO, "## What is asked of them", "", *table(numbers(runs)), ""]
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
    parser.add_argument("--page", type=Path, help="write the page here")
    parser.add_argument("--check", action="store_true", help="exit 1 when a number is missed")
    args = parser.parse_args()
    found = numbers(args.runs)
    for number in found:
        print(number)
    if args.page:
        args.page.write_text(page(args.runs, args.page.parent / args.page.stem))
    return int(args.check and not all(n.met for n in found))


if __name__ == "__main__":
    sys.exit(main())
