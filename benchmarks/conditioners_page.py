"""docs/benchmarks/conditioners.md from the stored rows of conditioners.py and calibration.py."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditioner_rows import CT_TASKS, MRI_TASKS, NOISE_FREE, ROWS, THESIS, TV
from methods import RANKED, REFERENCE
from number import Number, table as number_table
from numpy.typing import NDArray
from prior_quality import MRI_METRIC
from rank_calibration import LEVEL as RANK_LEVEL

from medscore.metrics.image_quality import CONVENTIONS, CT_CONVENTION

Rows = dict[str, list[dict[str, Any]]]
"""Results of each slice, by ``TASK - METHOD``."""


def load(store: Path) -> Rows:
    """The rows of the table, slice by slice; files of other rows in the folder are left out.

    Args:
        store: folder of the rows' JSON files.
    """
    paths = {name: store / f"{name}.json" for name in sorted(row.name for row in ROWS)}
    if missing := [name for name, path in paths.items() if not path.exists()]:
        sys.exit(f"not measured yet: {'; '.join(missing)}: run benchmarks/conditioners.py")
    return {
        name: sorted(json.loads(path.read_text()), key=lambda k: k["slice"])
        for name, path in paths.items()
    }


def others(store: Path) -> list[str]:
    """Names of stored rows that the table does not have, such as those of tasks of the past.

    Args:
        store: folder of the rows' JSON files.
    """
    names = {row.name for row in ROWS}
    return sorted(p.stem for p in store.glob("* - *.json") if p.stem not in names)


def numbers(store: Path) -> list[Number]:
    """The measured values that have targets.

    Args:
        store: folder of the rows' JSON files.
    """
    rows = load(store)
    exact = [r.name for r in ROWS if r.task in NOISE_FREE and r.solver != TV]
    fits = max(k["residual"] for name in exact for k in rows[name])
    worst = Number("largest relative residual of noise-free rows", fits, at_most=1e-3)
    return [*_ranking(rows), *_fast_against_slow(rows), *_against_classical(rows), worst]


def _ranking(rows: Rows) -> list[Number]:
    """The paired differences in PSNR between neighbours of the ranking."""
    found = []
    for task in MRI_TASKS:
        for better, worse in pairwise(RANKED):
            gaps = _each(rows[f"{task} - {better}"]) - _each(rows[f"{task} - {worse}"])
            error = gaps.std(ddof=1) / len(gaps) ** 0.5
            title = f"{task}: {better} minus {worse} (dB, standard error {error:.2f})"
            found.append(Number(title, float(gaps.mean()), at_least=0.0))
    return found


def _fast_against_slow(rows: Rows) -> list[Number]:
    """DiffPIR with 50 evaluations against the dissertation's method with 2001."""
    found = []
    for task in (THESIS, "MRI 8x"):
        slow = rows[f"{task} - {REFERENCE}"]
        fast = rows[f"{task} - DiffPIR"][: len(slow)]
        title = f"{task}, {len(slow)} slices, DiffPIR minus {REFERENCE} evaluations"
        for average, label in ((_one, "one sample"), (_mean, "mean of 8")):
            gap = average(fast)[0] - average(slow)[0]
            found.append(Number(f"{title}, {label} (dB)", gap, at_least=-0.3))
        found.append(Number(f"{task}: network evaluations of DiffPIR", fast[0]["nfe"], at_most=50))
        ratio = _seconds(slow) / _seconds(fast)
        found.append(Number(f"{task}: ratio of the wall times", ratio, at_least=20))
    return found


def _against_classical(rows: Rows) -> list[Number]:
    """The mean of DiffPIR's samples against the classical methods, on CT."""
    found = []
    for task in CT_TASKS:
        row = rows[f"{task} - DiffPIR"]
        ours = _mean(row)
        peers = {k: _classical(row, k) for k in row[0]["classical"]}
        for peer, (psnr, ssim) in (peers | {TV: _mean(rows[f"{task} - {TV}"])}).items():
            title = f"{task}: DiffPIR minus {peer}"
            found.append(Number(f"{title} (dB)", ours[0] - psnr, at_least=0.0))
            found.append(Number(f"{title} (SSIM)", ours[1] - ssim, at_least=0.0))
    return found


def page(store: Path, digest: str) -> str:
    """The benchmark page of the docs.

    Args:
        store: folder of the rows' JSON files.
        digest: SHA-256 of these files.
    """
    intro = Path(__file__).with_name("conditioners_intro.md").read_text().rstrip()
    machine = f"{platform.machine()}, torch {torch.__version__}"
    lines = [
        intro,
        f"- Metric, CT: {CT_CONVENTION}.",
        f"- Metric, MAR: {CONVENTIONS['thesis-mar']}.",
        f"- Metric, MRI: {MRI_METRIC}.",
        f"- Machine: {machine}; two rows at a time, one thread each.",
        f"- Stored rows: `benchmarks/conditioners/`, SHA-256 `{digest}`.",
        "",
        "## Quality and cost on real slices",
        "",
        *_quality(load(store)),
        "",
        "## Targets",
        "",
        *number_table(numbers(store)),
    ]
    stored = store / "calibration.json"
    if stored.exists():
        lines += ["", "## Calibration", "", *calibration(json.loads(stored.read_text()))]
    ranked = store / "ranks.json"
    if ranked.exists():
        lines += ["", "## Ranks of the truth", "", *ranks(json.loads(ranked.read_text()))]
    return "\n".join(lines) + "\n"


def _quality(rows: Rows) -> list[str]:
    lines = [
        "| task | method | slices | samples | NFE | one sample: PSNR, SSIM "
        "| mean of the samples: PSNR, SSIM | residual | s per slice |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | ---: | ---: |",
    ]
    for name, row in rows.items():
        task, _, solver = name.partition(" - ")
        one, mean = _one(row), _mean(row)
        several = len(row[0]["each"])
        right = f"{mean[0]:.2f}, {mean[1]:.3f}" if several > 1 else ""
        if solver == "DiffPIR":
            for peer in row[0]["classical"]:
                psnr, ssim = _classical(row, peer)
                lines.append(f"| {task} | {peer} | {len(row)} | | | {psnr:.2f}, {ssim:.3f} | | | |")
        lines.append(
            f"| {task} | {solver} | {len(row)} | {several} | {row[0]['nfe'] or ''} "
            f"| {one[0]:.2f}, {one[1]:.3f} | {right} "
            f"| {max(k['residual'] for k in row):.1e} | {_seconds(row):.1f} |"
        )
    return lines


def calibration(found: list[dict[str, Any]]) -> list[str]:
    """Bias, spread and coverage of every method, as a Markdown section.

    Args:
        found: the rows of benchmarks/conditioners/calibration.json.
    """
    return [
        "Samples against the exact posterior, by `python benchmarks/calibration.py --json",
        "benchmarks/conditioners/calibration.json`: images of 8 x 8 pixels, half of the k-space",
        "lines, 100 steps, two priors known in closed form, noise standard deviations 0 and 0.1.",
        "Bias: error of the posterior mean in posterior standard deviations, ideally 0. Spread:",
        "standard deviation of the samples relative to that of the posterior, ideally 1. Coverage:",
        "share of the posterior inside the central 90 % of the samples; exact sampling with 200",
        "samples gives 89 %. An empty cell: the method diverged, or it needs noise. `auto` is the",
        "default with the exact covariance, in 49 steps.",
        "",
        *_by_problem(
            found,
            "bias, spread, coverage",
            lambda f: f"{f['bias']:.2f}, {f['spread']:.2f}, {100 * f['coverage']:.0f} %",
        ),
    ]


def ranks(found: list[dict[str, Any]]) -> list[str]:
    """The rank tests of every method, as a Markdown section.

    Args:
        found: the rows of benchmarks/conditioners/ranks.json.
    """
    return [
        "Simulation-based calibration (Talts et al. 2018), by `python",
        "benchmarks/rank_calibration.py --json benchmarks/conditioners/ranks.json`: the rank of",
        "one number of the truth among that of 9 samples, for 300 images of each problem above.",
        "Of exact samples the ranks 0 to 9 are equally frequent, 30 each. p: probability of less",
        "uniform ranks if the samples are exact. Bold: rejected with a false-alarm rate of",
        "0.0025 for each problem. Ends: how often the truth lay outside of all samples, ideally",
        "60 times.",
        "",
        *_by_problem(found, "p, ends", _rank_cell),
    ]


def _by_problem(
    found: list[dict[str, Any]], what: str, cell: Callable[[dict[str, Any]], str]
) -> list[str]:
    """A table with a row for each method and a column for each prior and noise."""
    columns = [(p, n) for p in ("Gaussian", "mixture") for n in (0.0, 0.1)]
    lines = [
        "| method | " + " | ".join(f"{p}, noise {n:g}: {what}" for p, n in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name in dict.fromkeys(f["method"] for f in found):
        cells = []
        for p, n in columns:
            one = [f for f in found if (f["method"], f["prior"], f["noise"]) == (name, p, n)]
            cells.append(cell(one[0]) if one else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _rank_cell(found: dict[str, Any]) -> str:
    ends = found["counts"][0] + found["counts"][-1]
    text = f"{found['p']:.2g}, {ends}"
    return f"**{text}**" if found["p"] < RANK_LEVEL else text


def _one(row: list[dict[str, Any]]) -> tuple[float, float]:
    """PSNR and SSIM of one sample, averaged over samples and slices."""
    return _average([np.mean(k["each"], axis=0) for k in row])


def _each(row: list[dict[str, Any]]) -> NDArray[np.float64]:
    """PSNR of one sample, averaged over the samples of each slice."""
    return np.array([np.mean([one[0] for one in k["each"]]) for k in row])


def _mean(row: list[dict[str, Any]]) -> tuple[float, float]:
    """PSNR and SSIM of the mean of the samples, averaged over slices."""
    return _average([k["mean"] for k in row])


def _classical(row: list[dict[str, Any]], name: str) -> tuple[float, float]:
    return _average([k["classical"][name] for k in row])


def _average(pairs: list[Any]) -> tuple[float, float]:
    psnr, ssim = np.mean(pairs, axis=0)
    return float(psnr), float(ssim)


def _seconds(row: list[dict[str, Any]]) -> float:
    return float(np.mean([k["seconds"] for k in row]))
