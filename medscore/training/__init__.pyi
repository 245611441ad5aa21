"""Types of the public names of this package, which are imported when first used."""

from .classifier import ClassifierRecipe as ClassifierRecipe
from .data import TrainingData as TrainingData
from .dequantizer import DequantizerRecipe as DequantizerRecipe
from .jobs import prepare as prepare, train as train
from .loop import (
    Batches as Batches,
    Hooks as Hooks,
    Loss as Loss,
    Objective as Objective,
    train_steps as train_steps,
)
from .monitor import StepReport as StepReport
from .new_recipe import NewRecipe as NewRecipe, init_recipe as init_recipe
from .pictures import PictureRecipe as PictureRecipe
from .plan import TrainingPlan as TrainingPlan
from .recipe import PriorRecipe as PriorRecipe, read_recipe as read_recipe
from .run import TrainingResult as TrainingResult, TrainingRun as TrainingRun, execute as execute
from .state import averaged_weights as averaged_weights
from .supervised import SupervisedRecipe as SupervisedRecipe
from .validation import Validation as Validation, draw_samples as draw_samples
