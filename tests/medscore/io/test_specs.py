"""Faults of a specification: all at once, on one line, with the key that was meant."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from medscore.datasets.raw.projections import ScanGeometry, checked_geometry, read_geometry
from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.evaluation.config import EvaluationSpec, read_evaluation
from medscore.io.specs import known_keys, nearest
from medscore.priors.importers.contract import read_contract
from medscore.registry.presets import preset
from medscore.training.recipe import PriorRecipe, read_recipe
from medscore.tuning.config import read_tuning

READERS: dict[str, Callable[[Path], Any]] = {
    "recipe": read_recipe,
    "comparison": read_evaluation,
    "search": read_tuning,
    "preset": lambda path: preset(str(path)),
    "geometry": lambda path: checked_geometry(read_geometry(path), path, hint="correct them"),
    "import": read_contract,
}
UNKNOWN: dict[str, dict[str, tuple[Any, str]]] = {
    "recipe": {"lwo": (1, "low"), "modalty": ("CT", "modality")},
    "comparison": {"cohrt": ({}, "cohort"), "metrc": ({}, "metric")},
    "search": {"serach": ({}, "search"), "trails": (3, "trials")},
    "preset": {"stpes": (10, "steps"), "conditoner": ("dps", "conditioner")},
    "geometry": {"spaccing": (1, "spacing"), "veiws": (9, "views")},
    "import": {"quantty": ("HU", "quantity"), "spacing": (1, "spacing_mm")},
}


@pytest.mark.parametrize("kind", READERS)
def test_all_faults_of_a_file_are_told_with_the_keys_that_were_meant(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "file.yaml"
    content = {key: value for key, (value, _) in UNKNOWN[kind].items()}
    path.write_text(yaml.safe_dump({**content, "zzzzzz": 1}))
    with pytest.raises(MedscoreError) as refusal:
        READERS[kind](path)
    told = str(refusal.value)
    assert "\n" not in told
    for key, (_, meant) in UNKNOWN[kind].items():
        assert f"{key}: " in told or "more" in told
        assert f"did you mean {meant!r}?" in told or "more" in told
    assert told.count(": ") > 2


def test_at_most_eight_faults_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({f"unknown{k}x": k for k in range(11)}))
    with pytest.raises(MedscoreError, match=r"x: [^;]*; and 3 more - correct these keys"):
        preset(str(tmp_path / "p.yaml"))


def test_keys_of_nested_kinds_are_offered(tmp_path: Path) -> None:
    recipe = {
        "objective": {"kind": "edm", "log_ratio_men": 1}, "plan": {"steps": 1, "learning_rat": 1},
        "network": {"kind": "unet", "chanels": [8]}, "sde": {"kind": "ve", "sigma_mix": 3},
    }  # fmt: skip
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe))
    with pytest.raises(MedscoreError) as refusal:
        read_recipe(path)
    assert known_keys(PriorRecipe, ["plan"])[0] == "accumulate"
    assert "log_ratio_mean" in known_keys(PriorRecipe, ["objective", "edm"])
    assert "scales" not in known_keys(PriorRecipe, ["objective", "edm"])
    assert "views" in known_keys(EvaluationSpec, ["tasks", 0, "scan"])
    assert str(refusal.value).endswith("correct these keys")


def test_a_domain_in_python_states_all_its_faults() -> None:
    with pytest.raises(MedscoreError, match=r"needs `low`.*; .*needs `high`.*; .*no field `siz`"):
        ImageDomain(modality="CT", quantity="HU", siz=3)  # type: ignore[call-arg]
    assert "beam" in known_keys(ScanGeometry)


@pytest.mark.parametrize(
    ("key", "near"), [("Size-X", "size_x"), ("dsd", "size_x"), ("dso", ""), ("zzz", "")]
)
def test_the_key_that_may_be_meant_is_alike_or_has_another_name(key: str, near: str) -> None:
    others = {"dsd": "size_x", "dso": "of another specification"}
    assert nearest(key, ("size_x", "beam"), others) == near
