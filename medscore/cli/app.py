"""The typer application, and how errors leave it: one line, exit code 2."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

import medscore
from medscore.cli.calibrate import calibrate
from medscore.cli.codes import decode_, encode_
from medscore.cli.compare import compare
from medscore.cli.completion import completed
from medscore.cli.demo import demo
from medscore.cli.denoise import denoise
from medscore.cli.doctor import doctor
from medscore.cli.evaluate import evaluate
from medscore.cli.generate import generate
from medscore.cli.inspect import inspect
from medscore.cli.likelihood import likelihood
from medscore.cli.manners import about, begin, in_front, keeper, manners
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
    help="Medical image reconstruction from partial measurements with score-based priors.\n\n"
    "The options below may also stand after a command.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(completed(inspect))
app.command()(completed(simulate))
app.command()(completed(measure))
app.command()(completed(recon))
app.command()(completed(denoise))
app.command()(completed(demo))
app.command()(completed(train))
app.command()(completed(evaluate))
app.command()(completed(calibrate))
app.command()(completed(compare))
app.command()(completed(tune))
app.command()(completed(likelihood))
app.command()(completed(generate))
app.command("encode")(completed(encode_))
app.command("decode")(completed(decode_))
app.command()(completed(quality))
app.command()(completed(methods))
app.command()(completed(doctor))
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
    overwrite: bool = typer.Option(
        False, "--overwrite",
        help="Replace an older output of medscore, once the new one is complete.",
    ),
    quiet: bool = typer.Option(
        False, "-q", "--quiet", help="Show results and errors only: no notes, no progress."
    ),
    verbose: bool = typer.Option(False, "--verbose", help="Show the log of the library, too."),
    log_file: str | None = typer.Option(
        None, "--log-file", metavar="FILE",
        help="Append what is shown to this file, with times and without colours.",
    ),
) -> None:  # fmt: skip
    begin(
        replace=overwrite,
        quiet=quiet,
        verbose=verbose,
        log=None if log_file is None else Path(log_file),
    )
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
    started = time.monotonic()
    with manners(), only_ours():
        try:
            try:
                code = app(in_front(sys.argv[1:]), prog_name="medscore", standalone_mode=False)
            finally:
                about.info("finished in %.1f s", time.monotonic() - started)
                sys.stdout.flush()
            if isinstance(code, int) and code:
                sys.exit(code)
        except USAGE_ERROR as error:
            _fail_usage(error)
        except MedscoreError as error:
            _fail(error)
        except OSError as error:  # a path too long, a full disk
            _drop_output()
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


def _drop_output() -> None:
    """Do not print again, when the interpreter ends, what could not be printed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    keeper.keep(f"error: {text}")
    with suppress(OSError):  # standard error cannot be written either
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            Text(f"error: {text}", style="red")
        )
    sys.exit(2)
