"""docs/benchmarks/samplers.md and its two plots from the results of benchmarks/samplers.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from number import Number, table as number_table

DRAWN = "exact draws"
"""The row that samples without a sampler."""


def table(rows: dict[str, dict[str, float]]) -> list[str]:
    """The lines of a Markdown table of samplers by network evaluations.

    Args:
        rows: an error by sampler and network evaluations.
    """
    columns = sorted({int(nfe) for name, row in rows.items() if name != DRAWN for nfe in row})
    lines = [
        "| sampler | " + " | ".join(str(c) for c in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, row in rows.items():
        if name != DRAWN:
            cells = [f"{row[str(c)]:.2g}" if str(c) in row else "" for c in columns]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def page(found: dict[str, Any], numbers: list[Number]) -> str:
    """The benchmark page of the docs.

    Args:
        found: the results of a run, as ``--json`` stores them.
        numbers: the measured values with targets.
    """
    lines = [
        "# Samplers",
        "",
        "Error against network evaluations, and overhead of the engine. How to choose and call a",
        "sampler: [Samplers](../samplers.md).",
        "",
        "Written by `python benchmarks/samplers.py --check --page docs/benchmarks/samplers.md`; do",
        "not edit by hand.",
        "",
        f"Machine: {found['machine']}.",
        "",
        "![Error against evaluations](samplers.png)",
        "",
        "## Mixture of three Gaussians",
        "",
        f"Sliced 2-Wasserstein distance of {found['draws']} samples to p_eps by network",
        "evaluations; sampling starts from the exact p_1. A cell is empty where the budget allows",
        "fewer than two steps. The distance of exact draws is due to the finite number of samples.",
        "Samplers of the probability flow (the lower rows) all start from the same draws and keep",
        "their sampling error, so they converge to the same value slightly above it.",
        "",
    ]
    for label, rows in found["mixture"].items():
        lines += [
            f"### {label}: {found['sdes'][label]}",
            "",
            *table(rows),
            "",
            f"Exact draws: {rows[DRAWN]['']:.2g} (root mean square over 16 sets).",
            "",
        ]
    images = found["images"]
    lines += [
        "## Shipped CT prior",
        "",
        "8 images of 128 x 128 pixels from `ct-128`, all from the same initial noise, after a",
        "final denoising step (Tweedie's formula).",
        "",
        "Samplers of the probability flow: root mean square distance from an accurate solution",
        "(DPM-Solver-3, 300 evaluations), in % of the prior's range. The distance of the solution",
        f"with 150 evaluations is {100 * images['reference']:.2g} %.",
        "",
        *table({k: {n: 100 * v for n, v in r.items()} for k, r in images["rms"].items()}),
        "",
        "The adaptive solver (dopri5), with equal absolute and relative tolerance:",
        "",
        "| tolerance | evaluations | distance, % |",
        "| --- | ---: | ---: |",
        *(
            f"| {tolerance} | {v['nfe']} | {100 * v['rms']:.2g} |"
            for tolerance, v in images["adaptive"].items()
        ),
        "",
        "All samplers: root mean square difference of the log power spectrum in dB, over 32 rings",
        "of frequency, from that of the accurate solution. The spectra of the two halves of the",
        f"accurate images differ by {images['halves']:.2g} dB. The difference shows the noise that",
        "too few steps leave in the images, or the texture that they remove.",
        "",
        *table(images["spectrum"]),
        "",
        "## Two distant modes (Fig. 5.3 of Song 2022)",
        "",
        "![Samples of two far modes](modes.png)",
        "",
        "| method | weight of the mode at (5, 5); the exact weight is 0.8 |",
        "| --- | ---: |",
        *(f"| {name} | {v['weight']:.3f} |" for name, v in found["modes"].items()),
        "",
        "## Targets",
        "",
        "With 50,000 samples, Euler-Maruyama at 500 evaluations cannot be distinguished from",
        "exact draws. The target for 20 evaluations is therefore the larger of the two errors,",
        "within two standard errors of the difference, from 8 independent starts (16 sets of exact",
        "draws).",
        "",
        *number_table(numbers),
    ]
    return "\n".join(lines) + "\n"


def plots(found: dict[str, Any], folder: Path) -> None:
    """Write samplers.png and modes.png.

    Args:
        found: the results of a run, as ``--json`` stores them.
        folder: where to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = pyplot.get_cmap("tab20")
    figure, axes = pyplot.subplots(1, 4, figsize=(17, 5.5))
    panels = [(f"mixture, {k}", v, "sliced W2") for k, v in found["mixture"].items()]
    panels.append(("ct-128: distance to the flow's images", found["images"]["rms"], "RMS"))
    for axis, (title, rows, label) in zip(axes, panels, strict=True):
        for index, name in enumerate(found["images"]["spectrum"]):
            row = rows.get(name, {})
            nfe = [int(k) for k in row]
            style = "-" if name in found["odes"] else "--"
            axis.plot(nfe, list(row.values()), style, marker=".", color=colours(index), label=name)
        if DRAWN in rows:
            axis.axhline(rows[DRAWN][""], color="k", lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", title=title, xlabel="evaluations", ylabel=label)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=5, fontsize=8)
    figure.tight_layout(rect=(0, 0.17, 1, 1))
    figure.savefig(folder / "samplers.png", dpi=80)
    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3.6), sharey=True)
    for axis, (name, value) in zip(axes, found["modes"].items(), strict=True):
        x, y = zip(*value["points"], strict=True)
        axis.plot(x, y, ".", ms=2)
        axis.set(title=f"{name}: {value['weight']:.2f}", xlim=(-9, 9), ylim=(-9, 9), aspect="equal")
    figure.tight_layout()
    figure.savefig(folder / "modes.png", dpi=80)
