"""The one YAML reader: plain values only, within limits on size, depth and aliases.

PyYAML raises many kinds of errors beside its own: RecursionError on deep nesting, ValueError on
long integers and impossible dates, KeyError on ``!!bool maybe``. And aliases can expand a short
file a billionfold. So the events of the parser are checked first, without recursion, and only
mappings, sequences, text, numbers, booleans and null are constructed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from medscore.errors import MedscoreError
from medscore.io.opening import read_bytes

SIZE, DEPTH, NODES = 2**22, 50, 300_000
"""Largest size in bytes, nesting, and number of values with aliases expanded."""

INTEGER = 2**64
"""Integers are below this in magnitude."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")
_TAG = "tag:yaml.org,2002:"


class _Loader(_BASE):  # type: ignore[misc]
    """Constructs plain values; a date is text."""

    yaml_constructors: ClassVar = {
        _TAG + name: yaml.SafeLoader.yaml_constructors[_TAG + name] for name in _PLAIN
    }
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag != _TAG + "timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; what PyYAML raises for a wrong tag or value becomes its own error.

        Args:
            node: the node.
            deep: construct what it contains at once.

        Raises:
            yaml.constructor.ConstructorError: the tag is not supported or does not fit the value.
        """
        kind = node.tag.removeprefix(_TAG)
        if kind not in (*_PLAIN, "merge"):
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {_short(node.tag)} is not supported", node.start_mark
            )
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:40]!r} is no {kind}", node.start_mark
            ) from error


def read_yaml(
    path: str | os.PathLike[str], *, like: str = "configs/train/ct-128.yaml", what: str = "file"
) -> Any:
    """Read a YAML file.

    Args:
        path: file to read.
        like: a valid file of the same kind, named in the hint.
        what: noun for the file in the message if it does not exist.

    Raises:
        MedscoreError: there is no such file, it is not YAML, it exceeds the limits, or it holds
            other values than mappings with text as keys, sequences, text, finite or infinite
            numbers, booleans and null.
    """
    hint = f"see {like} for a working example"
    return parse_yaml(read_bytes(path, what, hint), path, hint=hint)


def parse_yaml(content: bytes, where: str | os.PathLike[str], *, hint: str) -> Any:
    """The value of a YAML text.

    Args:
        content: the text in UTF-8.
        where: file to name in the error.
        hint: what the user can do.

    Raises:
        MedscoreError: as :func:`read_yaml`.
    """
    try:
        if len(content) > SIZE:
            raise ValueError(f"{len(content):,} bytes, at most {SIZE:,} are read")
        text = content.decode("utf-8-sig")
        _check_events(text)
        value = yaml.load(text, _Loader)
        check_plain(value)
    except yaml.YAMLError as error:
        raise _refusal(_described(error), where, hint) from error
    except UnicodeDecodeError as error:
        raise _refusal("it is no UTF-8 text", where, "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _refusal(str(error), where, hint) from error
    return value


def check_plain(value: Any, place: str = "") -> None:
    """Reject keys that are not text, long integers and NaN, in a value without recursion.

    Args:
        value: parsed content of a YAML or JSON file.
        place: dotted name of the value.

    Raises:
        ValueError: there is one.
    """
    stack = [(value, place)]
    while stack:
        one, name = stack.pop()
        if isinstance(one, Mapping):
            for key, inner in one.items():
                if not isinstance(key, str):
                    within = f" in {name}" if name else ""
                    raise ValueError(f"the key {key!r:.40}{within} is not text: put it in quotes")
                stack.append((inner, f"{name}.{key}" if name else key))
        elif isinstance(one, list):
            stack.extend((inner, name) for inner in one)
        elif isinstance(one, int) and abs(one) >= INTEGER:
            raise ValueError(f"{name or 'it'} has an integer of more than 64 bits")
        elif isinstance(one, float) and math.isnan(one):
            raise ValueError(f"{name or 'it'} is not a number (NaN)")


class _Frame:
    """A collection that is being read: its keys, or None for a sequence, and its size so far."""

    def __init__(self, anchor: str | None, mapping: bool) -> None:
        self.anchor, self.size = anchor, 1
        self.keys: set[str] | None = set() if mapping else None
        self.next_is_key = mapping

    def take(self, key: str | None, event: Any) -> None:
        """Count a member; ``key`` is the text of a scalar."""
        if self.keys is None:
            return
        if self.next_is_key:
            if key is None:
                raise _at(event, "a key is not text")
            if key in self.keys:
                raise _at(event, f"the key {key[:60]!r} stands twice")
            self.keys.add(key)
        self.next_is_key = not self.next_is_key


def _check_events(text: str) -> None:
    """Reject nesting, aliases and keys beyond the limits; one event after the other."""
    open_: list[_Frame] = []
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            if open_:
                open_[-1].take(None, event)
            if len(open_) >= DEPTH:
                raise _at(event, f"more than {DEPTH} levels of nesting")
            open_.append(_Frame(event.anchor, isinstance(event, yaml.MappingStartEvent)))
            continue
        size, anchor, key = 1, getattr(event, "anchor", None), None
        if isinstance(event, yaml.CollectionEndEvent):
            done = open_.pop()
            size, anchor = done.size, done.anchor
        elif isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            if name not in sizes:
                raise _at(event, f"the alias *{name[:40]} has no complete anchor before it")
            size, anchor = sizes[name], None
        elif isinstance(event, yaml.ScalarEvent):
            key = str(event.value)
        else:
            continue
        if open_:
            if not isinstance(event, yaml.CollectionEndEvent):
                open_[-1].take(key, event)
            open_[-1].size += size
        if anchor:
            sizes[anchor] = size
        if (open_[-1].size if open_ else size) > NODES:
            raise _at(event, f"more than {NODES:,} values, with aliases expanded")


def _short(tag: str) -> str:
    return repr(tag.replace(_TAG, "!!")[:60])


def _at(event: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _described(error: yaml.YAMLError) -> str:
    """The problem and its line."""
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    what = problem.splitlines()[0][:160]
    return what if mark is None else f"line {mark.line + 1}: {what}"


def _refusal(what: str, where: str | os.PathLike[str], hint: str) -> MedscoreError:
    return MedscoreError(
        f"cannot be read as YAML ({what.splitlines()[0][:200]})", where=Path(where), hint=hint
    )
