"""MRI of several coils with the priors `mri` and `mri-magnitude`, against its peers.

    python benchmarks/mri.py                     # computes what is missing, prints the table
    python benchmarks/mri.py --part noise        # the noise that the configurations state
    python benchmarks/mri.py --part cost         # only time: needs an idle machine
    python benchmarks/mri.py --prior mri.safetensors --preset mri
    python benchmarks/mri.py --limit 1 --samples 1 --steps 4 --prior mri-128   # a trial
    python benchmarks/mri.py --check --page FILE

Parts: `quality`, the comparison native-mri of TCGA-LGG validation patients; `thesis`, the
comparison mri at 8x; `real`, measured k-space; `contrast`, the comparisons native-mri-thigh and
native-mri-abdomen; `cost`; `noise`. The weights of the learning-free baselines are tuned on the
reported slices (``python benchmarks/tune_baselines.py configs/eval/native-mri.yaml``). The
supervised networks are trained if --networks lacks them, about two hours each. Finished slices are
kept in --runs, finished parts in --json, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from development_data import DATA
from mri_cost import cost_numbers
from mri_noise import noise_numbers
from mri_real import CASES, real_numbers
from number import Number, exit_code, finished, machine, table

import medscore
from medscore.evaluation.comparison import cohort
from medscore.evaluation.config import read_evaluation
from medscore.evaluation.methods import measure
from medscore.evaluation.run import EvaluationRun, evaluate
from medscore.io.yaml_files import read_yaml
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Reconstruction
from medscore.training.jobs import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "eval"

OURS, WAVELETS, CASCADE = "medscore", "L1-wavelet", "cascade ({})"
"""Names of methods in the comparisons."""

GAINS = {"4x": 3.0, "8x": 2.0}
"""Least gain over L1-wavelet in dB, by acceleration."""

TRAINED_FOR = {"4x": (None, 0.0), "8x": (-0.5, None)}
"""Least gain over the cascade trained for an acceleration, there and at the others, in dB."""

THESIS_PSNR, CONTRAST_GAIN = 31.3, 2.0
"""Least PSNR in the thesis protocol at 8x, and least gain over L1-wavelet on other contrasts."""

CONTRASTS = {
    "native-mri-thigh": "T2 with saturated fat of the thigh",
    "native-mri-abdomen": "T2 of the abdomen",
}
"""Comparisons of other contrasts, and their titles."""

WRONG, TOLD = ("T1", "FLAIR"), "which the prior was told"
"""Contrasts that a reconstruction of T2 is told, and a part of the warning that it must give."""

INTRO = Path(__file__).with_name("mri_intro.md")
"""Head of the page."""


@dataclass(frozen=True)
class Chosen:
    """What a run compares.

    Attributes:
        prior: name or path of the prior of complex images.
        magnitude: name or path of the prior of magnitudes.
        preset: name of the preset; None for that of the comparisons.
        samples: samples of medscore; None for that of the comparisons.
        steps: steps of medscore; None for those of the preset.
        limit: largest number of slices and of measured cases; None for all.
        data: folder of the development data.
        runs: folder of the comparisons' folders.
        networks: folder of the supervised networks.
    """

    prior: str
    magnitude: str
    preset: str | None
    samples: int | None
    steps: int | None
    limit: int | None
    data: Path
    runs: Path
    networks: Path

    def settings(self, prior: str) -> dict[str, Any]:
        """The settings of medscore that differ from those of a comparison.

        Args:
            prior: the prior.
        """
        given = {"preset": self.preset, "samples": self.samples, "steps": self.steps}
        return {"prior": prior, **{k: v for k, v in given.items() if v is not None}}


def adapted(name: str, chosen: Chosen, prior: str, tasks: Iterable[str] = ()) -> Path:
    """A comparison with the chosen settings of medscore, written to the folder of the runs.

    Args:
        name: its name.
        chosen: what the run compares.
        prior: the prior of medscore.
        tasks: names of the tasks to keep; all by default.
    """
    content = read_yaml(CONFIGS / f"{name}.yaml")
    kept = [t for t in content["tasks"] if not tasks or t["name"] in tasks]
    names = {task["name"] for task in kept}
    for method in content["methods"]:
        if "at" in method:
            method["at"] = {k: v for k, v in method["at"].items() if k in names}
        if method["name"] == OURS:
            method["prior"] = {**method["prior"], **chosen.settings(prior)}
    content["tasks"] = kept
    if chosen.limit is not None:
        content["cohort"]["limit"] = chosen.limit
    path = chosen.runs / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def rows_of(path: Path, chosen: Chosen, only: Iterable[str] = ()) -> dict[tuple[str, str], Any]:
    """The rows of a comparison's table by task and method; what is missing is computed.

    Args:
        path: the comparison.
        chosen: what the run compares.
        only: names of the methods; all by default.
    """

    def trained(name: str, recipe: Path, folder: Path) -> None:
        print(f"{name}: training its network into {folder}", flush=True)
        train(recipe, chosen.data, output=folder, cache=chosen.networks / "cache")

    folder = chosen.runs / path.stem
    evaluate(
        path, folder, train=trained, data=chosen.data, only=tuple(only),
        run=EvaluationRun(networks=chosen.networks),
    )  # fmt: skip
    with (folder / "table.csv").open() as file:
        return {(row["task"], row["method"]): row for row in csv.DictReader(file)}


def listed(title: str, rows: dict[tuple[str, str], Any], task: str) -> list[Number]:
    """PSNR and SSIM of every method in a task.

    Args:
        title: beginning of the names.
        rows: the rows of the table.
        task: name of the task.
    """
    found = []
    for (of, method), row in rows.items():
        if of == task:
            found.append(Number(f"{title}: {method}, PSNR", float(row["psnr_mean"]), "dB"))
            found.append(Number(f"{title}: {method}, SSIM", float(row["ssim_mean"])))
    return found


def gain(
    title: str, rows: dict[tuple[str, str], Any], task: str, peer: str, least: float | None
) -> Number:
    """PSNR of medscore minus that of another method.

    Args:
        title: beginning of the name.
        rows: the rows of the table.
        task: name of the task.
        peer: name of the other method.
        least: least difference in dB.
    """
    value = float(rows[task, OURS]["psnr_mean"]) - float(rows[task, peer]["psnr_mean"])
    return Number(f"{title}: {OURS} minus {peer}, PSNR", value, "dB", at_least=least)


def quality_numbers(chosen: Chosen) -> list[Number]:
    """The comparison native-mri.

    Args:
        chosen: what the run compares.
    """
    rows = rows_of(adapted("native-mri", chosen, chosen.prior), chosen)
    found = []
    for task in dict.fromkeys(task for task, _ in rows):
        title = f"256 x 256, 8 coils, {task}"
        found += listed(title, rows, task)
        found.append(gain(title, rows, task, WAVELETS, GAINS.get(task)))
        for trained_for, (there, elsewhere) in TRAINED_FOR.items():
            least = there if task == trained_for else elsewhere
            found.append(gain(title, rows, task, CASCADE.format(trained_for), least))
    return found


def thesis_numbers(chosen: Chosen) -> list[Number]:
    """The comparison mri at 8x, one coil, without noise and phase.

    Args:
        chosen: what the run compares.
    """
    path = adapted("mri", chosen, chosen.magnitude, tasks=("8x",))
    row = rows_of(path, chosen, only=(WAVELETS, OURS))["8x", OURS]
    title = "128 x 128, one coil, thesis protocol, 8x"
    return [
        Number(f"{title}: {OURS}, PSNR", float(row["psnr_mean"]), "dB", at_least=THESIS_PSNR),
        Number(f"{title}: {OURS}, SSIM", float(row["ssim_mean"])),
    ]


def contrast_numbers(chosen: Chosen, name: str, title: str) -> list[Number]:
    """A comparison of another contrast, and whether reconstructions warn that are told a wrong one.

    Args:
        chosen: what the run compares.
        name: name of the comparison.
        title: what it shows.
    """
    path = adapted(name, chosen, chosen.prior)
    rows = rows_of(path, chosen)
    title = f"{title}, 4x"
    found = [*listed(title, rows, "4x"), gain(title, rows, "4x", WAVELETS, CONTRAST_GAIN)]
    spec = read_evaluation(path)
    cases = cohort(spec.cohort, chosen.data, spec.tasks)
    once = chosen.settings(chosen.prior) | {"samples": 1}
    found += [
        Number(
            f"{title}: warns if it is told to be {told}",
            100 * float(np.mean([
                any(TOLD in w for w in medscore.reconstruct(m, **once, contrast=told).warnings)
                for m in (measure(c, spec.tasks[0], i, path) for i, c in enumerate(cases))
            ])),
            "%", at_least=100,
        )
        for told in WRONG
    ]  # fmt: skip
    return found


def ours(chosen: Chosen) -> Callable[[Measurement], Reconstruction]:
    """The reconstruction by medscore.

    Args:
        chosen: what the run compares.
    """
    settings = {"samples": 8, **chosen.settings(chosen.prior)}
    return lambda m: medscore.reconstruct(m, **settings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="mri", help="prior of complex images")
    parser.add_argument("--magnitude", default="mri-magnitude", help="prior of magnitudes")
    parser.add_argument("--preset", help="preset of medscore")
    parser.add_argument("--samples", type=int, help="samples of medscore")
    parser.add_argument("--steps", type=int, help="steps of medscore")
    parser.add_argument("--limit", type=int, help="largest number of slices and measured cases")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the development data")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="finished slices")
    parser.add_argument("--networks", type=Path, help="supervised networks; RUNS/networks")
    parser.add_argument("--json", type=Path, help="finished parts; read if it exists")
    parser.add_argument("--part", action="append", help="only this part; repeatable")
    parser.add_argument("--page", type=Path, help="write the Markdown page to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    chosen = Chosen(
        args.prior, args.magnitude, args.preset, args.samples, args.steps, args.limit, args.data,
        args.runs, args.networks or args.runs / "networks",
    )  # fmt: skip
    parts: dict[str, Callable[[], Iterable[Number]]] = {
        "quality": lambda: quality_numbers(chosen),
        "thesis": lambda: thesis_numbers(chosen),
        "real": lambda: real_numbers(chosen.data, CASES[: chosen.limit], ours(chosen)),
        "contrast": lambda: [
            number
            for name, title in CONTRASTS.items()
            for number in contrast_numbers(chosen, name, title)
        ],
        "cost": lambda: cost_numbers(chosen.prior),
        "noise": lambda: noise_numbers(chosen.data),
    }
    found = finished(parts, args.json, args.part)
    if args.page:
        args.page.write_text(
            INTRO.read_text() + "\n" + machine() + "\n\n" + "\n".join(table(found)) + "\n"
        )
    return exit_code(found, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
