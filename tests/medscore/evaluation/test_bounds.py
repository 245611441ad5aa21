"""Counts that would take all memory or time are refused when a specification is read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from medscore.errors import MedscoreError
from medscore.evaluation.config import read_evaluation
from medscore.measurements.spec import scan_spec
from medscore.training.recipe import read_recipe
from medscore.tuning.config import read_tuning

EVALUATION: dict[str, Any] = {
    "name": "x", "title": "x", "cohort": {"modality": "CT", "data": ["*.dcm"]},
    "tasks": [{"name": "a", "scan": {"task": "sparse-ct"}}],
    "methods": [{"name": "m", "prior": {}}], "metric": {"convention": "ct"}, "ours": "m",
}  # fmt: skip
TUNING: dict[str, Any] = {
    "name": "x", "method": {"name": "m", "prior": {}},
    "search": {"conditioner.zeta": {"values": [0.1, 0.2]}},
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "name": "x", "licence": "CC0", "modality": "CT", "quantity": "HU", "low": -1000, "high": 1500,
    "size": 32, "data": ["*.nii"], "plan": {"steps": 1},
    "sde": {"kind": "ve", "sigma_min": 0.01, "sigma_max": 20.0},
    "network": {"kind": "unet", "channels": [8, 8], "groups": 8},
}  # fmt: skip
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "evaluation": (read_evaluation, EVALUATION),
    "tuning": (read_tuning, TUNING),
    "recipe": (read_recipe, RECIPE),
}
LARGE = [3_000_000, 2**63, 2**64, -1]
PLACES = [
    ("evaluation", "tasks.0.scan.views"),
    ("evaluation", "tasks.0.scan.coils"),
    ("evaluation", "tasks.0.scan.factor"),
    ("evaluation", "cohort.size"),
    ("evaluation", "methods.0.prior.steps"),
    ("evaluation", "methods.0.prior.samples"),
    ("evaluation", "pictures"),
    ("tuning", "trials"),
    ("tuning", "method.prior.steps"),
    ("tuning", "folds"),
    ("recipe", "size"),
    ("recipe", "bits"),
    ("recipe", "plan.batch"),
    ("recipe", "network.blocks"),
    ("recipe", "network.fold"),
    ("recipe", "network.groups"),
    ("recipe", "network.channels.0"),
    ("recipe", "network.image_channels"),
]


def _changed(content: Any, place: str, value: object) -> Any:
    """A copy of nested values with one of them changed."""
    first, _, rest = place.partition(".")
    key: Any = int(first) if first.isdigit() else first
    copy = list(content) if isinstance(content, list) else dict(content)
    copy[key] = _changed(copy[key], rest, value) if rest else value
    return copy


@pytest.mark.parametrize("value", LARGE)
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_a_count_beyond_its_bound_is_refused(
    kind: str, place: str, value: int, tmp_path: Path
) -> None:
    read, content = KINDS[kind]
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(content))
    read(path)
    path.write_text(yaml.safe_dump(_changed(content, place, value)))
    with pytest.raises(MedscoreError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_of_too_many_combinations_is_refused(tmp_path: Path) -> None:
    search = {f"conditioner.p{i}": {"values": list(range(100))} for i in range(8)}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(TUNING | {"search": search}))
    with pytest.raises(MedscoreError, match="combinations"):
        read_tuning(tmp_path / "x.yaml")


@pytest.mark.parametrize(("name", "value"), [("views", 3_000_000), ("views", 2**64), ("views", 0)])
def test_options_of_a_scan_name_their_range(name: str, value: int) -> None:
    with pytest.raises(MedscoreError, match=rf"`{name}` is {value} - use 1 to 10000"):
        scan_spec("sparse-ct", "none", 0, {name: value})
