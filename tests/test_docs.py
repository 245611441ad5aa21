"""The Python in the documentation runs, and what the documentation names exists."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEXTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.*")),
    *sorted((ROOT / "medscore" / "priors" / "weights").glob("*.md")),
]
FOLDERS = "medscore|operators|datasets|configs|benchmarks|tests|docs"
PLACEHOLDERS = ("configs/eval/NAME.yaml",)
EXAMPLES = "".join(path.read_text() for path in sorted((DOCS / "examples").glob("*.py")))
"""Files of their own, which tests/test_examples.py runs."""

BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{k}")
    for page in sorted(DOCS.glob("*.md"))
    for k, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    if block not in EXAMPLES
]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_runs_and_prints(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "example", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_paths_that_texts_name_exist(text: Path) -> None:
    for path in re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*[\w/]", text.read_text()):
        assert path in PLACEHOLDERS or (ROOT / path).exists() or (text.parent / path).exists(), path


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_modules_and_attributes_that_texts_name_exist(text: Path) -> None:
    for name in re.findall(r"(?<![\w/.-])medscore(?:\.\w+)+", text.read_text()):
        if not name.endswith((".md", ".py")):
            assert exists(name.split(".")), name


def exists(parts: list[str]) -> bool:
    """True if dotted parts name a module, or attributes of one."""
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        missing = object()
        found = reduce(lambda o, part: getattr(o, part, missing), parts[length:], module)
        return found is not missing
    return False
