"""Operator files: what is refused, and that nothing partial is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators import store
from medscore.operators.base import Operator
from medscore.operators.ct.scans import sparse_view
from medscore.operators.images.inpainting import Inpainting


class Foreign(Inpainting):
    """An operator that KINDS does not list."""


def written(path: Path, change: Callable[[Any], object] = lambda file: None) -> Path:
    store.save(path, sparse_view(12, 1.0, 5))
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _replace_mask(file: Any, value: object) -> None:
    del file["operator/mask"]
    file["operator/mask"] = value


DAMAGE: list[tuple[Callable[[Any], object], str]] = [
    (lambda f: f.attrs.update(format="other-1"), "format is 'other-1'"),
    (
        lambda f: f["operator"].attrs.update(kind="Sonar"),
        "kind is 'Sonar', expected one of Adjoint",
    ),
    (lambda f: f["operator"].attrs.update(kind="__import__"), "kind is '__import__'"),
    (lambda f: f["operator/geometry"].attrs.update(views=-3), "`views` is -3"),
    (lambda f: f["operator/geometry"].attrs.update(colour="red"), "colour"),
    (lambda f: f.pop("operator"), "operator"),
    (lambda f: _replace_mask(f, b"none"), "expected an array"),
    (lambda f: _replace_mask(f, [[0.5]]), "contain only 0 and 1"),
    (lambda f: _replace_mask(f, [[1, 0, 1]]), "the mask has shape"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE, ids=[m for _, m in DAMAGE])
def test_a_file_without_a_valid_operator_is_refused_in_one_line(
    change: Callable[[Any], object], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "operator.h5", change)
    with pytest.raises(MedscoreError, match=message) as refused:
        store.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="no such operator file"):
        store.load(tmp_path / "none.h5")
    path = tmp_path / "text.h5"
    path.write_text("no operator")
    with pytest.raises(MedscoreError, match="cannot be read as an operator"):
        store.load(path)


def test_an_operator_that_files_do_not_support_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Foreign is not in operators\.store\.KINDS"):
        store.save(tmp_path / "operator.h5", Foreign(torch.ones(4, 4)))
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_larger_file_may_be_an_operator(tmp_path: Path) -> None:
    made = sparse_view(12, 1.0, 5)
    with h5py.File(tmp_path / "study.h5", "w") as file:
        store.write(file.create_group("scan/how"), made)
    with h5py.File(tmp_path / "study.h5", "r") as file:
        again = store.read(file["scan/how"])
    assert isinstance(again, Operator)
    assert repr(again) == repr(made)
