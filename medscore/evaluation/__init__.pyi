"""Types of the public names of this package, which are imported when first used."""

from .config import EvaluationSpec as EvaluationSpec, read_evaluation as read_evaluation
from .run import EvaluationRun as EvaluationRun, evaluate as evaluate
