"""The check of a study's SQLite file before optuna opens it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from medscore.errors import reading

MOST_OPERATIONS = 1_000_000
"""Thousands of operations of SQLite that the check of a study may take, some tens of seconds."""

STORED = {
    "INTEGER": {"integer"}, "FLOAT": {"real", "integer"}, "VARCHAR": {"text"}, "TEXT": {"text"},
    "DATETIME": {"text"},
}  # fmt: skip
"""What SQLite may store in a column of a declared type: it does not enforce the types itself."""


def check_database(path: Path) -> None:
    """Reject an SQLite file that is damaged, holds more than tables, or values of other types.

    Views and triggers run queries of whoever wrote the file.

    Args:
        path: a regular file.

    Raises:
        MedscoreError: it does.
    """
    hint = "remove it, or choose another folder"
    with reading("a study", path, hint), closing(sqlite3.connect(path)) as database:
        left = iter(range(MOST_OPERATIONS))
        database.set_progress_handler(lambda: int(next(left, None) is None), 1000)
        entries = database.execute("SELECT type, name FROM sqlite_master").fetchall()
        for kind, name in entries:
            if kind not in ("table", "index"):
                raise ValueError(f"{name} is no table")
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise ValueError(str(state))
        for kind, name in entries:
            if kind == "table":
                _check_types(database, name)


def _check_types(database: sqlite3.Connection, table: str) -> None:
    """Reject values that are not of the type that their column declares."""
    for _, column, declared, *_ in database.execute(f"PRAGMA table_info({_quoted(table)})"):
        allowed = STORED.get(declared.partition("(")[0].upper())
        if allowed is None:
            continue
        query = f"SELECT DISTINCT typeof({_quoted(column)}) FROM {_quoted(table)}"
        others = {kind for (kind,) in database.execute(query)} - allowed - {"null"}
        if others:
            raise ValueError(f"{table}.{column} holds {min(others)}, not {declared}")


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
