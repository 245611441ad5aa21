"""A training run that was interrupted and resumed, beside one that was not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medscore import training
from medscore.training.run import TrainingResult


def resumes_to_equal_bits(
    recipe: Path, data: Path, step: int
) -> tuple[TrainingResult, TrainingResult]:
    """Train to the end in ``data / "whole"``, and with an interruption in ``data / "part"``.

    Asserts that both give the same weights, and returns both results.
    """
    whole = training.train(recipe, data, output=data / "whole")

    def stop(report: training.StepReport) -> None:
        if report.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, output=data / "part", on_step=stop)
    again = training.train(recipe, data, output=data / "part")
    ours, theirs = (load_file(result.path) for result in (again, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    return again, whole
