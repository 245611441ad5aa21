"""The YAML and JSON readers: plain values within limits; everything else is refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from medscore.errors import MedscoreError
from medscore.io.json_files import parse_json, parse_object, read_json, read_object
from medscore.io.yaml_files import DEPTH, NODES, SIZE, parse_yaml, read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "no integer": ("a: !!int abc", "'abc' is no int"),
    "empty integer": ("a: !!int ''", "is no int"),
    "no boolean": ("a: !!bool maybe", "'maybe' is no bool"),
    "no number": ("a: !!float x", "'x' is no float"),
    "long integer": ("a: " + "9" * 5000, "is no int"),
    "integer of 65 bits": (f"a: {2**64}", "more than 64 bits"),
    "hexadecimal integer": ("a: 0x" + "f" * 4000, "more than 64 bits"),
    "base 60": ("a: " + ":".join(["59"] * 400) + ".0", "is no float"),
    "set": ("!!set {a, b}", "the tag '!!set'"),
    "ordered map": ("!!omap [a: 1]", "the tag '!!omap'"),
    "pairs": ("!!pairs [a: 1]", "the tag '!!pairs'"),
    "binary": ("a: !!binary AAAA", "the tag '!!binary'"),
    "time stamp": ("a: !!timestamp 2026-01-02", "the tag '!!timestamp'"),
    "python": ("a: !!python/object/apply:os.system [ls]", "!!python"),
    "private tag": ("a: !x 1", "the tag '!x'"),
    "default value": ("a: =", "the tag '!!value'"),
    "sequence as text": ("a: !!str [b]", "expected a scalar"),
    "flow sequences": ("[" * 10_000, "nesting"),
    "closed flow sequences": ("[" * 10_000 + "]" * 10_000, "nesting"),
    "flow mappings": ("{a: " * 10_000, "nesting"),
    "block sequences": ("- " * 10_000, "nesting"),
    "block mappings": ("".join(" " * i + "a:\n" for i in range(1000)), "nesting"),
    "explicit keys": ("? " * 10_000, "key is not text"),
    "aliases": (LAUGHS, "with aliases expanded"),
    "recursion": ("&a [*a]", "no complete anchor"),
    "unknown alias": ("a: *b", "no complete anchor"),
    "too many values": ("- 1\n" * (NODES + 1), "values"),
    "too large": ("#" * (SIZE + 1), "bytes"),
    "double key": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
    "inner double key": ("x: {a: 1, 'a': 2}", "stands twice"),
    "number as key": ("a: {1: 2}", "the key 1 in a is not text"),
    "boolean as key": ("on: 1", "is not text"),
    "null as key": ("~: 1", "is not text"),
    "sequence as key": ("? [1]\n: 2", "key is not text"),
    "not a number": ("a: [.nan]", "is not a number"),
    "two documents": ("a: 1\n---\nb: 2", "another document"),
    "control character": ("a: \x07", "control characters"),
    "tab": ("a:\t- b", "line 1"),
    "other version": ("%YAML 9.9\n---\na: 1", "incompatible"),
    "surrogate": ('a: "\\ud800"', "line 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_yaml_is_refused_in_one_line(name: str) -> None:
    text, said = BAD[name]
    with pytest.raises(MedscoreError) as caught:
        parse_yaml(text.encode(), "f.yaml", hint="see x")
    message = str(caught.value)
    assert message.startswith("f.yaml: cannot be read as YAML (")
    assert said in message
    assert message.endswith(") - see x")
    assert "\n" not in message
    assert len(message) < 300


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(MedscoreError, match="cannot be read as YAML"):
        read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["2026-13-45", "2026-01-02", "2026-01-02 25:00:00"])
def test_a_date_is_text(text: str) -> None:
    assert parse_yaml(f"a: {text}".encode(), "f", hint="") == {"a": text}


def test_anchors_and_merges_within_the_limits_are_read() -> None:
    text = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: [*x, *x]"
    found = parse_yaml(text.encode(), "f", hint="")
    assert found["y"] == {"a": 1, "b": 3}
    assert found["z"] == [found["x"], found["x"]]


@pytest.mark.parametrize(("open_", "close"), ["[]", "{}"])
def test_the_deepest_nesting_that_is_read(open_: str, close: str) -> None:
    inner = "a: " if open_ == "{" else ""
    text = (open_ + inner) * DEPTH + close * DEPTH
    assert parse_yaml(text.encode(), "f", hint="") is not None
    with pytest.raises(MedscoreError, match="nesting"):
        parse_yaml(f"{open_}{inner}{text}{close}".encode(), "f", hint="")


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(VALUES)
def test_plain_values_are_read_as_they_were_written(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value).encode(), "f", hint="") == value
    assert parse_json(json.dumps(value)) == value


BAD_JSON = {
    "nesting": "[" * 100_000,
    "mappings": '{"a":' * 100_000,
    "long integer": "9" * 5000,
    "integer of 65 bits": str(2**64),
    "NaN": '{"a": NaN}',
    "infinity": "[-Infinity]",
    "double key": '{"a": 1, "a": 2}',
    "cut": '{"a": ',
    "empty": "",
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(BAD_JSON[name])
    with pytest.raises(MedscoreError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as JSON (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', '[{"a": 1}]'])
def test_a_record_that_is_no_object_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(MedscoreError, match=r"record.json: .*no object with names and values"):
        read_object(path)
    with pytest.raises(ValueError, match="no object"):
        parse_object(text)
    assert parse_object('{"a": Infinity}', finite=False) == {"a": float("inf")}


def test_json_of_python_is_read_on_request() -> None:
    """Records of unfinished work may hold infinity."""
    assert parse_json("[Infinity, -Infinity, 1]", finite=False) == [float("inf"), -float("inf"), 1]
