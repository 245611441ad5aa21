"""``medscore priors fetch | remove``: the priors in the user's folder."""

from __future__ import annotations

from typing import Annotated

import typer

from medscore.cli.progress import work_bar
from medscore.io.overwrite import is_allowed


def fetch(
    source: Annotated[
        str, typer.Argument(help="Address (https://...) or path of a prior file, or a folder.")
    ],
    sha256: Annotated[
        str, typer.Option(help="Hash of the file, 64 hexadecimal digits, as its author states it.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the prior. Default: the one that its file states.")
    ] = None,
) -> None:
    """Add a prior from an address or a path, if its hash is right.

    It is then known by its name, as a shipped one. Of a folder, the prior with this hash is taken,
    with its card, its licence and its statistics of typical images. --overwrite replaces another
    fetched prior of this name.

    Example: medscore priors fetch https://example.org/knee-256.safetensors --sha256 HASH
    """
    from medscore.priors.fetching import fetch_prior

    with work_bar("fetching") as show:

        def progress(done: int, total: int | None) -> None:
            kib = done // 1024
            show(kib, kib + 1 if total is None else max(total // 1024, 1), "KiB")

        found = fetch_prior(
            source, sha256=sha256, name=name, overwrite=is_allowed(), on_progress=progress
        )
    said = f"fetched to {found.file}" if found.is_new else "is there already, nothing was fetched"
    typer.echo(f"{found.name}: {said}; licence: {printable(found.licence)}")


def remove(name: Annotated[str, typer.Argument(help="Name of a fetched prior.")]) -> None:
    """Remove a fetched prior.

    Example: medscore priors remove knee-256
    """
    from medscore.priors.fetching import remove_prior

    remove_prior(name)
    typer.echo(f"{name}: removed")


def printable(text: str) -> str:
    """A text of a file on one line, without characters that steer a terminal.

    Args:
        text: the text.
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
