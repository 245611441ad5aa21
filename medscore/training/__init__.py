"""Training of priors, supervised networks, classifiers and dequantizers from recipes.

:func:`train` runs a whole training from a recipe; :func:`train_steps` is the loop for a model,
batches and a loss of one's own. The names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medscore.training.classifier import ClassifierRecipe
    from medscore.training.data import TrainingData
    from medscore.training.dequantizer import DequantizerRecipe
    from medscore.training.jobs import prepare, train
    from medscore.training.loop import Batches, Hooks, Loss, Objective, train_steps
    from medscore.training.monitor import StepReport
    from medscore.training.pictures import PictureRecipe
    from medscore.training.plan import TrainingPlan
    from medscore.training.recipe import PriorRecipe, read_recipe
    from medscore.training.run import TrainingResult, TrainingRun, execute
    from medscore.training.state import averaged_weights
    from medscore.training.supervised import SupervisedRecipe
    from medscore.training.validation import Validation, draw_samples

__all__ = [
    "Batches",
    "ClassifierRecipe",
    "DequantizerRecipe",
    "Hooks",
    "Loss",
    "Objective",
    "PictureRecipe",
    "PriorRecipe",
    "StepReport",
    "SupervisedRecipe",
    "TrainingData",
    "TrainingPlan",
    "TrainingResult",
    "TrainingRun",
    "Validation",
    "averaged_weights",
    "draw_samples",
    "execute",
    "prepare",
    "read_recipe",
    "train",
    "train_steps",
]

_MODULES = {
    "classifier": ("ClassifierRecipe",),
    "data": ("TrainingData",),
    "dequantizer": ("DequantizerRecipe",),
    "jobs": ("prepare", "train"),
    "loop": ("Batches", "Hooks", "Loss", "Objective", "train_steps"),
    "monitor": ("StepReport",),
    "pictures": ("PictureRecipe",),
    "plan": ("TrainingPlan",),
    "recipe": ("PriorRecipe", "read_recipe"),
    "run": ("TrainingResult", "TrainingRun", "execute"),
    "state": ("averaged_weights",),
    "supervised": ("SupervisedRecipe",),
    "validation": ("Validation", "draw_samples"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
