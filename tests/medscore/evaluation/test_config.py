"""Configurations of comparisons are validated, and the shipped ones are valid."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from medscore.errors import MedscoreError
from medscore.evaluation.config import read_evaluation
from medscore.evaluation.methods import convention, method_of, parameters
from medscore.tuning.config import read_tuning

CONFIGS = Path(str(files("medscore.configs")))
SOUND: dict[str, Any] = {
    "name": "x", "title": "X", "ours": "FBP", "metric": {"convention": "ct"},
    "cohort": {"modality": "CT", "data": ["*.dcm"]},
    "tasks": [{"name": "23", "scan": {"task": "sparse-ct"}}],
    "methods": [{"name": "FBP", "baseline": {"kind": "fbp"}}],
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((CONFIGS / "eval").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_comparison_is_sound(path: Path) -> None:
    spec = read_evaluation(path)
    assert spec.name == path.stem
    convention(spec.metric)
    for method in spec.methods:
        if method.supervised is not None:
            assert (CONFIGS / "supervised" / f"{method.supervised}.yaml").is_file()
        if method.baseline is not None:
            for task in spec.tasks:
                method_of(method, task.name)


@pytest.mark.parametrize("path", sorted((CONFIGS / "tune").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_shipped_search_is_sound(path: Path) -> None:
    assert read_tuning(path).name == path.stem


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"ours": "TV"}, "ours is 'TV'"),
        ({"tasks": SOUND["tasks"] * 2}, "tasks of the same name"),
        ({"methods": [{"name": "FBP"}]}, "expected one of prior, baseline and supervised"),
        ({"methods": [{"name": "FBP", "baseline": {"kind": "fbp"}, "prior": {}}]}, "expected one"),
        ({"methods": [{"name": "FBP", "baseline": {"kind": "fbp"}, "at": {"9": {}}}]}, "task '9'"),
        ({"views": 23}, "views"),
        ({"metric": {"convention": "ct", "over": "volume"}}, "over"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**SOUND, **change}))
    with pytest.raises(MedscoreError, match=what):
        read_evaluation(path)


def test_parameters_of_a_task_go_over_the_methods(tmp_path: Path) -> None:
    method = {"name": "FBP", "baseline": {"kind": "fbp", "window": "hann"},
              "at": {"23": {"window": "cosine"}}}  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**SOUND, "methods": [method]}))
    (found,) = read_evaluation(tmp_path / "c.yaml").methods
    assert parameters(found, "23") == {"kind": "fbp", "window": "cosine"}
    assert parameters(found, "other") == {"kind": "fbp", "window": "hann"}
