"""Messages speak of parameters; the command line speaks of its options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer


def in_options(message: str, command: Any) -> str:
    """A message with its backquoted parameters as options of a command.

    Args:
        message: text that may name parameters in backquotes.
        command: the command, as :func:`command_of` makes it.
    """
    options = {
        str(p.name).rstrip("_"): max(p.opts, key=len)
        for p in command.params
        if p.opts[0][:1] == "-"
    }
    return re.sub(
        r"`(\w+)`", lambda found: options.get(found[1].replace("-", "_"), found[0]), message
    )


def command_of(function: Callable[..., Any]) -> Any:
    """The command that typer makes of a function.

    Args:
        function: its implementation.
    """
    single = typer.Typer(add_completion=False)
    single.command()(function)
    return typer.main.get_command(single)
