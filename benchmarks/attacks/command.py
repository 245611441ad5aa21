"""One command in a child process of the warmed-up benchmark, and what it did.

The child is forked, so that a command costs milliseconds instead of the seconds that its imports
take. It runs ``medscore.cli.main`` with the words that a user would type, its output goes to files
in memory, and the parent watches its time and its memory.
"""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.clock import Clock
from attacks.forked import fork_scripts

SECONDS = float(os.environ.get("MEDSCORE_ATTACK_SECONDS", "10"))
"""Time limit of a command, in seconds as attacks.clock counts them; the tests allow more."""

PATIENCE = 3.0
"""Seconds after which a command that has shown its progress is stopped by Ctrl-C, as a user would
who did not mean to start so much work."""

TORCH_CACHE = f"{tempfile.gettempdir()}/torchinductor_"
"""Beginning of the folder in which torch keeps compiled programs."""

PROGRESS = re.compile(rb": \d+ of \d+")
"""How a command says how far it is."""

TIMES, SLACK = 4, 2**30
"""Memory that a command may take: this multiple of the honest size, and bytes in addition."""

WRITES = frozenset({
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod",
    "os.truncate", "os.mkfifo", "os.mknod",
})  # fmt: skip
STARTS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "socket.connect"})
"""Audited events that change files, and that start programs or connections."""

IN_FOLDER = frozenset({"os.remove", "os.rmdir"})
"""Events whose second value is the open folder that their path is in."""

GIT = "git"
"""The one program that a command may start: reports name the commit of medscore's own checkout."""


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        fault: the class of failure; empty if there is none.
        code: exit code; negative for a signal.
        said: what it wrote to standard error.
        memory: bytes that it took at most.
        seconds: CPU time.
        modules: names of the modules that were loaded at the end.
    """

    fault: str
    code: int
    said: str
    memory: int
    seconds: float
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``read``, ``refused``, ``working`` (stopped while it showed progress), or the fault."""
        return self.fault or {0: "read", 2: "refused"}.get(self.code, "working")


def run(
    argv: Sequence[str],
    folder: Path,
    size: int,
    *,
    prepare: Callable[[], None] = lambda: None,
    modules: bool = False,
) -> Outcome:
    """Run a command in a folder that holds ``in`` and ``out``.

    Args:
        argv: the command's words after ``medscore``.
        folder: its working directory.
        size: honest bytes of its input.
        prepare: called in the child before the command.
        modules: report the modules that the command has loaded.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    before, trained = _listing(folder), _trained(folder)
    out, err, log = (os.memfd_create(name) for name in ("out", "err", "log"))
    child = os.fork()
    if child == 0:
        _child(list(argv), folder, (out, err, log), prepare, modules)
    found, asked, status, usage = _watch(child, TIMES * size + SLACK, err)
    seconds = usage.ru_utime + usage.ru_stime
    said, notes = _content(err), _content(log).splitlines()
    for handle in (out, err, log):
        os.close(handle)
    base = next((int(n[5:]) for n in notes if n.startswith("base ")), 0)
    memory = max(0, usage.ru_maxrss * 1024 - base)
    code = os.waitstatus_to_exitcode(status)
    events = [note for note in notes if not note.startswith(("base ", "module "))]
    fault = found or _fault(code, asked, said, memory, size, events, before, trained, folder)
    loaded = tuple(note[7:] for note in notes if note.startswith("module "))
    return Outcome(fault, code, said, memory, seconds, loaded)


def _fault(
    code: int, asked: bool, said: str, memory: int, size: int, events: list[str],
    before: dict[str, tuple[int, ...]], trained: set[tuple[str, int, int]], folder: Path,
) -> str:  # fmt: skip
    """The class of failure of a command that ended by itself; empty if there is none."""
    if code < 0:
        return f"crash: {signal.Signals(-code).name}"
    if "Traceback (most recent call last)" in said:
        return f"traceback: {said.strip().splitlines()[-1][:160]}"
    if code not in (0, 2) and not (asked and code == 130):
        return f"exit code {code}"
    if memory > TIMES * size + SLACK or (code and "nable to allocate" in said):
        return f"memory: {memory / 2**20:.0f} MiB, honest size {size / 2**20:.1f}"
    after = _listing(folder)
    changed = sorted(n for n in before.keys() | after if before.get(n) != after.get(n))
    left = [str(p.name) for p in (folder / "out").rglob(".part-*")]
    if events or changed or left:
        return f"writes outside: {'; '.join([*events, *changed, *left])[:200]}"
    lines = said.splitlines()
    if code == 2 and len(lines) != 1 and _trained(folder) == trained:
        return f"refusal of {len(lines)} lines"
    return ""


def _watch(child: int, allowed: int, err: int) -> tuple[str, bool, int, Any]:
    """Wait for a child; stop it when it takes too much time or memory.

    Its time is that of the processors, so that other programs of the machine do not matter, or the
    time in which it slept.
    """
    handle, base, found, asked = os.pidfd_open(child), _resident(child), "", False
    clock, limit = Clock(child), SECONDS
    while not found and not select.select([handle], [], [], 0.02)[0]:
        if _resident(child) - base > allowed:
            found = f"memory: more than {allowed / 2**20:.0f} MiB"
        clock.look()
        if clock.seconds > limit:
            found = "hang"
        elif clock.seconds > PATIENCE and not asked and PROGRESS.search(os.pread(err, 2**16, 0)):
            os.kill(child, signal.SIGINT)
            asked, limit = True, clock.seconds + SECONDS
    if found:
        os.killpg(child, signal.SIGKILL)
    os.close(handle)
    _, status, usage = os.wait4(child, 0)
    return found, asked, status, usage


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """All files of a folder except those below ``out`` and ``tmp``, with size, time and inode."""
    found: dict[str, tuple[int, ...]] = {}
    for root, folders, files in os.walk(folder):
        if root == str(folder):
            folders[:] = [name for name in folders if name not in ("out", "tmp")]
        for name in files:
            info = os.lstat(os.path.join(root, name))  # noqa: PTH118 (names may not be UTF-8)
            found[f"{root}/{name}"] = (info.st_size, info.st_mtime_ns, info.st_ino)
    return found


def _trained(folder: Path) -> set[tuple[str, int, int]]:
    """The files of a log of training: an error after training has begun is no refusal."""
    found = [*(folder / "out").glob("*/loss.jsonl"), *(folder / "out").glob("*/tensorboard/*")]
    return {(str(path), (at := path.lstat()).st_ino, at.st_mtime_ns) for path in found}


def _content(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read(2**20).decode(errors="replace")


def _child(
    argv: list[str],
    folder: Path,
    handles: tuple[int, int, int],
    prepare: Callable[[], None],
    modules: bool,
) -> None:
    """Run the command and end the process."""
    out, err, log = handles
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
        os.environ.update(TMPDIR=str(folder / "tmp"), HOME=str(folder / "tmp"), COLUMNS="80")
        tempfile.tempdir = None  # the parent's
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
        _note(log, f"base {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}")
        fork_scripts()
        prepare()
        sys.addaudithook(_hook(folder, log))
        code = _main(argv)
        if modules:
            for name in list(sys.modules):
                _note(log, f"module {name}")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main(argv: list[str]) -> int:
    from medscore.cli import main
    from medscore.engine import spread

    spread.cores = lambda: 1  # a pool's process must have no children
    sys.argv = ["medscore", *argv]
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _note(log: int, text: str) -> None:
    os.write(log, text.encode(errors="replace").replace(b"\n", b" ") + b"\n")


def _hook(folder: Path, log: int) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that notes changes outside ``out`` and ``tmp``, and programs that start."""
    cache = os.environ.get("MEDSCORE_CACHE", f"{folder}/tmp")
    allowed = (f"{folder}/out", f"{folder}/tmp", cache, TORCH_CACHE, "/dev/null", "/proc/")
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            changes = bool(flags & writing) if isinstance(flags, int) else "r" not in str(mode)
            if changes and isinstance(path, str | bytes) and not _within(path, allowed):
                _note(log, f"open {path!r} {mode}")
        elif event in WRITES and isinstance(args[0], str | bytes | Path):
            place = next((n for n in args[1:] if event in IN_FOLDER and n not in (-1, None)), None)
            path = args[0] if place is None else f"/proc/self/fd/{place}/{os.fsdecode(args[0])}"
            if not _within(path, allowed):
                _note(log, f"{event} {args[0]!r}")
        elif event in STARTS and args[0] != GIT:
            _note(log, f"{event} {args[0]!r} {args[1]!r}"[:200])

    return hook


def _within(path: str | bytes | Path, allowed: tuple[str, ...]) -> bool:
    place, name = os.path.split(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100
    place = os.path.realpath(place) if len(place) < 1000 else place
    return os.path.join(place, name).startswith(allowed)  # noqa: PTH118
