"""Standard error holds one line on a refusal, and nothing of other libraries on success."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from medscore.cli import app as module
from medscore.errors import MedscoreError, MedscoreWarning

Command = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def noisy_command(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Replace the commands by one that makes all kinds of noise; it raises what the list holds."""
    raised: list[Exception] = []
    app = typer.Typer()

    @app.command()
    def run() -> None:
        warnings.warn("of a library", stacklevel=1)
        warnings.warn("of medscore", MedscoreWarning, stacklevel=1)
        logging.getLogger("pydicom").warning("logged by a library")
        logging.getLogger("medscore.x").warning("noted by medscore")
        if raised:
            raise raised[0]

    monkeypatch.setattr(module, "app", app)
    return raised


def test_a_refusal_is_one_line(noisy_command: list[Exception], medscore: Command) -> None:
    noisy_command.append(MedscoreError("is wrong", where="x", hint="correct it"))
    assert medscore().err == "error: x: is wrong - correct it\n"


def test_memory_that_does_not_suffice_is_one_line(
    noisy_command: list[Exception], medscore: Command
) -> None:
    noisy_command.append(MemoryError("Unable to allocate 16. GiB"))
    result = medscore()
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "16. GiB" in result.err


@pytest.mark.usefixtures("noisy_command")
def test_only_own_notes_remain_on_success(medscore: Command) -> None:
    assert medscore().err == "of medscore\nnoted by medscore\n"
    assert not any(type(h).__name__ == "Notes" for h in logging.getLogger().handlers)


NOISE = """
import os, sys
from medscore.cli import app, quiet
def noise(fail):
    with quiet.only_ours():
        os.write(2, b"from C\\n")
        print("ours", file=sys.stderr)
        if fail:
            raise RuntimeError("a fault")
noise(len(sys.argv) > 1)
os.write(2, b"after\\n")
"""


@pytest.mark.process
@pytest.mark.parametrize("fail", [False, True])
def test_messages_from_c_are_shown_only_after_a_fault(fail: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISE, *["x"] * fail], capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "ours"
    assert ("from C" in lines) == fail
    assert ("RuntimeError: a fault" in lines) == fail
    assert ("after" in lines) != fail


@pytest.mark.parametrize("size", ["much", "-1", "0"])
def test_a_budget_that_is_no_size_is_refused(size: str, refused: Callable[..., str]) -> None:
    assert f"--memory is '{size}'" in refused("--memory", size, "priors", "list")


def test_the_budget_bounds_what_commands_read(
    scan: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "MEDSCORE_MEMORY", "1T")  # restored afterwards
    assert "memory budget" in refused("--memory", "1K", "inspect", scan)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_lead_nowhere(closed: tuple[int, ...]) -> None:
    code = (
        "import os, sys; from medscore.cli.quiet import open_streams; open_streams();"
        "print('out'); print('err', file=sys.stderr); sys.stdin.read();"
        "sys.exit(os.open(os.devnull, os.O_RDWR) < 3)"
    )
    shell = " ".join(f"{descriptor}>&-" for descriptor in closed)
    command = ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, input="", check=False)
    said = "" if 1 in closed else "out\n", "" if 2 in closed else "err\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, *said)
