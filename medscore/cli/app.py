"""The typer application, and how errors leave it: one line, exit code 2."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import typer

import medscore
from medscore.cli.codes import decode_, encode_
from medscore.cli.demo import demo
from medscore.cli.doctor import doctor
from medscore.cli.evaluate import evaluate
from medscore.cli.generate import generate
from medscore.cli.inspect import inspect
from medscore.cli.likelihood import likelihood
from medscore.cli.measure import measure
from medscore.cli.methods import methods
from medscore.cli.priors import priors
from medscore.cli.quality import quality
from medscore.cli.quiet import notes, only_ours, open_streams
from medscore.cli.recon import recon
from medscore.cli.simulate import simulate
from medscore.cli.spelling import in_options
from medscore.cli.train import train
from medscore.cli.tune import tune
from medscore.errors import MedscoreError, reason
from medscore.io.budget import VARIABLE, parse_size

USAGE_ERROR: Any = typer.BadParameter.__base__
"""What typer raises for a wrong command line; it does not export the class itself."""

app = typer.Typer(
    name="medscore",
    help="Medical image reconstruction from partial measurements with score-based priors.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(inspect)
app.command()(simulate)
app.command()(measure)
app.command()(recon)
app.command()(demo)
app.command()(train)
app.command()(evaluate)
app.command()(tune)
app.command()(likelihood)
app.command()(generate)
app.command("encode")(encode_)
app.command("decode")(decode_)
app.command()(quality)
app.command()(methods)
app.command()(doctor)
app.add_typer(priors, name="priors")


def _version(value: bool) -> bool:
    if value:
        typer.echo(f"medscore {medscore.__version__}")
        raise typer.Exit
    return value


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
    memory: str | None = typer.Option(
        None, "--memory", metavar="SIZE",
        help="Memory budget of what a file declares, such as 16GiB. Default: the environment "
        f"variable {VARIABLE}, or a quarter of the machine's memory.",
    ),
) -> None:  # fmt: skip
    if memory is not None:
        os.environ[VARIABLE] = str(parse_size(memory, "`memory`"))


def main() -> None:
    """Run the command line; bad input ends with one line on standard error and exit code 2.

    A termination signal or a closed terminal stops it as Ctrl-C does: resumable, tidy.
    """
    open_streams()
    for name in ("SIGTERM", "SIGHUP"):
        kind = getattr(signal, name, None)  # Windows has no SIGHUP
        if kind is not None and signal.getsignal(kind) == signal.SIG_DFL:
            signal.signal(kind, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    with only_ours():
        try:
            try:
                code = app(prog_name="medscore", standalone_mode=False)
            finally:
                sys.stdout.flush()
            if isinstance(code, int) and code:
                sys.exit(code)
        except USAGE_ERROR as error:
            _fail_usage(error)
        except MedscoreError as error:
            _fail(error)
        except OSError as error:  # a path too long, a full disk
            # every file is written under an error that names it, but not what is printed
            stream = "standard output" if error.errno == errno.ENOSPC else "a file"
            where, hint = error.filename or stream, "check path and disk"
            _fail(MedscoreError(error.strerror or str(error), where=where, hint=hint))
        except MemoryError as error:
            hint = "use a smaller size or fewer slices at a time"
            _fail(MedscoreError(f"the memory does not suffice ({reason(error)})", hint=hint))
        except RecursionError:  # a path of thousands of folders
            hint = "use shorter paths, and files with fewer levels"
            _fail(MedscoreError("a path or a file has too many levels", hint=hint))
        except (KeyboardInterrupt, typer.Abort):
            sys.exit(130)


def _fail_usage(error: Any) -> None:
    """One line on a wrong command line."""
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # nothing was given, and typer has printed the help
        sys.exit(2)
    command = error.ctx.command_path if error.ctx else "medscore"
    _fail(MedscoreError(message, hint=f"see `{command} --help`"))


def _fail(error: MedscoreError) -> None:
    from rich.console import Console
    from rich.text import Text

    notes.drop()
    root = command = typer.main.get_command(app)
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    text = in_options(in_options(str(error), command), root)
    with suppress(OSError):  # standard error cannot be written either
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            Text(f"error: {text}", style="red")
        )
    sys.exit(2)
