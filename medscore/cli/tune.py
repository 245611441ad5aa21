"""``medscore tune``: a method's settings by Bayesian optimisation, with references or without."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer
import yaml
from rich.markup import escape

from medscore.cli import methods, registry
from medscore.cli.evaluate import cohort as read
from medscore.cli.options import config_path
from medscore.cli.progress import console, counting_bar
from medscore.datasets.cohort import Case
from medscore.errors import MedscoreError
from medscore.evaluation.cells import key_of
from medscore.evaluation.config import MethodSpec
from medscore.files import atomic_write
from medscore.measurement import Measurement, read_measurement
from medscore.tuning.config import Score, TuningSpec, read_tuning
from medscore.tuning.held_out import held_out_score, split
from medscore.tuning.space import grid_size, is_grid
from medscore.tuning.sure import sure_score

if TYPE_CHECKING:  # slow to import
    import optuna

PRESET = ("sampler", "conditioner", "grid", "steps", "snr", "lam")
"""What ``medscore recon --preset`` takes of a sampling method."""


def tune(
    config: Annotated[Path, typer.Argument(help="Search (YAML), see configs/tune.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make or go on with.")],
    data: Annotated[Path, typer.Option(help="Folder the cohort's data lie in.")] = Path(),
    measurement: Annotated[
        list[Path] | None,
        typer.Option(help="Tune on these measurement files instead of a cohort; repeatable."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="psnr or ssim against references; held-out or sure without. By the search."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Settings to try in all.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that try settings.")] = 1,
) -> None:
    """Search the settings of a method; trials are kept in OUTPUT/study.db.

    The same command goes on where it stopped. Writes trials.csv and best.yaml, which `medscore
    recon --preset` takes where the method samples with a prior.

    Example: medscore tune configs/tune/pc-ct-23.yaml --data DATA -o runs/tune --workers 2

    Without references: views or lines are left out of the measurements and predicted.

    Example: medscore tune configs/tune/pc-ct-23.yaml --measurement meas.h5 -o runs/tune
    """
    config = config_path(config, "tune")
    for name, value in (("--trials", trials), ("--workers", workers)):
        if value is not None and value < 1:
            raise MedscoreError(f"{name} is {value}", mend="use 1 or more")
    if workers > 1_000_000:
        raise MedscoreError(f"--workers is {workers}", mend="use fewer")
    search = Search.of(config, data, tuple(measurement or ()), score, trials)
    search.objective()  # whatever is wrong is said before anything is made
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedscoreError(
            f"cannot be written ({error.strerror})", where=output, mend="choose another folder"
        ) from error
    from medscore.tuning.search import bury, finished

    study = search.study(output, 0)
    if lost := bury(study):
        console.print(f"{lost} unfinished trial(s) of an interrupted run are tried again")
    total = grid_size(search.spec.search) if is_grid(search.spec.search) else search.trials
    before = torch.get_num_threads()
    try:
        with counting_bar("trials", total) as show:
            if workers == 1:
                torch.set_num_threads(before)
                _work(search, output, 0, lambda done: show(done, ""))
            else:
                with ProcessPoolExecutor(
                    workers, get_context("spawn"), torch.set_num_threads, (1,)
                ) as pool:
                    running = [pool.submit(_work, search, output, w) for w in range(workers)]
                    while any(not f.done() for f in running):
                        show(finished(study), "")
                        _wait(running)
                    for future in running:
                        future.result()
    except KeyboardInterrupt:
        console.print("interrupted: repeat the same command to go on where it stopped")
        raise
    write_results(output, study, search)


@dataclass(frozen=True)
class Search:
    """A search, and what it is on; it can be sent to another process."""

    spec: TuningSpec
    where: Path
    data: Path
    measurements: tuple[Path, ...]
    score: Score
    trials: int

    @classmethod
    def of(
        cls,
        config: Path,
        data: Path,
        measurements: tuple[Path, ...],
        score: str | None,
        trials: int | None,
    ) -> Search:
        """As the command line says it.

        Raises:
            MedscoreError: an unknown score, or one that needs references where there are none.
        """
        spec = read_tuning(config)
        known = {"psnr", "ssim", "held-out", "sure"}
        if score is not None and score not in known:
            raise MedscoreError(
                f"--score {score!r}", mend=f"use one of: {', '.join(sorted(known))}"
            )
        chosen = score or ("held-out" if measurements else spec.score)
        if measurements and chosen in ("psnr", "ssim"):
            raise MedscoreError(
                f"--score {chosen} needs references, measurement files have none",
                mend="use --score held-out or sure",
            )
        if not measurements and (spec.cohort is None or spec.task is None):
            raise MedscoreError(
                "cohort and task are missing", where=config,
                mend="state them, or give --measurement",
            )  # fmt: skip
        return cls(spec, config, data, measurements, chosen, trials or spec.trials)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """Of the study: of these settings, whatever the number of trials."""
        fixed = self.spec.model_dump(mode="json", exclude={"trials"})
        files = [str(path.resolve()) for path in self.measurements]
        return f"{self.spec.name}-{key_of(fixed, files, self.score)[:8]}"

    def study(self, folder: Path, worker: int) -> optuna.Study:
        """The study in a folder."""
        from medscore.tuning.search import open_study

        return open_study(folder, self.name, self.spec.search, seed=self.spec.seed, worker=worker)

    def objective(self) -> Callable[[dict[str, Any]], float]:
        """The score of settings: the mean over slices.

        Raises:
            MedscoreError: what is wrong with the data, the task or the method.
        """
        found = list(self._measured())
        middle = {name: r.values[0] if r.values else r.low for name, r in self.spec.search.items()}
        for _, m in found:
            methods.verify(self._with(middle), "", m, self.where)
            if self.score == "held-out":
                split(m)
            if self.score == "sure" and registry.noise_deviation("recorded", m, self.where) is None:
                raise MedscoreError(
                    "SURE needs noisy measurements, these have none", where=self.where,
                    mend="use --score held-out",
                )  # fmt: skip

        def score(settings: dict[str, Any]) -> float:
            method = self._with(settings)
            return float(np.mean([self._one(method, case, m) for case, m in found]))

        return score

    def _with(self, settings: dict[str, Any]) -> MethodSpec:
        """The method with these settings, and exact enough for finite differences."""
        extra = {"precision": "float32"} if self.score == "sure" and self.spec.method.prior else {}
        name = self.spec.task.name if self.spec.task is not None else ""
        own = {**self.spec.method.at.get(name, {}), **settings, **extra}
        return self.spec.method.model_copy(update={"at": {"": own}})

    def _measured(self) -> list[tuple[Case | None, Measurement]]:
        if self.measurements:
            return [(None, read_measurement(path)) for path in self.measurements]
        cohort, task = self.spec.cohort, self.spec.task
        assert cohort is not None
        assert task is not None
        cases = read(cohort, self.data)
        return [
            (case, methods.measure(case, task, number + self.spec.seed * 1_000_003, self.where))
            for number, case in enumerate(cases)
        ]

    def _one(self, method: MethodSpec, case: Case | None, m: Measurement) -> float:
        solve = methods.solver(method, "", self.where)
        if self.score == "held-out":
            folds = range(self.spec.folds)
            return float(np.mean([held_out_score(solve, m, fold=f) for f in folds]))
        if self.score == "sure":
            std = registry.noise_deviation("recorded", m, self.where)
            return sure_score(solve, m, std, seed=self.spec.seed)
        assert case is not None
        assert self.spec.task is not None
        quality = methods.judge(
            solve(m).mean,
            case.volume.values,
            self.spec.metric,
            methods.metal_of(case, self.spec.task),
        )
        return quality.psnr if self.score == "psnr" else quality.ssim


def _work(
    search: Search, folder: Path, worker: int, after: Callable[[int], None] = lambda done: None
) -> None:
    """Try settings until there are enough."""
    from medscore.tuning.search import optimise

    study = search.study(folder, worker)
    optimise(study, search.spec.search, search.objective(), search.trials, after)


def _wait(running: list[Any]) -> None:
    from concurrent.futures import FIRST_COMPLETED, wait

    wait([f for f in running if not f.done()], timeout=1.0, return_when=FIRST_COMPLETED)


def write_results(folder: Path, study: optuna.Study, search: Search) -> None:
    """trials.csv, every finished trial, and best.yaml.

    Raises:
        MedscoreError: no trial got a score.
    """
    from medscore.tuning.search import FINISHED

    done = study.get_trials(deepcopy=False, states=FINISHED)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(search.spec.search)
    writer.writerow(["trial", *names, search.score, "error"])
    for trial in done:
        row = [trial.params.get(name, "") for name in names]
        writer.writerow([trial.number, *row, trial.value, trial.user_attrs.get("error", "")])
    atomic_write(folder / "trials.csv", out.getvalue().encode())
    scored = [t for t in done if t.value is not None]
    if not scored:
        raise MedscoreError(
            "no trial got a score", where=folder / "trials.csv", mend="see its column error"
        )
    best = max(scored, key=lambda t: (t.value, -t.number))
    method = search.spec.method
    if method.prior is not None:
        spec = method.prior.model_copy(update=best.params)
        settings = methods.settings_of(spec)
        chosen = {key: getattr(settings, key) for key in PRESET}
        chosen = {key: value for key, value in chosen.items() if value is not None}
    else:
        chosen = {**(method.baseline or {}), **best.params}
    head = (
        f"# The best of {len(scored)} trials of {search.spec.name}: {search.score} "
        f"{best.value:.5g}.\n"
    )
    atomic_write(folder / "best.yaml", (head + yaml.safe_dump(chosen, sort_keys=False)).encode())
    console.print(
        f"{escape(str(folder / 'best.yaml'))}: {search.score} {best.value:.5g} with "
        f"{json.dumps(best.params)}"
    )
