"""What benchmarks/samplers.py found, as docs/samplers.md with its two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from number import Number, table as number_table

DRAWN = "exact draws"


def table(rows: dict[str, dict[str, float]]) -> list[str]:
    """A Markdown table of samplers by evaluations."""
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
    """docs/samplers.md."""
    intro = (Path(__file__).parent / "samplers_intro.md").read_text().rstrip()
    lines = [
        intro,
        "",
        "## Measured",
        "",
        "Written by `python benchmarks/samplers.py --check --page docs/samplers.md`; edit the text",
        "above in `benchmarks/samplers_intro.md`.",
        "",
        found["machine"],
        "",
        "![Error against evaluations](samplers.png)",
        "",
        "### On a mixture of three Gaussians",
        "",
        f"Sliced 2-Wasserstein distance of {found['draws']} samples to p_eps, from the exact p_1,",
        "by network evaluations. A cell is empty where the budget allows fewer than two steps.",
        "This many samples resolve what exact draws show; samplers of the flow (the lower rows)",
        "keep the luck of their start, the same for all, so that they end at one value above it.",
        "",
    ]
    for label, rows in found["mixture"].items():
        lines += [
            f"#### {label}: {found['sdes'][label]}",
            "",
            *table(rows),
            "",
            f"Exact draws: {rows[DRAWN]['']:.2g}, the root mean square of 16 sets.",
            "",
        ]
    images = found["images"]
    lines += [
        "### On the shipped CT prior",
        "",
        "8 images of 128 x 128 from `ct-128`, all from the same noise, after Tweedie's denoise.",
        "Samplers of the probability flow: root mean square distance to the flow's own images",
        "(DPM-Solver-3, 300 evaluations), in % of the prior's range. With 150 evaluations it is",
        f"{100 * images['reference']:.2g} % from them.",
        "",
        *table({k: {n: 100 * v for n, v in r.items()} for k, r in images["rms"].items()}),
        "",
        "The adaptive solver (dopri5) at three tolerances, absolute and relative:",
        "",
        "| tolerance | evaluations | distance, % |",
        "| --- | ---: | ---: |",
        *(
            f"| {tolerance} | {v['nfe']} | {100 * v['rms']:.2g} |"
            for tolerance, v in images["adaptive"].items()
        ),
        "",
        "All samplers: root mean square difference of the log power spectra in dB, over 32 rings",
        "of frequency, to those of the flow's images. Halves of the flow's images differ by",
        f"{images['halves']:.2g} dB. It shows the grain that too few steps leave or take.",
        "",
        *table(images["spectrum"]),
        "",
        "### Two far modes (Fig. 5.3 of Song 2022)",
        "",
        "![Samples of two far modes](modes.png)",
        "",
        "| method | weight of the mode at (5, 5), 0.8 exactly |",
        "| --- | ---: |",
        *(f"| {name} | {v['weight']:.3f} |" for name, v in found["modes"].items()),
        "",
        "### Numbers",
        "",
        "Euler-Maruyama with 500 evaluations cannot be told from exact draws by 50,000 samples. So",
        "what 20 evaluations are to reach is the larger of the two errors, within two standard",
        "errors of the difference, each from 8 independent starts (16 sets of exact draws).",
        "",
        *number_table(numbers),
    ]
    return "\n".join(lines) + "\n"


def plots(found: dict[str, Any], folder: Path) -> None:
    """samplers.png and modes.png."""
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
