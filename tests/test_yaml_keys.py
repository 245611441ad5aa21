"""docs/yaml.md: written from the specifications, and every key has a meaning."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from yaml_keys import FILES, PAGE, page, table  # noqa: E402


def test_the_page_is_what_the_specifications_say() -> None:
    assert PAGE.read_text() == page(), "run python benchmarks/yaml_keys.py"


@pytest.mark.parametrize("title", FILES)
def test_every_key_has_a_type_and_a_meaning(title: str) -> None:
    rows = table(FILES[title][0]).splitlines()[2:]
    assert rows
    for row in rows:
        _, key, value, _, meaning, _ = row.replace("\\|", "/").split("|")
        assert value.strip(), key
        assert len(meaning.split()) > 1, key
        assert ":class:" not in meaning, key


def test_a_link_leads_to_a_section() -> None:
    text = page()
    links = {part.partition(")")[0] for part in text.split("](#")[1:]}
    headings = {line[4:].lower() for line in text.splitlines() if line.startswith("### ")}
    assert links <= headings
