"""Errors: what a message says of packages that are not there."""

import math
import sys
from pathlib import Path

import pytest

from medscore.errors import MedscoreError, optional_module


def test_an_optional_module_is_the_module() -> None:
    assert optional_module("math", "this test") is math


@pytest.mark.parametrize(
    ("install", "instead", "hint"),
    [
        ("medscore[x]", "", 'pip install "medscore[x]"'),
        ("other", "use y", "pip install other, or use y"),
        ("", "use y", "use y"),
    ],
)
def test_an_absent_package_says_who_needs_it_and_what_to_install(
    install: str, instead: str, hint: str
) -> None:
    with pytest.raises(MedscoreError) as refusal:
        optional_module("absent.part", "this file", install=install, where="f", instead=instead)
    told = "f: this file needs the package absent, which is not installed"
    assert str(refusal.value) == f"{told} - {hint}"


def test_a_package_that_cannot_be_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "defective.py").write_text("import absent_library")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "defective", raising=False)
    with pytest.raises(MedscoreError, match=r"cannot be imported \(No module named 'absent_lib"):
        optional_module("defective", "this file")
