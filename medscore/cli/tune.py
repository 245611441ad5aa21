"""``medscore tune``: search a method's parameters, with references or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from medscore.cli import options
from medscore.cli.progress import console, work_bar


def tune(
    config: Annotated[
        Path, typer.Argument(help="Search: a YAML file, or the name of a shipped one.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make, or to continue.")],
    data: Annotated[Path, typer.Option(help="Folder of the cohort's data.")] = Path(),
    pattern: options.Pattern = None,
    measurement: Annotated[
        list[Path] | None,
        typer.Option(help="Measurement file to tune on instead of a cohort; repeatable."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="psnr or ssim against references; held-out or sure without. Default: the search's."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of settings to try. Default: the search's.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that try settings.")] = 1,
    set_: options.Set = None,
) -> None:
    """Search the parameters of a method; trials are kept in OUTPUT/study.db.

    The same command resumes where it stopped. It writes trials.csv and best.yaml, which `medscore
    recon --preset` accepts if the method samples with a prior.

    Example: medscore tune pc-ct-23 --data DATA -o runs/tune --workers 2

    Without references, some views or lines are left out of the measurements and predicted.

    Example: medscore tune pc-ct-23 --measurement meas.h5 -o runs/tune

    --set fixes parameters that are not searched.

    Example: medscore tune pc-ct-23 --data DATA -o runs/tune --set sampler.corrections=2
    """
    from medscore.tuning import run

    with work_bar("trials", notes_last=True) as show:
        found = run.tune(
            config, output, data=data, patterns=pattern or (), measurements=measurement or (),
            score=score, trials=trials,
            workers=workers, parameters=set_ or (),
            on_trial=lambda done, total: show(done, total, ""),
        )  # fmt: skip
    if found.resumed:
        console.print(f"{found.resumed} unfinished trial(s) of an interrupted run were tried again")
    console.print(
        f"{escape(str(found.best))}: {found.score} {found.value:.5g} with "
        f"{json.dumps(found.parameters)}"
    )
