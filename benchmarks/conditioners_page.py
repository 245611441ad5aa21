"""docs/conditioners.md from what benchmarks/conditioners.py and calibration.py have stored."""

from __future__ import annotations

import json
import platform
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods import RANKED, REFERENCE
from number import Number, table as number_table
from numpy.typing import NDArray
from prior_quality import MRI_METRIC

from medscore.metrics.image_quality import CT_CONVENTION

Rows = dict[str, list[dict[str, Any]]]


def load(store: Path) -> Rows:
    """All rows, slice by slice."""
    names = [p for p in sorted(store.glob("*.json")) if " - " in p.stem]
    return {p.stem: sorted(json.loads(p.read_text()), key=lambda k: k["slice"]) for p in names}


def numbers(store: Path) -> list[Number]:
    """What is asked of the stored rows."""
    rows, found = load(store), []
    for task in ("MRI 4x", "MRI 8x"):
        for better, worse in pairwise(RANKED):
            gaps = _each(rows[f"{task} - {better}"]) - _each(rows[f"{task} - {worse}"])
            error = gaps.std(ddof=1) / len(gaps) ** 0.5
            title = f"{task}: {better} minus {worse} (dB, standard error {error:.2f})"
            found.append(Number(title, float(gaps.mean()), at_least=0.0))
    for task in ("CT 23 views", "MRI 8x"):
        slow = rows[f"{task} - {REFERENCE}"]
        fast = rows[f"{task} - DiffPIR"][: len(slow)]
        title = f"{task}, {len(slow)} slices, DiffPIR minus {REFERENCE} evaluations"
        for k, label in ((_one, "one sample"), (_mean, "mean of 8")):
            gap = k(fast)[0] - k(slow)[0]
            found.append(Number(f"{title}, {label} (dB)", gap, at_least=-0.3))
        found.append(Number(f"{task}: DiffPIR's evaluations", fast[0]["nfe"], at_most=50))
        ratio = _seconds(slow) / _seconds(fast)
        found.append(Number(f"{task}: wall time saved, ratio", ratio, at_least=20))
    for name, row in rows.items():
        task, _, solver = name.partition(" - ")
        if solver != "DiffPIR" or task.startswith("MRI"):
            continue
        peers = {k: _classical(row, k) for k in row[0]["classical"]}
        for peer in ("FISTA-TV", "FISTA-TV, weighted"):
            if f"{task} - {peer}" in rows:
                peers[peer] = _mean(rows[f"{task} - {peer}"])
        for peer, (psnr, ssim) in peers.items():
            ours = _mean(row)
            found.append(Number(f"{task}: over {peer} (dB)", ours[0] - psnr, at_least=0.0))
            found.append(Number(f"{task}: over {peer} (SSIM)", ours[1] - ssim, at_least=0.0))
    fits = [k["residual"] for name, row in rows.items() for k in row
            if not any(word in name for word in ("photons", "FISTA", "MAR"))]  # fmt: skip
    return [*found, Number("largest relative residual of noise-free rows", max(fits), at_most=1e-3)]


def page(store: Path, digest: str) -> str:
    """The whole page."""
    intro = Path(__file__).with_name("conditioners_intro.md").read_text().rstrip()
    machine = f"{platform.machine()}, torch {torch.__version__}"
    rows = load(store)
    lines = [
        intro,
        "",
        f"Metric, CT: {CT_CONVENTION}. MRI: {MRI_METRIC}. Machine: {machine}; two rows at a time,",
        f"one thread each. Stored rows: `benchmarks/conditioners/`, SHA-256 `{digest}`.",
        "",
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
    lines += ["", "### What is asked of them", "", *number_table(numbers(store))]
    stored = store / "calibration.json"
    if stored.exists():
        lines += [
            "",
            "## Against the true posterior",
            "",
            *calibration(json.loads(stored.read_text())),
        ]
    return "\n".join(lines) + "\n"


def calibration(found: list[dict[str, Any]]) -> list[str]:
    """Bias, spread and coverage of every method."""
    columns = [(p, n) for p in ("Gaussian", "mixture") for n in (0.0, 0.1)]
    lines = [
        "Written by `python benchmarks/calibration.py --json",
        "benchmarks/conditioners/calibration.json`, which says how. 8 x 8 images, half of",
        "the k-space lines, 100 steps. Bias in posterior deviations (0 is right), spread as",
        "a share of the posterior's (1 is right), coverage of the central",
        "90 % (89 % of 200 exact draws). An empty cell: the method diverged, or needs noise.",
        "",
        "| method | "
        + " | ".join(f"{p}, noise {n:g}: bias, spread, coverage" for p, n in columns)
        + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name in dict.fromkeys(f["method"] for f in found):
        cells = []
        for p, n in columns:
            one = [f for f in found if (f["method"], f["prior"], f["noise"]) == (name, p, n)]
            cells.append(
                f"{one[0]['bias']:.2f}, {one[0]['spread']:.2f}, {100 * one[0]['coverage']:.0f} %"
                if one
                else ""
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _one(row: list[dict[str, Any]]) -> tuple[float, float]:
    return _average([np.mean(k["each"], axis=0) for k in row])


def _each(row: list[dict[str, Any]]) -> NDArray[np.float64]:
    """PSNR of every slice, the mean of its samples'."""
    return np.array([np.mean([one[0] for one in k["each"]]) for k in row])


def _mean(row: list[dict[str, Any]]) -> tuple[float, float]:
    return _average([k["mean"] for k in row])


def _classical(row: list[dict[str, Any]], name: str) -> tuple[float, float]:
    return _average([k["classical"][name] for k in row])


def _average(pairs: list[Any]) -> tuple[float, float]:
    psnr, ssim = np.mean(pairs, axis=0)
    return float(psnr), float(ssim)


def _seconds(row: list[dict[str, Any]]) -> float:
    return float(np.mean([k["seconds"] for k in row]))
