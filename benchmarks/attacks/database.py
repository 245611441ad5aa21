"""Changes to the SQLite file of a search."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path

import numpy as np

from attacks.raw import BYTES
from attacks.values import extreme


def _execute(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    connection = sqlite3.connect(path)
    try:
        for text, values in statements:
            connection.execute(text, values)
        connection.commit()
    except (sqlite3.Error, OverflowError, UnicodeError):  # not every value fits every column
        connection.rollback()
    finally:
        connection.close()


def _tables(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    return [name for (name,) in found]


def cells(path: Path, rng: np.random.Generator) -> None:
    """Set a column of a table to an extreme value."""
    tables = _tables(path)
    table = tables[int(rng.integers(len(tables)))]
    connection = sqlite3.connect(path)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    column = columns[int(rng.integers(len(columns)))]
    value = extreme(rng)
    value = str(value) if isinstance(value, list | dict) else value
    _execute(path, (f"UPDATE {table} SET {column} = ?", (value,)))


def distributions(path: Path, rng: np.random.Generator) -> None:
    """Change the ranges of the parameters, or the parameters of the trials."""
    kind, attributes = "CategoricalDistribution", {"choices": []}
    ordered = {"low": 1, "high": 0, "log": True, "step": None}
    texts = (
        "{}", "[]", "null", "x", '{"name": "FloatDistribution"}', '{"name": "X", "attributes": {}}',
        json.dumps({"name": kind, "attributes": attributes}),
        json.dumps({"name": "FloatDistribution", "attributes": ordered}),
    )  # fmt: skip
    text = texts[int(rng.integers(len(texts)))]
    number = [0.0, -1.0, 1e300, float("nan"), float("inf")][int(rng.integers(5))]
    changes = (
        ("UPDATE trial_params SET distribution_json = ?", (text,)),
        ("UPDATE trial_params SET param_value = ?", (number,)),
        ("UPDATE trial_params SET param_name = ?", ("other",)),
        ("UPDATE trial_values SET value = ?", (number,)),
        ("DELETE FROM trial_values", ()), ("DELETE FROM trial_params", ()),
        ("UPDATE trial_values SET value_type = ?", ("INF_POS",)),
        ("UPDATE trials SET state = ?", (["RUNNING", "WAITING", "FAIL",
                    "X"][int(rng.integers(4))],)),
        ("UPDATE trials SET number = ?", (int(rng.integers(-1, 3)),)),
    )  # fmt: skip
    _execute(path, changes[int(rng.integers(len(changes)))])


def tables(path: Path, rng: np.random.Generator) -> None:
    """Drop or empty a table, or put a view without an end in its place."""
    names = _tables(path)
    name, kind = names[int(rng.integers(len(names)))], int(rng.integers(4))
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
    endless += "SELECT x AS study_id FROM n"
    if kind == 0:
        _execute(path, (f"DROP TABLE {name}", ()))
    elif kind == 1:
        _execute(path, (f"DELETE FROM {name}", ()))
    elif kind == 2:
        _execute(path, (f"DROP TABLE {name}", ()), (f"CREATE VIEW {name} AS {endless}", ()))
    else:
        _execute(path, (f"DROP TABLE {name}", ()), (f"CREATE TABLE {name} (x INTEGER)", ()))


def header(path: Path, rng: np.random.Generator) -> None:
    """Change page size, versions, counters or encoding in the header, or leave a hot journal."""
    content = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        magic = bytes.fromhex("d9d505f920a163d7")
        path.with_name(path.name + "-journal").write_bytes(
            magic + struct.pack(">5I", *rng.integers(0, 999, 5)) + bytes(9999)
        )
        return
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.choice([16, 18, 19, 20, 24, 28, 32, 36, 40, 44, 52, 56, 60, 68, 92, 96]))
        content[place : place + 2] = rng.bytes(2)
    path.write_bytes(content)


SQLITE = (cells, cells, distributions, distributions, tables, header, *BYTES)
"""All changes to SQLite files."""
