"""Changes to YAML and JSON files: their trees, and what their syntax allows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from attacks.raw import BYTES
from attacks.values import changed

SCALARS = (
    "2026-13-45", "2026-02-30T25:61:61Z", "!!int abc", "!!float x", "!!bool maybe", "!!null x",
    "9" * 5000, "-" + "9" * 5000, "1e999", ".nan", ".inf", "-.inf", "0x" + "f" * 5000, "0o8", "0b2",
    "190:20:30", "!!binary '***'", "!!timestamp x", "!!python/object/apply:os.system ['true']",
    "!!python/name:os.system", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1, a: 2]", "!x y", "=",
    "<<", "y", "~", "!!str 5", "&a [*a]", "&a {b: *a}", "*missing", "{<<: {a: 1}}", "{<<: [1]}",
    "{? [a, b] : c}", "{? {a: b} : c}", "{1: 2}", "{null: 1}", "{2026-01-01: 1}", "{[1]: 2}",
    "[" * 200 + "]" * 200, "'\\0'", '"\\0"', '"\\ud800"', "|\n   a\n", "%TAG ! x", "@", "`", "\t",
    "!!set [a]", "!!map [1]", "!!seq {a: 1}", "!!timestamp 2026-13-45", "!<tag:x,2000:y> z",
)  # fmt: skip
"""Scalars and collections that PyYAML stumbles over, or reads as what they are not."""


def tree(path: Path, rng: np.random.Generator) -> None:
    """Change one to three places of the tree."""
    content = path.read_text()
    new = changed(yaml.safe_load(content), rng, times=int(rng.integers(1, 4)))
    path.write_text(yaml.safe_dump(new, sort_keys=False, allow_unicode=True), errors="replace")


def scalar(path: Path, rng: np.random.Generator) -> None:
    """Replace the value on one line by an odd one, as text."""
    lines = path.read_text().splitlines()
    places = [k for k, line in enumerate(lines) if ": " in line or line.strip().startswith("- ")]
    k = places[int(rng.integers(len(places)))]
    text = SCALARS[int(rng.integers(len(SCALARS)))]
    mark = ": " if ": " in lines[k] else "- "
    head = lines[k].split(mark)[0]
    lines[k] = f"{head}{mark}{text}"
    path.write_text("\n".join(lines) + "\n")


def bombs(path: Path, rng: np.random.Generator) -> None:
    """Nesting of thousands of levels, aliases that multiply, or megabytes of text."""
    content, depth = path.read_text(), int(rng.choice([500, 3000, 10_000]))
    laughs = "\n".join(
        f"x{k}: &x{k} [" + ", ".join([f"*x{k - 1}"] * 9 if k else ["1"] * 9) + "]" for k in range(9)
    )
    merges = "\n".join(
        f"m{k}: &m{k} {{<<: [" + ", ".join([f"*m{k - 1}"] * 9 if k else ["{a: 1}"]) + "]}"
        for k in range(8)
    )
    texts = (
        "x: " + "[" * depth, "x: " + "[" * depth + "]" * depth, "x: " + "{a: " * depth,
        "\n".join(" " * k + "a:" for k in range(min(depth, 3000))), "- " * depth, laughs, merges,
        "x: '" + "a" * 2**22 + "'", "\n".join(f"k{k}: 1" for k in range(20_000)), "? " * depth,
        "x: &a [*a, *a]", "x: &a\n  b: *a", "x: " + "&a " * 3, "x: " + "!!set " * 200, "-" * 9000,
    )  # fmt: skip
    text = texts[int(rng.integers(len(texts)))]
    path.write_text(content + text + "\n" if rng.random() < 0.6 else text + "\n")


def layout(path: Path, rng: np.random.Generator) -> None:
    """Double keys, several documents, tabs, other encodings, or no mapping at all."""
    content = path.read_text()
    makers = (
        lambda: (content + content).encode(), lambda: (content + "---\n" + content).encode(),
        lambda: content.replace("  ", "\t").encode(), lambda: content.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + content.encode(), lambda: content.encode("utf-32"),
        lambda: b"- a\n",
        lambda: b"just text\n", lambda: b"5\n", lambda: b"null\n", lambda: b"",
        lambda: b"# nothing\n",
        lambda: content.replace("\n", "\r").encode(), lambda: content.replace(":", " :").encode(),
        lambda: content.encode() + b"\xff\xfe", lambda: content.encode() + b"\0", lambda: b"[]\n",
        lambda: b"%YAML 9.9\n---\n" + content.encode(), lambda: b"--- !!set\n" + content.encode(),
        lambda: json.dumps(yaml.safe_load(content)).encode(),
        lambda: content.encode() + b"\x1b[31m",
    )  # fmt: skip
    path.write_bytes(makers[int(rng.integers(len(makers)))]())


def json_tree(path: Path, rng: np.random.Generator) -> None:
    """Change one or two places of the tree of a JSON file, or of one of its lines."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    k = int(rng.integers(len(lines)))
    lines[k] = json.dumps(changed(json.loads(lines[k]), rng, times=int(rng.integers(1, 3))))
    path.write_text("\n".join(lines) + "\n")


def json_text(path: Path, rng: np.random.Generator) -> None:
    """JSON of thousands of levels, endless numbers, double keys, or no object."""
    texts = (
        "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000, "1e999", "NaN", '"a"',
        "null", "[]",
        "{}", '{"a": 1, "a": 2}', '{"a": NaN}', '["\\ud800"]', "'a'", '{"prior": 1', "\ufeff{}",
        "-", "{1:2}",
        '{"x": ' + "9" * 5000 + "}",
    )  # fmt: skip
    path.write_text(texts[int(rng.integers(len(texts)))])


YAML = (tree, tree, tree, tree, scalar, scalar, scalar, bombs, layout, *BYTES[:5])
JSON = (json_tree, json_tree, json_tree, json_text, *BYTES)
"""All changes to YAML files, and to JSON files."""
