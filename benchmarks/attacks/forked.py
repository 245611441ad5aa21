"""Python scripts that a command starts run in a fork, not in a new interpreter.

medscore reads some files in a child process first. A new interpreter with its imports would take
most of the time of the benchmark, and the fork does the same.
"""

from __future__ import annotations

import os
import runpy
import select
import signal
import subprocess
import sys
from typing import Any

ISOLATED = "-P"
"""Option with which medscore starts a script."""


def fork_scripts() -> None:
    """Replace ``subprocess.Popen`` in this process."""
    original = subprocess.Popen

    def start(command: Any, *args: Any, **options: Any) -> Any:
        if isinstance(command, list) and command[:2] == [sys.executable, ISOLATED]:
            return Forked(command, **options)
        return original(command, *args, **options)

    subprocess.Popen = start  # type: ignore[assignment,misc]


class Forked:
    """The part of ``subprocess.Popen`` that medscore uses.

    Args:
        command: interpreter, option, script and its arguments.
        stdout: ``subprocess.PIPE`` to keep the output; it is dropped otherwise.
        options: ignored.
    """

    def __init__(self, command: list[str], *, stdout: Any = None, **options: Any) -> None:
        self.args, self.returncode, self.output = command, None, b""
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _run(command[2:], writer)
        os.close(writer)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[bytes, None]:
        """Read the output until the script ends.

        Args:
            input: ignored.
            timeout: seconds to wait for the next piece of output.
        """
        while select.select([self._reader], [], [], timeout)[0]:
            piece = os.read(self._reader, 65536)
            if not piece:
                self.wait()
                return self.output, None
            self.output += piece
        raise subprocess.TimeoutExpired(self.args, timeout or 0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Args:
            timeout: ignored.
        """
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def poll(self) -> int | None:
        """The exit code."""
        return self.returncode

    def kill(self) -> None:
        """End the script."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()
        os.close(self._reader)


def _run(words: list[str], writer: int) -> None:
    """Run a script with its output in a pipe, and end the process."""
    code = 1
    try:
        os.dup2(writer, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(code)
