"""Messages speak of parameters; the command line speaks of its options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def in_options(message: str, root: Any, arguments: Sequence[str]) -> str:
    """A message with its backquoted parameters as options of the command that was called.

    Args:
        message: text that may name parameters in backquotes.
        root: the group of all commands.
        arguments: the command line without the program's name.
    """
    command = root
    for word in arguments:
        if not hasattr(command, "commands") or word not in command.commands:
            break
        command = command.commands[word]
    options = {
        str(p.name).rstrip("_"): max(p.opts, key=len)
        for p in command.params
        if p.opts[0][:1] == "-"
    }
    return re.sub(
        r"`(\w+)`", lambda found: options.get(found[1].replace("-", "_"), found[0]), message
    )
