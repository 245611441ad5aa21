"""Receiving a file from an https address or a local path, with its hash and a limit of its size.

Addresses begin with ``https://``; ``http://`` is allowed for the machine itself. Redirections obey
the same rule. What is received counts for nothing until its hash was compared.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, responses
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from medscore.errors import MedscoreError, reason
from medscore.io.budget import check_memory
from medscore.io.opening import open_file

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""

CHUNK = 2**20
"""Bytes that are received at a time."""

ITSELF = ("localhost", "127.0.0.1", "::1")
"""Names of the machine itself."""

Progress = Callable[[int, int | None], None]
"""Called with the received bytes, and how many there are if that is known."""


@runtime_checkable
class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def is_address(source: str) -> bool:
    """Whether a text is an address, such as https://example.org/file, and no path.

    Args:
        source: an address or a path.
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def shown_address(address: str) -> str:
    """An address without user name, query and fragment, which may hold secrets.

    Args:
        address: the address.
    """
    plain = re.split(r"[?#]", address)[0]
    return re.sub(r"(?<=://)[^/]*@", "", plain)


def check_address(address: str) -> None:
    """Refuse addresses that are not safe to read.

    Args:
        address: the address.

    Raises:
        MedscoreError: it is not valid, is not https, or holds a user name.
    """
    where = shown_address(address)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise MedscoreError(
            f"is no valid address ({reason(error)})", where=where, hint="check the address"
        ) from error
    if not host:
        raise MedscoreError("the address names no server", where=where, hint="check the address")
    if parts.username is not None or parts.password is not None:
        raise MedscoreError(
            "the address holds a user name or password", where=where,
            hint="download the file yourself, and give its path",
        )  # fmt: skip
    if parts.scheme.lower() != "https" and not _is_own(address):
        raise MedscoreError(
            f"addresses with {parts.scheme}:// are not read", where=where,
            hint="use an address with https://, or a path",
        )  # fmt: skip


def receive(source: str, target: Path, on_progress: Progress) -> str:
    """Copy a file from an address or a path, and return its sha256.

    Args:
        source: address or path.
        target: file to write.
        on_progress: called after every part.

    Raises:
        MedscoreError: it cannot be read completely, or exceeds the memory budget.
        OSError: the target cannot be written.
    """
    digest, done = hashlib.sha256(), 0
    with _opened(source) as (stream, size, where), target.open("wb") as file:
        if size is not None:
            check_memory(size, where, "weights")
        while part := _part(stream, where):
            done += len(part)
            check_memory(done, where, "weights")
            digest.update(part)
            file.write(part)
            on_progress(done, size)
    if size is not None and done < size:
        raise MedscoreError(
            f"the connection ended after {done:,} of {size:,} bytes", where=where, hint="try again"
        )
    return digest.hexdigest()


@contextmanager
def _opened(source: str) -> Iterator[tuple[_Stream, int | None, str]]:
    """The stream of a source, its size if known, and its name for messages."""
    if not is_address(source):
        with open_file(source, "prior") as file:
            yield file, os.fstat(file.fileno()).st_size, source
        return
    where = shown_address(source)
    check_address(source)
    with _answered(where):
        request = Request(source, headers={"User-Agent": "medscore"})
        answer = build_opener(_Redirections).open(request, timeout=TIMEOUT)
    with answer:
        length = answer.headers.get("Content-Length", "")
        yield answer, int(length) if re.fullmatch(r"\d{1,18}", length) else None, where


def _part(stream: _Stream, where: str) -> bytes:
    with _answered(where):
        return stream.read(CHUNK)


@contextmanager
def _answered(where: str) -> Iterator[None]:
    """Turn the failures of a connection into errors of one line."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise MedscoreError(
            f"the server answers {error.code} {responses.get(error.code, '')}".rstrip(),
            where=where,
            hint="check the address",
        ) from error
    except TimeoutError as error:
        raise _silent(where) from error
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError):
            raise _silent(where) from error
        said = getattr(cause, "strerror", None) or reason(
            cause if isinstance(cause, Exception) else error
        )
        raise MedscoreError(
            f"cannot be fetched ({said})", where=where,
            hint="check the address and the network, or download the file and give its path",
        ) from error  # fmt: skip


def _silent(where: str) -> MedscoreError:
    return MedscoreError(
        f"no answer within {TIMEOUT:g} s", where=where, hint="check the network, and try again"
    )


def _is_own(address: str) -> bool:
    """Whether an address is a plain one of the machine itself."""
    parts = urlsplit(address)
    return parts.scheme.lower() == "http" and parts.hostname in ITSELF


class _Redirections(HTTPRedirectHandler):
    """Follows a server to https addresses only; the machine itself also to itself."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        check_address(newurl)
        if _is_own(newurl) and not _is_own(req.full_url):
            raise MedscoreError(
                "the server leads to an address of this machine",
                where=shown_address(req.full_url), hint="check the address",
            )  # fmt: skip
        return super().redirect_request(req, fp, code, msg, headers, newurl)
