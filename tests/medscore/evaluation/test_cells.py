"""Finished cells are stored without loss, and identified by everything that they depend on."""

import math
from pathlib import Path

import numpy as np
import pytest

from medscore.errors import MedscoreError
from medscore.evaluation.cells import Cell, Store, key_of
from medscore.metrics.image_quality import Quality


def cell(psnr: float = 30.0) -> Cell:
    return Cell(
        task="23 views", method="FBP", case="a#0", patient="a",
        qualities={"FBP": Quality(psnr, 0.9, 0.01)}, nfe=0, operator_calls=1, residual=0.1,
        seconds=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("psnr", [30.0, math.inf])
def test_a_cell_comes_back_as_it_was(tmp_path: Path, psnr: float) -> None:
    store = Store(tmp_path)
    images = {"FBP": np.arange(4, dtype=np.float32).reshape(2, 2)}
    store.put("k", cell(psnr), images)
    assert store.get("k") == cell(psnr)
    assert np.array_equal(store.images("k")["FBP"], images["FBP"])


def test_a_cell_without_images_is_not_there_for_who_wants_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", cell(), None)
    assert store.has("k")
    assert not store.has("k", images=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"task": "x"}', '{"qualities": {"a": 1}}'])
def test_a_damaged_cell_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "k.json").write_text(content)
    with pytest.raises(MedscoreError, match=r"k\.json.*remove it"):
        Store(tmp_path).get("k")


def test_keys_tell_settings_apart_and_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": 2.0}) == key_of({"b": 2.0, "a": 1})
    assert len({key_of(1), key_of(2), key_of("1"), key_of([1]), key_of(1, 2)}) == 5
