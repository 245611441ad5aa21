"""Help with an example for every command; the installed script; completeness of the registry."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command

import medscore as package
from medscore.cli.app import app

Command = Callable[..., Any]
COMMANDS = [
    ("inspect",), ("simulate",), ("measure",), ("recon",), ("demo",), ("train",), ("evaluate",),
    ("calibrate",), ("compare",), ("denoise",), ("tune",), ("likelihood",), ("generate",),
    ("encode",), ("decode",), ("quality",), ("methods",), ("doctor",),
    ("priors", "list"), ("priors", "info"), ("priors", "verify"), ("priors", "import"),
    ("priors", "fetch"), ("priors", "remove"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(done: Command, command: tuple[str, ...]) -> None:
    assert f"Example: medscore {' '.join(command)}" in done(*command, "--help").out


def test_the_list_of_commands_above_is_complete() -> None:
    found = get_command(app)
    assert isinstance(found, Group)
    names = {(name,) for name in found.commands} - {("priors",)}
    priors = found.commands["priors"]
    assert isinstance(priors, Group)
    assert set(COMMANDS) == names | {("priors", name) for name in priors.commands}


def test_the_version_is_the_packages(done: Command) -> None:
    assert done("--version").out == f"medscore {package.__version__}\n"


@pytest.mark.parametrize("args", [("nonsense",), ("recon",), ("simulate", "x", "--views", "two")])
def test_a_command_typed_wrong_exits_with_2(medscore: Command, args: tuple[str, ...]) -> None:
    result = medscore(*args)
    assert (result.code, result.out) == (2, "")


def _script(*args: object) -> subprocess.CompletedProcess[str]:
    script = shutil.which("medscore", path=str(Path(sys.executable).parent))
    assert script
    command = [script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_script_refuses_in_one_line(tmp_path: Path) -> None:
    image = tmp_path / "cut.dcm"
    image.write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x14\x00" + b"1.2.840")
    result = _script("simulate", image, "-o", tmp_path / "m.h5")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {image}: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.slow
def test_the_script_simulates(scan: Path, tmp_path: Path) -> None:
    result = _script("simulate", scan, "-o", tmp_path / "m.h5")
    assert (result.returncode, result.stdout) == (0, "")
    assert "23 of 184 views" in " ".join(result.stderr.split())
    assert (tmp_path / "m.h5").is_file()
