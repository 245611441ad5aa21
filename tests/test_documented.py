"""At least 98 % of the public parameters are named in docstrings; each style rule is followed."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # its scripts import each other

SOURCES = sorted(p for f in ("medscore", "operators", "datasets") for p in (ROOT / f).rglob("*.py"))


@pytest.mark.slow
def test_public_parameters_are_documented() -> None:
    import documented

    every = documented.parameters()
    assert len(every) > 2000
    missing = [name for name, is_documented in every.items() if not is_documented]
    assert len(missing) <= 0.02 * len(every), missing


def test_one_parameter_a_line() -> None:
    """Under ``Args:`` and ``Attributes:`` no line documents two parameters."""
    two = re.compile(r"^ {8,12}\w+: [^\n]*\. \w+: ", re.MULTILINE)
    found = {path.name: two.findall(path.read_text()) for path in SOURCES}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_docstrings_and_option_helps_do_not_begin_with_a_bare_of() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r'"""(Of|Their|By) ', text), path
        assert not re.search(r'help="(Of|Their|By) ', text), path


def test_messages_of_the_library_name_parameters_not_options() -> None:
    for path in SOURCES:
        if "cli" not in path.parts:
            text = re.sub(r"`[^`]*`", "", path.read_text())  # commands in backquotes
            assert not re.search(r'(hint=f?"|Error\(\s*f?")[^"]*--[a-z]', text), path
