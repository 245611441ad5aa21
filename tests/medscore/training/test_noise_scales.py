"""Recipes of networks on discrete noise scales: network, prediction and objective must agree."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from medscore.errors import MedscoreError
from medscore.training.pictures import PictureRecipe
from medscore.training.recipe import PriorRecipe, read_recipe

NCSN = {"kind": "ncsn", "width": 8, "multipliers": [1, 1], "dilations": [1, 1], "levels": 10}
LEVEL = {"target": "score", "condition": "level", "levels": 10}
COMMON: dict[str, Any] = {
    "name": "n", "licence": "CC0", "sde": {"kind": "ve"}, "network": NCSN, "plan": {"steps": 1},
}  # fmt: skip
SLICES = COMMON | {
    "modality": "CT", "quantity": "HU", "low": -1000, "high": 1000, "size": 32, "data": ["a.npz"],
}  # fmt: skip
PICTURES = COMMON | {"pictures": ["*.png"], "size": 32}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "takes the number of a noise scale: set prediction to"),
        ({"prediction": LEVEL | {"levels": 1000}}, "prediction.levels is 1000, and network.levels"),
        (
            {"prediction": {"target": "score", "condition": "level"}},
            "prediction.levels is 1000, and network.levels 10",
        ),
        (
            {"prediction": LEVEL, "objective": {"kind": "smld"}},
            "objective.scales is 1000, and prediction.levels 10",
        ),
        ({"prediction": LEVEL, "objective": {"kind": "smld", "scales": 10}}, None),
        ({"prediction": LEVEL}, None),
    ],
)
@pytest.mark.parametrize(("content", "kind"), [(SLICES, PriorRecipe), (PICTURES, PictureRecipe)])
def test_numbers_of_noise_scales_must_agree(
    content: dict[str, Any], kind: Any, changes: dict[str, Any], why: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    if why is None:
        assert read_recipe(path, kind).prediction.levels == 10
        return
    with pytest.raises(MedscoreError, match=why) as caught:
        read_recipe(path, kind)
    assert "\n" not in str(caught.value)
