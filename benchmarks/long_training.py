"""Trains a shipped prior in several parts: stores its weights, and continues from stored ones.

    python benchmarks/long_training.py continue configs/train/ct.yaml --data DATA -o runs/ct
    medscore train configs/train/ct.yaml --data DATA -o runs/ct
    python benchmarks/long_training.py store configs/train/ct.yaml --data DATA -o runs/ct

``continue`` writes the state of a training run from a stored prior: its weights, the number of its
steps and its loss log. Only Adam's moments are lost and begin anew, so the recipe has to list that
step in ``restarts`` of its plan, and has to state more steps than the prior has. ``store`` writes
the averaged weights of a run that has come to the end of its recipe, with the recipe and the loss
log, where the shipped priors are (or to --priors). Afterwards, ``typicality.py --write`` and
``python -m medscore.priors.manifest`` bring the files that depend on the weights up to date.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from shutil import copyfile

from medscore.errors import MedscoreError
from medscore.io.files import atomic_write
from medscore.priors.catalogue import prior_folder
from medscore.priors.checkpoint import verify
from medscore.priors.network import NetworkPrior
from medscore.training.jobs import prepare
from medscore.training.log import NAME
from medscore.training.prior import fill
from medscore.training.run import TrainingRun
from medscore.training.state import save_state

STATE = "state.safetensors"


def continue_from(run: TrainingRun[NetworkPrior], stored: Path, folder: Path) -> int:
    """Write the state of a training run from a stored prior, to ``folder``.

    Args:
        run: the run of the recipe.
        stored: file of the prior, with its loss log beside it.
        folder: new output folder of the run.

    Returns:
        The number of steps that the prior is trained for.

    Raises:
        MedscoreError: the folder holds a run, the weights do not fit the recipe's network, or the
            recipe does not continue the prior.
    """
    checkpoint = verify(stored)
    steps, plan = checkpoint.contract.provenance.steps, run.plan
    if (folder / STATE).exists():
        raise MedscoreError("the folder holds a training run", where=folder, hint="use another")
    if steps >= plan.steps or steps not in plan.restarts:
        raise MedscoreError(
            f"the recipe has {plan.steps} steps and restarts {plan.restarts}",
            where=run.recipe,
            hint=f"set more than {steps} steps, and list {steps} in restarts",
        )
    fill(run.model, checkpoint, stored)
    folder.mkdir(parents=True, exist_ok=True)
    network, identity = run.model.network, run.hooks(folder).identity
    optimiser = plan.optimiser_for(network)
    copyfile(stored.with_suffix(".jsonl"), folder / NAME)
    save_state(folder / STATE, steps, network, deepcopy(network), optimiser, identity)
    return steps


def store(run: TrainingRun[NetworkPrior], folder: Path, priors: Path) -> Path:
    """Copy the averaged weights of a finished run, its recipe and its loss log to ``priors``.

    Args:
        run: the run of the recipe.
        folder: its output folder.
        priors: folder of the priors.

    Returns:
        The file of the prior.

    Raises:
        MedscoreError: the run has not come to the end of its recipe.
    """
    finished = folder / f"{run.contract.name}.safetensors"
    steps = verify(finished).contract.provenance.steps
    if steps != run.plan.steps:
        raise MedscoreError(
            f"the run has {steps} of {run.plan.steps} steps",
            where=finished,
            hint="train to the end",
        )
    path = priors / finished.name
    for source, target in (
        (finished, path),
        (run.recipe, path.with_suffix(".yaml")),
        (folder / NAME, path.with_suffix(".jsonl")),
    ):
        atomic_write(target, source.read_bytes())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("continue", "store"))
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="output folder of the run")
    parser.add_argument("--priors", type=Path, default=prior_folder(), help="folder of the priors")
    args = parser.parse_args()
    run = prepare(args.recipe, args.data)
    if args.what == "store":
        print(store(run, args.output, args.priors))
    else:
        stored = args.priors / f"{run.contract.name}.safetensors"
        print(f"{stored}: continued from step {continue_from(run, stored, args.output)}")


if __name__ == "__main__":
    main()
