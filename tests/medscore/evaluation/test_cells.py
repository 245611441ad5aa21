"""Finished cells are stored without loss, and identified by everything that they depend on."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from medscore.engine.spread import here
from medscore.errors import MedscoreError
from medscore.evaluation.cells import Cell, Store, key_of
from medscore.evaluation.methods import Work
from medscore.evaluation.run import fill
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


@pytest.mark.parametrize(
    ("name", "value"), [("nfe", "many"), ("seconds", [1.0]), ("patient", 5), ("nfe", 2.5)]
)
def test_a_cell_with_a_value_of_another_type_is_refused(
    tmp_path: Path, name: str, value: object
) -> None:
    store = Store(tmp_path)
    store.put("k", cell(), None)
    record = json.loads((tmp_path / "k.json").read_text())
    (tmp_path / "k.json").write_text(json.dumps(record | {name: value}))
    with pytest.raises(MedscoreError, match=rf"k\.json.*{name}"):
        store.get("k")


def test_a_quality_that_is_no_number_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", cell(), None)
    path = tmp_path / "k.json"
    path.write_text(path.read_text().replace("30.0", "[[30.0]]"))
    with pytest.raises(MedscoreError, match=r"k\.json.*psnr"):
        store.get("k")


def test_other_images_than_the_cells_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k", cell(), {"FBP": np.zeros((2, 2), np.float32)})
    np.savez(tmp_path / "k.npz", FBP=np.zeros((3, 3), np.float32))
    with pytest.raises(MedscoreError, match=r"k\.npz: .*their hash differs.*remove it"):
        store.images("k")


def test_damaged_images_are_refused_before_any_work(tmp_path: Path) -> None:
    store, work = Store(tmp_path), SimpleNamespace(fixed=("a",), keep=True)
    store.put(key_of("a"), cell(), {"FBP": np.zeros((2, 2), np.float32)})
    (tmp_path / f"{key_of('a')}.npz").write_bytes(b"no images")
    seen: list[int] = []
    with pytest.raises(MedscoreError, match="remove it"):
        fill(store, [cast(Work, work)], here(1), lambda done, total, found: seen.append(done))
    assert seen == []


def test_keys_tell_settings_apart_and_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": 2.0}) == key_of({"b": 2.0, "a": 1})
    assert len({key_of(1), key_of(2), key_of("1"), key_of([1]), key_of(1, 2)}) == 5
